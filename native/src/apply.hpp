// Using a lattice: splat, blur, slice.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "lattice.hpp"
#include "pool.hpp"

namespace rlossctl {

// Rows of `rows` for `count` vertices, set to zero or copied.
inline void clear(const Rows& rows, std::int64_t count) {
    const std::int64_t width = rows.groups * group;
    if (width == rows.stride) std::memset(rows.data, 0, count * width * sizeof(float));
    else
        for (std::int64_t v = 0; v < count; ++v) std::memset(rows[v], 0, width * sizeof(float));
}

inline void copy(const Rows& from, const Rows& to, std::int64_t count) {
    const std::int64_t width = from.groups * group;
    if (width == from.stride) std::memcpy(to.data, from.data, count * width * sizeof(float));
    else
        for (std::int64_t v = 0; v < count; ++v) std::memcpy(to[v], from[v], width * sizeof(float));
}

inline void add(const Rows& from, const Rows& to, std::int64_t count) {
    for (std::int64_t v = 0; v < count; ++v)
        for (int c = 0; c < from.groups * group; ++c) to[v][c] += from[v][c];
}

template <int D>
void Lattice<D>::blur(const Rows& rows, bool backward) const {
    for (int i = 0; i < E; ++i) {
        const int axis = backward ? D - i : i;
        kernels().blur(chains_[axis].data(), chain_length_[axis], rows);
    }
}

// Splats and blurs the channels of a part. The result is in `blurred`, which may be `rows` itself where neither
// an energy nor the mean of two blurs is asked for. sums[c] = s_c^T B s_c, with B = A without its factor.
template <int D>
void Lattice<D>::splat_and_blur(const Task& task, const float* values, const Planes& planes, const Rows& rows,
                                const Rows& blurred, double* sums) const {
    clear(rows, count_);
    std::get<LatticeKernels<D>>(kernels().lattice).splat(values, planes, block_.data(), simplices_.data(), rows);
    if (blurred.data != rows.data) copy(rows, blurred, count_);
    blur(blurred, task.order == Order::backward);
    if (task.energy != nullptr) kernels().dot(rows, blurred, count_, sums);
    if (task.order == Order::mean) {
        blur(rows, true);
        add(rows, blurred, count_);
    }
}

// First threads share the channels, not the pixels: so each sum runs over the pixels in one order, whatever the
// number of threads, and no thread waits for another between the axes. Then they share the pixels.
template <int D>
void Lattice<D>::apply(const Task& task, int threads) const {
    constexpr double alpha = 1.0 / (1.0 + 1.0 / (1 << D)); // undoes the gain of the blur
    const bool twice = task.order == Order::mean, spare = twice || task.energy != nullptr;
    const auto factor = static_cast<float>(task.factor * alpha * (twice ? 0.5 : 1.0));
    const std::int64_t all_groups = (task.channels + group - 1) / group;
    const std::int64_t most = std::min<std::int64_t>(all_groups, std::max(max_groups, threads));
    thread_local Buffer<float> storage;
    thread_local std::vector<double> sums;
    storage.ensure((spare ? 2 : 1) * count_ * most * group);
    sums.assign(all_groups * group, 0.0);
    for (std::int64_t start = 0; start < all_groups; start += most) {
        const int groups = static_cast<int>(std::min(most, all_groups - start));
        const std::int64_t stride = groups * group;
        float* const rows = storage.data();
        float* const blurred = spare ? rows + count_ * stride : rows;
        const auto part = [&, sum = sums.data()](int first, int last) {
            const std::int64_t channel = (start + first) * group;
            const std::int64_t used = std::min<std::int64_t>(task.channels - channel, (last - first) * group);
            struct Part {
                Planes planes;
                std::int64_t offset;
                Rows rows, blurred;
                double* sums;
            };
            return Part{{task.mask, pixels_, used, last - first}, channel * pixels_,
                        {rows + first * group, stride, last - first}, {blurred + first * group, stride, last - first},
                        sum + channel};
        };
        const int parts = std::min(threads, groups);
        parallel(parts, threads, [&](int t) {
            const auto mine = part(groups * t / parts, groups * (t + 1) / parts);
            splat_and_blur(task, task.values + mine.offset, mine.planes, mine.rows, mine.blurred, mine.sums);
        });
        parallel(threads, threads, [&](int t) {
            for (int g = 0; g < groups; g += max_groups) {
                const auto mine = part(g, std::min(groups, g + max_groups));
                std::get<LatticeKernels<D>>(kernels().lattice)
                    .slice(mine.blurred, mine.planes, block_.data(), simplices_.data(), factor,
                           blocks() * t / threads, blocks() * (t + 1) / threads, task.filtered + mine.offset);
            }
        });
    }
    if (task.energy == nullptr) return;
    double total = 0.0;
    for (std::int64_t c = 0; c < task.channels; ++c) total += sums[c];
    *task.energy = total * alpha;
}

} // namespace rlossctl
