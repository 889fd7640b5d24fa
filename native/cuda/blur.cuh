// Blurring: [1/2, 1, 1/2] along one axis of the lattice.
#pragma once

#include "lattice.cuh"

namespace rlossctl::cuda {

// The row's four channels, 0 if there is no vertex.
__device__ __forceinline__ float4 row_or_zero(const float4* rows, int vertex, int groups, std::size_t group) {
    if (vertex < 0) return float4{0, 0, 0, 0};
    return rows[std::size_t(vertex) * groups + group];
}

__device__ __forceinline__ void add_half(float4& sum, const float4& a, const float4& b) {
    sum.x += 0.5f * (a.x + b.x);
    sum.y += 0.5f * (a.y + b.y);
    sum.z += 0.5f * (a.z + b.z);
    sum.w += 0.5f * (a.w + b.w);
}

// Blurs one buffer of rows into another; a missing neighbour counts as 0. If `other` is not null, the result is the
// mean of it and the blurred rows.
__global__ static void blur_axis(Batch batch, const Layout* layout, Lattice lattice, int axis, const float4* rows,
                                 const float4* other, float4* blurred) {
    if (!layout->valid) return;
    const int* neighbours = lattice.neighbours + 2 * axis * lattice.max_vertices;
    for (std::size_t item = first_item(); item < std::size_t(*lattice.count) * batch.groups; item += item_stride()) {
        const std::size_t vertex = item / batch.groups, group = item % batch.groups;
        const int up = neighbours[vertex], down = neighbours[vertex + lattice.max_vertices];
        float4 sum = rows[item];
        add_half(sum, row_or_zero(rows, up, batch.groups, group), row_or_zero(rows, down, batch.groups, group));
        if (other != nullptr) {
            const float4 mate = other[item];
            sum = {0.5f * (sum.x + mate.x), 0.5f * (sum.y + mate.y), 0.5f * (sum.z + mate.z),
                   0.5f * (sum.w + mate.w)};
        }
        blurred[item] = sum;
    }
}

} // namespace rlossctl::cuda
