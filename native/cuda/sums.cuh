// How the contributions of many tiles to one vertex are added up: as floats, in the order in which they arrive, or as
// 64-bit integers in units of a power of two, whose sum has the same bits in any order.
#pragma once

#include "lattice.cuh"

namespace rlossctl::cuda {

// A NaN counts as the largest magnitude: its bits are above those of infinity.
__device__ __forceinline__ unsigned magnitude_bits(float value) {
    return static_cast<unsigned>(__float_as_int(value)) & 0x7FFFFFFFu;
}

// Exponent of the unit's inverse for a channel whose largest magnitude has these bits. The weights of a pixel add up
// to 1, so no sum of `pixels` contributions reaches 2^62. For any image that fits into memory, the unit is at most
// 2^-33 of the largest magnitude.
__device__ inline int unit_exponent(unsigned largest, int pixels) {
    int room = 61;
    for (int left = pixels - 1; left > 0; left >>= 1) --room;
    const int exponent = static_cast<int>(largest >> 23) - 126; // largest < 2^exponent
    return min(room - exponent, 126);
}

__device__ __forceinline__ float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }

template <class Sum>
struct Adder;

template <>
struct Adder<float> {
    using Row = float4;

    __device__ static float scale(unsigned, int) { return 1; }

    __device__ static void add(Row& sum, float weight, const float4& value, const float4&) {
        sum.x = fmaf(weight, value.x, sum.x);
        sum.y = fmaf(weight, value.y, sum.y);
        sum.z = fmaf(weight, value.z, sum.z);
        sum.w = fmaf(weight, value.w, sum.w);
    }

    __device__ static void publish(Row* row, const Row& sum) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
        atomicAdd(row, sum); // one instruction
#else
        atomicAdd(&row->x, sum.x);
        atomicAdd(&row->y, sum.y);
        atomicAdd(&row->z, sum.z);
        atomicAdd(&row->w, sum.w);
#endif
    }
};

struct alignas(16) Integers {
    unsigned long long x, y, z, w; // two's complement
};

template <>
struct Adder<long long> {
    using Row = Integers;

    __device__ static float scale(unsigned largest, int pixels) {
        return power_of_two(unit_exponent(largest, pixels));
    }

    __device__ static void add(Row& sum, float weight, const float4& value, const float4& scale) {
        sum.x += static_cast<unsigned long long>(__float2ll_rn(weight * value.x * scale.x));
        sum.y += static_cast<unsigned long long>(__float2ll_rn(weight * value.y * scale.y));
        sum.z += static_cast<unsigned long long>(__float2ll_rn(weight * value.z * scale.z));
        sum.w += static_cast<unsigned long long>(__float2ll_rn(weight * value.w * scale.w));
    }

    __device__ static void publish(Row* row, const Row& sum) {
        atomicAdd(&row->x, sum.x);
        atomicAdd(&row->y, sum.y);
        atomicAdd(&row->z, sum.z);
        atomicAdd(&row->w, sum.w);
    }
};

// largest[image][channel] = bits of the largest magnitude of values * mask; starts as 0. Blocks are (any, channels,
// images).
__global__ static void find_largest(Batch batch, const float* values, const float* mask, unsigned* largest) {
    RLOSSCTL_SHARED(unsigned, widest);
    const int channel = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
    const std::size_t plane = std::size_t(image) * batch.channels + channel;
    if (threadIdx.x == 0) widest = 0;
    __syncthreads();
    unsigned found = 0;
    for (std::size_t p = first_item(); p < std::size_t(batch.pixels); p += item_stride()) {
        const float value = values[plane * batch.pixels + p];
        const float kept = mask == nullptr ? value : value * mask[std::size_t(image) * batch.pixels + p];
        found = max(found, magnitude_bits(kept));
    }
    atomicMax(&widest, found);
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(&largest[image * batch.groups * 4 + channel], widest);
}

// Turns the integer sums into rows of floats. A channel with any NaN or infinity becomes NaN as a whole.
__global__ static void round_sums(Batch batch, const Layout* layout, Lattice lattice, const unsigned* largest,
                                  const long long* sums, float* rows) {
    if (!layout->valid) return;
    const std::size_t width = std::size_t(batch.groups) * 4;
    for (std::size_t item = first_item(); item < *lattice.count * width; item += item_stride()) {
        const unsigned image = lattice.slots[item / width] / lattice.capacity;
        const unsigned bits = largest[image * width + item % width];
        const float unit = power_of_two(-unit_exponent(bits, batch.pixels));
        rows[item] = bits >= 0x7F800000u ? __int_as_float(0x7FC00000) : static_cast<float>(sums[item]) * unit;
    }
}

} // namespace rlossctl::cuda
