// How a batch is cut into passes and where everything lies in the workspace.
#pragma once

#include <cstddef>

#include "lattice.cuh"

namespace rlossctl::cuda {

// Hands out aligned pieces of a memory; over null it only counts.
class Arena {
public:
    explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}

    template <class T>
    T* take(std::size_t count) {
        const std::size_t start = used_;
        used_ += (count * sizeof(T) + 255) / 256 * 256;
        return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + start);
    }

    std::size_t used() const { return used_; }

private:
    char* memory_;
    std::size_t used_ = 0;
};

// What a pass works with, in two parts. Nobody knows beforehand how many vertices an image has, and nothing may be
// allocated later, so there is room for the most there can be.

// What the images alone decide: it may be kept, whatever is filtered over them.
struct LatticePieces {
    Layout* layout;
    Lattice lattice;
};

// What one filtering needs.
struct RowPieces {
    float4* rows[3];   // [max_vertices][groups]; with the deterministic sums rows[1] and [2] are one piece
    unsigned* largest; // [images][4 * groups], see sums.cuh
    double* energies;  // [images][tiles]
};

// Throws std::invalid_argument where the sizes are none or too large to count.
Batch make_batch(const Sizes& sizes);

// The largest pass of a batch: as many images as fit into `pass_bytes` with both parts, at least one.
Batch plan_pass(const Sizes& sizes, const Options& options);

LatticePieces take_lattice(Arena& arena, const Batch& batch);
RowPieces take_rows(Arena& arena, const Batch& batch, const Options& options);

} // namespace rlossctl::cuda
