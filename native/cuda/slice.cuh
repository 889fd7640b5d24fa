// Slicing: each pixel reads the filtered values back from its vertices. Also computes the loss and its gradient.
#pragma once

#include "energies.cuh"
#include "lattice.cuh"
#include "splat.cuh"

namespace rlossctl::cuda {

struct Outputs {
    float* filtered;  // [images, channels, pixels] or null
    double* energies; // [images, tiles] or null
    float factor;     // for the values written to `filtered`, if there is a mask
};

// The four channels of a group from the E vertices of a pixel.
template <int E>
__device__ __forceinline__ float4 read_back(const float4* rows, int groups, int group, const int (&vertex)[E],
                                            const float (&weight)[E]) {
    constexpr float alpha = 1.0f / (1.0f + 1.0f / (1 << (E - 1))); // undoes the gain of the blur
    float4 sum{0, 0, 0, 0};
    for (int r = 0; r < E; ++r) {
        const float4 row = rows[std::size_t(vertex[r]) * groups + group];
        sum = {fmaf(weight[r], row.x, sum.x), fmaf(weight[r], row.y, sum.y), fmaf(weight[r], row.z, sum.z),
               fmaf(weight[r], row.w, sum.w)};
    }
    return {sum.x * alpha, sum.y * alpha, sum.z * alpha, sum.w * alpha};
}

// Slices the pixel of this thread; returns its part of sum s * (A s).
template <int E>
__device__ double slice_pixel(const Batch& batch, const Pixel& pixel, const Lattice& lattice, const Inputs& inputs,
                              const float4* rows, bool valid, const Outputs& outputs) {
    const std::size_t entry = pixel_entry(batch, pixel.tile);
    const unsigned* list = lattice.tile_slots + tile_list(batch, pixel.tile);
    int vertex[E];
    float weight[E];
    for (int r = 0; r < E && valid; ++r) {
        vertex[r] = lattice.numbers[list[lattice.places[entry + r * tile_pixels]]];
        weight[r] = lattice.weights[entry + r * tile_pixels];
    }
    const std::size_t at = std::size_t(pixel.image) * batch.pixels + pixel.index;
    const float factor = inputs.mask == nullptr ? 1 : outputs.factor * inputs.mask[at];
    double energy = 0;
    for (int g = 0; g < batch.groups; ++g) {
        const float nan = __int_as_float(0x7FC00000);
        const float4 read = valid ? read_back<E>(rows, batch.groups, g, vertex, weight) : float4{nan, nan, nan, nan};
        const float filtered[4] = {read.x, read.y, read.z, read.w};
        for (int i = 0; i < 4 && g * 4 + i < batch.channels; ++i) {
            const int c = g * 4 + i;
            if (outputs.energies != nullptr)
                energy += static_cast<double>(masked_value(batch, inputs, pixel, c)) * filtered[i];
            if (outputs.filtered != nullptr)
                outputs.filtered[(std::size_t(pixel.image) * batch.channels + c) * batch.pixels + pixel.index] =
                    inputs.mask == nullptr ? filtered[i] : factor * filtered[i];
        }
    }
    return energy;
}

// One block per tile and image.
template <int E>
__global__ void slice_tiles(Batch batch, const Layout* layout, Lattice lattice, Inputs inputs, const float4* rows,
                            Outputs outputs) {
    RLOSSCTL_SHARED(Partial, partial);
    const Pixel pixel(batch);
    double energy = 0;
    if (pixel.inside)
        energy = slice_pixel<E>(batch, pixel, lattice, inputs, rows, layout->valid != 0, outputs);
    if (outputs.energies == nullptr) return;
    energy = sum_block(partial, energy);
    if (threadIdx.x == 0) outputs.energies[pixel.tile] = energy;
}

} // namespace rlossctl::cuda
