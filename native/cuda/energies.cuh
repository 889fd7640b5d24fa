// Sums of doubles over blocks and images, always in the same order.
#pragma once

#include "platform.cuh"

namespace rlossctl::cuda {

using Partial = double[block_threads];

// The sum of one number per thread, added in a fixed order; thread 0 gets it.
__device__ inline double sum_block(double* partial, double own) {
    partial[threadIdx.x] = own;
    for (unsigned half = block_threads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? partial[0] : 0;
}

// One block per image.
__global__ static void sum_energies(int tiles, const double* parts, double* energies) {
    RLOSSCTL_SHARED(Partial, partial);
    double own = 0;
    for (int tile = threadIdx.x; tile < tiles; tile += block_threads)
        own += parts[std::size_t{blockIdx.x} * tiles + tile];
    own = sum_block(partial, own);
    if (threadIdx.x == 0) energies[blockIdx.x] = own;
}

} // namespace rlossctl::cuda
