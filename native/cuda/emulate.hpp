// CUDA's keywords on the CPU, so that the kernels can be compared with the torch twin without a GPU. Blocks run one
// after another; the threads of a block are fibers that switch at barriers, in an order that set_schedule varies, so
// that a missing barrier shows. With RLOSSCTL_EMULATE_THREADS they are real threads, two blocks at a time, for a race
// detector. There are no warps; the kernels do not use them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>

#include "filter.hpp"

#define __global__
#define __device__
#define __forceinline__ inline
#define RLOSSCTL_SHARED(type, name) \
    static_assert(sizeof(type) <= rlossctl::cuda::emulation::shared_bytes); \
    type& name = *static_cast<type*>(rlossctl::cuda::emulation::shared_memory())

struct dim3 {
    unsigned x, y, z;
    explicit dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct alignas(16) float4 {
    float x, y, z, w;
};

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

using std::isfinite;
using std::max;
using std::min;

inline int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

inline long long __float2ll_rn(float value) { return std::llrint(value); }

template <class T, class Change>
T change_atomically(T* address, Change change) {
    T before;
    __atomic_load(address, &before, __ATOMIC_RELAXED);
    T after = change(before);
    while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        after = change(before);
    return before;
}

template <class T>
T atomicAdd(T* address, T value) {
    return change_atomically(address, [=](T held) { return held + value; });
}

template <class T>
T atomicMax(T* address, T value) {
    return change_atomically(address, [=](T held) { return held < value ? value : held; });
}

template <class T>
T atomicCAS(T* address, T expected, T value) {
    return change_atomically(address, [=](T held) { return held == expected ? value : held; });
}

namespace rlossctl::cuda {

namespace emulation {

constexpr std::size_t shared_bytes = 48 * 1024; // that a block has on every card

void* shared_memory();                // of this thread's block; holds garbage at first, as it may on a card
void set_schedule(unsigned long seed); // the order of blocks and threads from now on
void run(dim3 blocks, unsigned threads, const std::function<void()>& kernel);

} // namespace emulation

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, Stream, Arguments... arguments) {
    emulation::run(blocks, threads, [=] { kernel(arguments...); });
}

inline void fill_bytes(void* memory, int byte, std::size_t count, Stream) { std::memset(memory, byte, count); }

template <class T>
T load_relaxed(const T* address) {
    return __atomic_load_n(address, __ATOMIC_RELAXED);
}

// Small, so that the kernels do stride and that small batches need several passes.
constexpr unsigned spread_limit = 2;
constexpr std::size_t pass_bytes = std::size_t{2} << 20;

} // namespace rlossctl::cuda
