// Using a lattice: splat, blur, slice.
#pragma once

#include <algorithm>
#include <cstring>

#include "lattice.hpp"
#include "simd.hpp"

namespace rlossctl {

// tile[l][c] = planes[c][l] for `count` pixels and channels [0, channels); the rest of the tile is zeroed.
inline void gather_tile(const float* RLOSSCTL_RESTRICT planes, std::int64_t pixels, std::int64_t channels,
                        std::int64_t count, std::int64_t width, float* RLOSSCTL_RESTRICT tile) {
    if (count < lanes || channels < width) std::fill(tile, tile + lanes * width, 0.0f);
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t l = 0; l < count; ++l) tile[l * width + c] = planes[c * pixels + l];
}

// Splats the channels of groups [first, last) of all pixels, in the order of the pixels.
template <int D, class Simplex>
RLOSSCTL_SIMD void splat_groups(const float* values, const Block<D>* blocks, const Simplex* simplices,
                                std::int64_t pixels, std::int64_t channels, std::int64_t stride,
                                std::int64_t first, std::int64_t last, float* tile, float* rows) {
    const std::int64_t start = first * group, width = (last - first) * group;
    const std::int64_t used = std::min(channels - start, width);
    for (std::int64_t p = 0; p < pixels; p += lanes) {
        const Block<D>& block = blocks[p / lanes];
        const std::int64_t count = std::min<std::int64_t>(lanes, pixels - p);
        gather_tile(values + start * pixels + p, pixels, used, count, width, tile);
        for (std::int64_t l = 0; l < count; ++l) {
            const Simplex& simplex = simplices[block.simplex[l]];
            const float* RLOSSCTL_RESTRICT pixel = tile + l * width;
            for (int r = 0; r <= D; ++r) {
                const float weight = block.weights[r][l];
                float* RLOSSCTL_RESTRICT row = rows + simplex.vertices[r] * stride + start;
                for (std::int64_t g = 0; g < width; g += group)
                    for (int c = 0; c < group; ++c) row[g + c] += weight * pixel[g + c];
            }
        }
    }
}

// Blurs the channels of groups [first, last) in place along the chains of one axis.
RLOSSCTL_SIMD static void blur_groups(const std::int32_t* up, const unsigned char* inner, std::int64_t vertices,
                                      std::int64_t stride, std::int64_t first, std::int64_t last,
                                      float* RLOSSCTL_RESTRICT before, float* rows) {
    const std::int64_t start = first * group, width = (last - first) * group;
    for (std::int64_t v = 1; v <= vertices; ++v) {
        if (inner[v]) continue;
        std::fill(before, before + width, 0.0f);
        for (std::int64_t at = v; at != 0; at = up[at]) {
            float* row = rows + at * stride + start;
            const float* next = rows + up[at] * stride + start;
            for (std::int64_t g = 0; g < width; g += group) {
                float old[group];
                for (int c = 0; c < group; ++c) old[c] = row[g + c];
                for (int c = 0; c < group; ++c) row[g + c] = old[c] + 0.5f * (before[g + c] + next[g + c]);
                for (int c = 0; c < group; ++c) before[g + c] = old[c];
            }
        }
    }
}

// Reads the pixels of blocks [first, last) back from their vertices.
template <int D, class Simplex>
RLOSSCTL_SIMD void slice_blocks(const float* rows, const Block<D>* blocks, const Simplex* simplices,
                                std::int64_t pixels, std::int64_t channels, std::int64_t stride,
                                std::int64_t first, std::int64_t last, float* tile, float* filtered) {
    constexpr float alpha = 1.0f / (1.0f + 1.0f / (1 << D)); // undoes the gain of the blur
    for (std::int64_t b = first; b < last; ++b) {
        const Block<D>& block = blocks[b];
        const std::int64_t p = b * lanes, count = std::min<std::int64_t>(lanes, pixels - p);
        for (std::int64_t l = 0; l < count; ++l) {
            const Simplex& simplex = simplices[block.simplex[l]];
            for (std::int64_t g = 0; g < stride; g += group) {
                float sum[group] = {};
                for (int r = 0; r <= D; ++r) {
                    const float* row = rows + simplex.vertices[r] * stride + g;
                    for (int c = 0; c < group; ++c) sum[c] += block.weights[r][l] * row[c];
                }
                for (int c = 0; c < group; ++c) tile[l * stride + g + c] = sum[c] * alpha;
            }
        }
        for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t l = 0; l < count; ++l) filtered[c * pixels + p + l] = tile[l * stride + c];
    }
}

// Threads share the channels, not the pixels: each sum runs over the pixels in one order, whatever the number
// of threads, and no thread waits for another between the axes.
template <int D>
void Lattice<D>::splat_and_blur(const float* values, int threads) {
    const std::int64_t count = static_cast<std::int64_t>(keys_.size()), groups = stride_ / group;
    rows_.ensure(count * stride_);
    std::memset(rows_.data(), 0, count * stride_ * sizeof(float));
    const int parts = static_cast<int>(std::min<std::int64_t>(threads, groups));
#pragma omp parallel for num_threads(parts) if (parts > 1) schedule(static)
    for (int t = 0; t < parts; ++t) {
        const std::int64_t first = groups * t / parts, last = groups * (t + 1) / parts;
        thread_local Buffer<float> tile;
        tile.ensure(lanes * stride_);
        splat_groups<D>(values, block_.data(), simplices_.data(), pixels_, channels_, stride_, first, last,
                        tile.data(), rows_.data());
        for (int axis = 0; axis < E; ++axis)
            blur_groups(up_.data() + axis * count, inner_.data() + axis * count, count - 1, stride_, first, last,
                        tile.data(), rows_.data());
    }
}

template <int D>
void Lattice<D>::slice(float* filtered, int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int t = 0; t < threads; ++t) {
        thread_local Buffer<float> tile;
        tile.ensure(lanes * stride_);
        slice_blocks<D>(rows_.data(), block_.data(), simplices_.data(), pixels_, channels_, stride_,
                        blocks_ * t / threads, blocks_ * (t + 1) / threads, tile.data(), filtered);
    }
}

} // namespace rlossctl
