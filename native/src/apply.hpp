// Using a lattice: splat, blur, slice.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "lattice.hpp"
#include "threads.hpp"

namespace rlossctl {

template <int D>
void Lattice<D>::blur(const Rows& rows, bool backward) const {
    for (int i = 0; i < E; ++i) {
        const int axis = backward ? D - i : i;
        kernels().blur(chains_[axis].data(), chain_length_[axis], rows);
    }
}

// The result is in part.blurred. This is part.rows itself unless an energy or the mean of two blurs is requested.
template <int D>
void Lattice<D>::splat_and_blur(const Task& task, const Part& part) const {
    const auto& [planes, offset, rows, blurred, sums] = part;
    const std::int64_t floats = count_ * row_floats(rows.groups);
    std::memset(rows.data, 0, floats * sizeof(float));
    std::get<LatticeKernels<D>>(kernels().lattice)
        .splat(task.values + offset, planes, block_.data(), simplices_.data(), rows);
    if (blurred.data != rows.data) std::memcpy(blurred.data, rows.data, floats * sizeof(float));
    blur(blurred, task.order == Order::backward);
    if (task.energy != nullptr) kernels().dot(rows, blurred, count_, sums);
    if (task.order == Order::mean) {
        blur(rows, true);
        for (std::int64_t i = 0; i < floats; ++i) blurred.data[i] += rows.data[i];
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
    sums.assign(all_groups * group, 0.0);
    for (std::int64_t start = 0; start < all_groups; start += most) {
        const int groups = static_cast<int>(std::min(most, all_groups - start)), parts = std::min(threads, groups);
        const std::int64_t room = count_ * row_floats((groups + parts - 1) / parts); // of a part
        storage.ensure((spare ? 2 : 1) * parts * room);
        const auto part = [&, data = storage.data(), sum = sums.data()](int t) {
            const int first = groups * t / parts, count = groups * (t + 1) / parts - first;
            const std::int64_t channel = (start + first) * group;
            float* const rows = data + t * room;
            float* const blurred = spare ? rows + parts * room : rows;
            return Part{{task.mask, pixels_, std::min<std::int64_t>(task.channels - channel, count * group), count},
                        channel * pixels_, {rows, count}, {blurred, count}, sum + channel};
        };
        parallel(parts, threads, [&](int t) { splat_and_blur(task, part(t)); });
        parallel(threads, threads, [&](int t) {
            for (int i = 0; i < parts; ++i) {
                const Part from = part(i);
                std::get<LatticeKernels<D>>(kernels().lattice)
                    .slice(from.blurred, from.planes, block_.data(), simplices_.data(), factor,
                           blocks() * t / threads, blocks() * (t + 1) / threads, task.filtered + from.offset);
            }
        });
    }
    if (task.energy == nullptr) return;
    double total = 0.0;
    for (std::int64_t c = 0; c < task.channels; ++c) total += sums[c];
    *task.energy = total * alpha;
}

} // namespace rlossctl
