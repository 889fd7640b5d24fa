// The gated filter: one thread per pixel gathers from the window around it. A block takes 24 channels, whose sums stay
// in registers, so that a pair's weight serves all of them; neighbouring threads read neighbouring pixels, mostly from
// the cache. Nothing is scattered, so every run gives the same bits.
#include "gated.hpp"

#include <cmath>
#include <stdexcept>

#include "energies.cuh"
#include "lattice.cuh"
#include "plan.hpp"

namespace rlossctl::cuda {

namespace {

constexpr int gated_channels = 24; // summed in registers together

// Pairs, with numbers as the kernel uses them.
struct Window {
    const float *features, *table, *source, *destination;
    int groups, count, rows, columns;
};

// k between this thread's pixel and the one (dy, dx) away.
__device__ inline float pair_kernel(const Batch& batch, const Window& window, const Pixel& pixel, int dy, int dx) {
    const int across = 2 * window.columns + 1, offsets = (2 * window.rows + 1) * across;
    const float* factor = window.table + (dy + window.rows) * across + dx + window.columns;
    const int apart = dy * batch.width + dx;
    float k = *factor;
    for (int g = 0; g < window.groups; ++g) {
        const float* feature = window.features + pixel.index +
                               (std::size_t(g) * batch.images + pixel.image) * window.count * batch.pixels;
        float distance = 0;
        for (int f = 0; f < window.count; ++f, feature += batch.pixels) {
            const float difference = feature[0] - feature[apart];
            distance = fmaf(difference, difference, distance);
        }
        k = fmaf(factor[(g + 1) * offsets], expf(-0.5f * distance), k);
    }
    return k;
}

struct Sums {
    float weight, channels[gated_channels];
};

// Sums over the window; `values` is the first channel's plane.
template <bool Mutual>
__device__ void gather(const Batch& batch, const Window& window, const Pixel& pixel, const float* values, int channels,
                       Sums& sums) {
    const std::size_t at = std::size_t(pixel.image) * batch.pixels + pixel.index;
    const int top = max(-window.rows, -pixel.y), bottom = min(window.rows, batch.height - 1 - pixel.y);
    const int left = max(-window.columns, -pixel.x), right = min(window.columns, batch.width - 1 - pixel.x);
    for (int dy = top; dy <= bottom; ++dy)
        for (int dx = left; dx <= right; ++dx) {
            const std::ptrdiff_t apart = std::ptrdiff_t(dy) * batch.width + dx;
            float gate = window.destination[at] * window.source[at + apart];
            if (Mutual) gate = fmaf(window.source[at], window.destination[at + apart], gate);
            const float weight = pair_kernel(batch, window, pixel, dy, dx) * gate;
            const float* value = values + pixel.index + apart;
            sums.weight += weight;
            for (int c = 0; c < gated_channels; ++c)
                if (c < channels) sums.channels[c] = fmaf(weight, value[std::size_t(c) * batch.pixels], sums.channels[c]);
        }
}

// One block per tile, image and 24 channels. For mutual gates `parts` gets what each adds to the energy.
template <bool Mutual>
__global__ void gather_tiles(Batch batch, Window window, const float* values, float* filtered, double* parts) {
    RLOSSCTL_SHARED(Partial, partial);
    const Pixel pixel(batch);
    const int first = static_cast<int>(blockIdx.z) * gated_channels;
    const int channels = min(gated_channels, batch.channels - first);
    const std::size_t planes = (std::size_t(pixel.image) * batch.channels + first) * batch.pixels;
    double energy = 0;
    if (pixel.inside) {
        Sums sums = {};
        gather<Mutual>(batch, window, pixel, values + planes, channels, sums);
        energy = first == 0 ? sums.weight : 0;
        for (int c = 0; c < gated_channels; ++c) {
            if (c >= channels) break;
            const std::size_t place = planes + std::size_t(c) * batch.pixels + pixel.index;
            energy -= static_cast<double>(values[place]) * sums.channels[c];
            filtered[place] = Mutual ? -sums.channels[c] : sums.channels[c];
        }
    }
    if (!Mutual) return;
    energy = sum_block(partial, energy);
    if (threadIdx.x == 0) parts[pixel.tile * gridDim.z + blockIdx.z] = 0.5 * energy; // pairs are met from both ends
}

Batch gated_batch(Sizes sizes) {
    sizes.colours = 0;
    if (sizes.images > 65535 || sizes.channels > 65535 * gated_channels)
        throw std::invalid_argument("too many images or channels for one call of the gated filter");
    return make_batch(sizes);
}

int chunks(const Batch& batch) { return (batch.channels + gated_channels - 1) / gated_channels; }

template <bool Mutual>
void run(const float* values, const Pairs& pairs, float* filtered, double* energies, const Sizes& sizes,
         const Workspace& workspace) {
    const Batch batch = gated_batch(sizes);
    if (workspace.memory.bytes < gated_workspace(sizes)) throw std::invalid_argument("the workspace is too small");
    if (pairs.groups < 0 || pairs.count < 0 || pairs.groups > 1 << 20 || pairs.count > 1 << 20 || pairs.rows < 0 ||
        pairs.columns < 0 || pairs.rows >= sizes.height || pairs.columns >= sizes.width)
        throw std::invalid_argument("the window is larger than the image");
    const Window window{pairs.features, pairs.table, pairs.source, pairs.destination,
                        static_cast<int>(pairs.groups), static_cast<int>(pairs.count),
                        static_cast<int>(pairs.rows), static_cast<int>(pairs.columns)};
    auto* parts = static_cast<double*>(workspace.memory.start);
    const auto tiles = static_cast<unsigned>(batch.tiles), images = static_cast<unsigned>(batch.images);
    launch(gather_tiles<Mutual>, dim3(tiles, images, static_cast<unsigned>(chunks(batch))), tile_pixels,
           workspace.stream, batch, window, values, filtered, parts);
    if (!Mutual) return;
    launch(sum_energies, dim3(images), block_threads, workspace.stream, batch.tiles * chunks(batch),
           static_cast<const double*>(parts), energies);
}

} // namespace

std::size_t gated_workspace(const Sizes& sizes) {
    const Batch batch = gated_batch(sizes);
    return sizeof(double) * batch.images * batch.tiles * chunks(batch);
}

void gated_filter(const float* values, const Pairs& pairs, float* filtered, const Sizes& sizes,
                  const Workspace& workspace) {
    run<false>(values, pairs, filtered, nullptr, sizes, workspace);
}

void gated_crf(const float* values, const Pairs& pairs, float* gradient, double* energies, const Sizes& sizes,
               const Workspace& workspace) {
    run<true>(values, pairs, gradient, energies, sizes, workspace);
}

} // namespace rlossctl::cuda
