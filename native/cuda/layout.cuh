// The layout of the keys, computed on the device: on the host, as in packing.py, it would have to wait.
#pragma once

#include "lattice.cuh"

namespace rlossctl::cuda {

constexpr int remainder_bits = 3, max_bits = 63, max_quotient = 1 << 15;
constexpr unsigned infinity_bits = 0x7F800000u;

struct Range {
    unsigned above, below;
};

// How far a channel reaches above and below 0 in all images of the pass. The bits of non-negative floats have the
// same order as the floats; NaN counts as infinity. One row of blocks per channel; the ranges start at 0.
__global__ static void find_ranges(int images, int colours, int pixels, const float* image, Layout* layout) {
    RLOSSCTL_SHARED(Range, widest);
    const int colour = static_cast<int>(blockIdx.y);
    if (threadIdx.x == 0) widest = Range{};
    __syncthreads();
    float above = 0, below = 0;
    bool finite = true;
    for (std::size_t i = first_item(); i < std::size_t(images) * pixels; i += item_stride()) {
        const float value = image[(i / pixels * colours + colour) * pixels + i % pixels];
        finite = finite && isfinite(value);
        above = fmaxf(above, value);
        below = fmaxf(below, -value);
    }
    atomicMax(&widest.above, finite ? static_cast<unsigned>(__float_as_int(above)) : infinity_bits);
    atomicMax(&widest.below, finite ? static_cast<unsigned>(__float_as_int(below)) : infinity_bits);
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(&layout->highest[colour], widest.above);
    if (threadIdx.x == 1) atomicMax(&layout->lowest[colour], widest.below);
}

// The layout for scaled features from `first` to `last`.
__device__ inline void lay_out(int count, const double* first, const double* last, Layout* layout) {
    bool valid = true;
    int bits = remainder_bits;
    for (int i = 0; i < count; ++i) {
        double low = 0, high = 0;
        for (int j = i; j < count; ++j) low += first[j], high += last[j];
        if (i > 0) low -= i * last[i - 1], high -= i * first[i - 1];
        // The room for rounding and neighbours is explained in packing.py.
        low = floor(low / (count + 1) - 3.5);
        high = ceil(high / (count + 1) + 3.5);
        if (!(fmax(-low, high) <= max_quotient)) { // also true after infinity, or NaN made of it
            valid = false;
            break;
        }
        layout->low[i] = static_cast<int>(low);
        layout->shift[i] = bits;
        for (int span = static_cast<int>(high - low); span > 0; span >>= 1) ++bits;
    }
    layout->valid = valid && bits <= max_bits;
}

// packing.pack for one thread.
__global__ static void lay_out_keys(int colours, int height, int width, Features features, Layout* layout) {
    double first[max_features] = {}, last[max_features] = {}; // of the scaled features
    last[0] = (width - 1) / features.sigma_xy * features.scale[0];
    last[1] = (height - 1) / features.sigma_xy * features.scale[1];
    for (int c = 0; c < colours; ++c) {
        const double above = __int_as_float(static_cast<int>(layout->highest[c]));
        const double below = __int_as_float(static_cast<int>(layout->lowest[c]));
        first[c + 2] = -below / features.sigma_rgb * features.scale[c + 2];
        last[c + 2] = above / features.sigma_rgb * features.scale[c + 2];
    }
    lay_out(colours + 2, first, last, layout);
}

// packing.pack_points for one thread.
__global__ static void lay_out_point_keys(int count, Features features, Layout* layout) {
    double first[max_features] = {}, last[max_features] = {};
    for (int i = 0; i < count; ++i) {
        first[i] = -static_cast<double>(__int_as_float(static_cast<int>(layout->lowest[i]))) * features.scale[i];
        last[i] = static_cast<double>(__int_as_float(static_cast<int>(layout->highest[i]))) * features.scale[i];
    }
    lay_out(count, first, last, layout);
}

} // namespace rlossctl::cuda
