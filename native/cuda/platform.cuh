// What the kernels need from their platform: CUDA itself or, to test them without a GPU, emulate.hpp.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "filter.hpp"

#ifdef RLOSSCTL_EMULATE
#include "emulate.hpp"
#else
#include <cuda_runtime.h>

// Memory of one block, at most 48 KiB.
#define RLOSSCTL_SHARED(type, name) __shared__ type name

namespace rlossctl::cuda {

inline void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, Stream stream, Arguments... arguments) {
    kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
    check(cudaGetLastError());
}

inline void fill_bytes(void* memory, int byte, std::size_t count, Stream stream) {
    check(cudaMemsetAsync(memory, byte, count, static_cast<cudaStream_t>(stream)));
}

// A value that other threads may be changing by atomics.
template <class T>
__device__ __forceinline__ T load_relaxed(const T* address) {
    return *static_cast<const volatile T*>(address);
}

constexpr unsigned spread_limit = 4096;                  // blocks, enough to fill any card
constexpr std::size_t pass_bytes = std::size_t{3} << 29; // of workspace, see plan.hpp

} // namespace rlossctl::cuda
#endif

namespace rlossctl::cuda {

constexpr unsigned block_threads = 256;

// Blocks for a kernel that strides over at most `most` items, when only the device knows their number.
inline dim3 spread(std::size_t most) {
    const std::size_t blocks = (most + block_threads - 1) / block_threads;
    return dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < spread_limit ? blocks : spread_limit));
}

__device__ __forceinline__ std::size_t first_item() {
    return std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::size_t item_stride() { return std::size_t{gridDim.x} * blockDim.x; }

} // namespace rlossctl::cuda
