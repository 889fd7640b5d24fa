// The Gaussian sum itself, every pixel with every other. It takes pairs of tiles of 16x16 pixels, and skips a pair if
// even the closest corners of the boxes around their features weigh less than the cutoff. Plain float arithmetic, with
// one exponential and about 40 operations for a pair of pixels and 24 channels. Tensor cores would be many times
// faster, but need the features split into two halves of 16 bits.
#include <cmath>
#include <stdexcept>

#include "filter.hpp"
#include "lattice.cuh"
#include "plan.hpp"

namespace rlossctl::cuda {

namespace {

constexpr int exact_channels = 24; // summed in registers together

// Scaled so that the weight of a pair is 2^-(squared distance).
struct Units {
    float xy, rgb;
};

struct Box {
    float low[max_features], high[max_features];
};

template <int D>
__device__ void find_features(const Batch& batch, const Units& units, const float* image, const Pixel& pixel,
                              float (&features)[D]) {
    features[0] = static_cast<float>(pixel.x) * units.xy;
    features[1] = static_cast<float>(pixel.y) * units.xy;
    for (int c = 0; c < D - 2; ++c)
        features[c + 2] =
            image[(std::size_t(pixel.image) * batch.colours + c) * batch.pixels + pixel.index] * units.rgb;
}

using BoxSides = float[2][tile_pixels];

// One block per tile and image. A feature that is not finite makes the box infinite, so that no pair is skipped.
template <int D>
__global__ void find_boxes(Batch batch, Units units, const float* image, Box* boxes) {
    RLOSSCTL_SHARED(BoxSides, side);
    const Pixel pixel(batch);
    float features[D] = {};
    if (pixel.inside) find_features<D>(batch, units, image, pixel, features);
    for (int i = 0; i < D; ++i) {
        const bool finite = isfinite(features[i]);
        side[0][threadIdx.x] = !pixel.inside ? INFINITY : finite ? features[i] : -INFINITY;
        side[1][threadIdx.x] = !pixel.inside ? -INFINITY : finite ? features[i] : INFINITY;
        for (unsigned half = tile_pixels / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x >= half) continue;
            side[0][threadIdx.x] = fminf(side[0][threadIdx.x], side[0][threadIdx.x + half]);
            side[1][threadIdx.x] = fmaxf(side[1][threadIdx.x], side[1][threadIdx.x + half]);
        }
        if (threadIdx.x == 0) boxes[pixel.tile].low[i] = side[0][0], boxes[pixel.tile].high[i] = side[1][0];
        __syncthreads();
    }
}

template <int D>
__device__ bool meet(const Box& a, const Box& b, float reach) {
    float distance = 0;
    for (int i = 0; i < D; ++i) {
        const float gap = fmaxf(fmaxf(a.low[i] - b.high[i], b.low[i] - a.high[i]), 0.0f);
        distance += gap * gap;
    }
    return !(distance > reach);
}

struct Sources {
    float features[max_features][tile_pixels];
    float4 values[exact_channels / 4][tile_pixels];
};

// Loads the tile of `pixel` into shared memory; pixels outside the image get the value 0.
template <int D>
__device__ void load_sources(const Batch& batch, const Units& units, const float* image, const float* values,
                             const Pixel& pixel, int first, Sources& sources) {
    float features[D] = {};
    if (pixel.inside) find_features<D>(batch, units, image, pixel, features);
    for (int i = 0; i < D; ++i) sources.features[i][threadIdx.x] = features[i];
    const float* planes = values + std::size_t(pixel.image) * batch.channels * batch.pixels + pixel.index;
    const auto value = [&](int c) {
        return pixel.inside && c < batch.channels ? planes[std::size_t(c) * batch.pixels] : 0;
    };
    for (int g = 0; g < exact_channels / 4; ++g) {
        const int c = first + 4 * g;
        sources.values[g][threadIdx.x] = float4{value(c), value(c + 1), value(c + 2), value(c + 3)};
    }
}

template <int D>
__device__ void add_sources(const Sources& sources, const float (&features)[D], float (&sums)[exact_channels]) {
    for (int j = 0; j < tile_pixels; ++j) {
        float distance = 0;
        for (int i = 0; i < D; ++i) {
            const float apart = features[i] - sources.features[i][j];
            distance = fmaf(apart, apart, distance);
        }
        const float weight = exp2f(-distance);
        for (int g = 0; g < exact_channels / 4; ++g) {
            const float4 value = sources.values[g][j];
            sums[4 * g] = fmaf(weight, value.x, sums[4 * g]);
            sums[4 * g + 1] = fmaf(weight, value.y, sums[4 * g + 1]);
            sums[4 * g + 2] = fmaf(weight, value.z, sums[4 * g + 2]);
            sums[4 * g + 3] = fmaf(weight, value.w, sums[4 * g + 3]);
        }
    }
}

// One block per tile, image and 24 channels. The order of the tiles is fixed, so that every run gives the same bits.
template <int D>
__global__ void sum_pairs(Batch batch, Units units, float reach, const float* image, const float* values,
                          const Box* boxes, float* filtered) {
    RLOSSCTL_SHARED(Sources, sources);
    const Pixel pixel(batch);
    const int first = static_cast<int>(blockIdx.z) * exact_channels;
    float features[D] = {}, sums[exact_channels] = {};
    if (pixel.inside) find_features<D>(batch, units, image, pixel, features);
    const Box* others = boxes + std::size_t(pixel.image) * batch.tiles;
    for (int tile = 0; tile < batch.tiles; ++tile) {
        if (!meet<D>(boxes[pixel.tile], others[tile], reach)) continue;
        load_sources<D>(batch, units, image, values, Pixel(batch, tile), first, sources);
        __syncthreads();
        if (pixel.inside) add_sources<D>(sources, features, sums);
        __syncthreads();
    }
    for (int c = 0; c < exact_channels; ++c)
        if (pixel.inside && first + c < batch.channels)
            filtered[(std::size_t(pixel.image) * batch.channels + first + c) * batch.pixels + pixel.index] = sums[c];
}

template <int D>
void run(const float* values, const float* image, float* filtered, const Batch& batch, const Units& units,
         float reach, const Workspace& workspace) {
    const auto tiles = static_cast<unsigned>(batch.tiles), images = static_cast<unsigned>(batch.images);
    const auto chunks = static_cast<unsigned>((batch.channels + exact_channels - 1) / exact_channels);
    auto* boxes = static_cast<Box*>(workspace.memory.start);
    launch(find_boxes<D>, dim3(tiles, images), tile_pixels, workspace.stream, batch, units, image, boxes);
    launch(sum_pairs<D>, dim3(tiles, images, chunks), tile_pixels, workspace.stream, batch, units, reach, image,
           values, static_cast<const Box*>(boxes), filtered);
}

} // namespace

std::size_t exact_workspace(const Sizes& sizes) {
    const Batch batch = make_batch(sizes);
    return sizeof(Box) * batch.images * batch.tiles;
}

void exact_filter(const float* values, const float* image, float* filtered, const Sizes& sizes,
                  const Sigmas& sigmas, double cutoff, const Workspace& workspace) {
    if (workspace.memory.bytes < exact_workspace(sizes)) throw std::invalid_argument("the workspace is too small");
    const Batch batch = make_batch(sizes);
    if (sizes.images > 65535 || sizes.channels > 65535 * exact_channels)
        throw std::invalid_argument("too many images or channels for one call of the exact filter");
    const double unit = std::sqrt(0.5 / std::log(2.0)); // e^(-d^2 / 2) is 2^-(unit d)^2
    const Units units{static_cast<float>(unit / sigmas.xy), static_cast<float>(unit / sigmas.rgb)};
    const auto reach = static_cast<float>(-std::log2(cutoff)); // infinite for a cutoff of 0
    const auto run_for = batch.colours == 0   ? run<2>
                         : batch.colours == 1 ? run<3>
                         : batch.colours == 2 ? run<4>
                         : batch.colours == 3 ? run<5>
                                              : run<6>;
    run_for(values, image, filtered, batch, units, reach, workspace);
}

} // namespace rlossctl::cuda
