// How a batch is cut into passes, and where everything is in the workspace.
#pragma once

#include <cstddef>

#include "lattice.cuh"

namespace rlossctl::cuda {

// Hands out aligned pieces of a memory block; with null it only counts bytes.
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

// The memory of a pass, in two parts. The number of vertices is not known in advance and nothing may be allocated
// later, so there is room for the largest possible number.

// The part that depends only on the images: it may be kept for any values.
struct LatticePieces {
    Layout* layout;
    Lattice lattice;
};

// The part for one filtering.
struct RowPieces {
    float4* rows[3];   // [max_vertices][groups]; with the deterministic sums rows[1] and [2] are one piece
    unsigned* largest; // [images][4 * groups], see sums.cuh
    double* energies;  // [images][tiles]
};

// Throws std::invalid_argument if the sizes are invalid or too large to count.
Batch make_batch(const Sizes& sizes);

// The largest pass of a batch: as many images as fit into `pass_bytes` with both parts, at least one.
Batch plan_pass(const Sizes& sizes, const Options& options);

LatticePieces take_lattice(Arena& arena, const Batch& batch);
RowPieces take_rows(Arena& arena, const Batch& batch, const Options& options);

} // namespace rlossctl::cuda
