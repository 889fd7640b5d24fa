// The permutohedral lattice of one image: built once, then used for any number of splats, blurs and slices.
#pragma once

#include <cstdint>
#include <memory>

#include "buffer.hpp"
#include "filter.hpp"
#include "kernels.hpp"

namespace rlossctl {

// One image's part of a call.
struct Task {
    const float* values; // [channels][pixels]
    const float* mask;   // [pixels], or null for ones
    float* filtered;     // [channels][pixels] factor * mask * A (mask * values)
    double* energy;      // of s^T A s, or null if not requested
    std::int64_t channels;
    Order order;
    float factor;
};

class AnyLattice {
public:
    virtual ~AnyLattice() = default;
    virtual void build(const float* image, const Sizes& sizes, Sigmas sigmas, int threads) = 0;
    // For points [points][features] instead of pixels, in units of their standard deviations.
    virtual void build_points(const float* features, std::int64_t points, int threads) = 0;
    virtual void apply(const Task& task, int threads) const = 0;
    virtual std::int64_t vertices() const = 0;
};

// For `colours` colour channels, 0 to max_colours.
std::unique_ptr<AnyLattice> make_lattice(std::int64_t colours);

template <int D>
struct Workbench;

// D features per pixel.
template <int D>
class Lattice final : public AnyLattice {
public:
    void build(const float* image, const Sizes& sizes, Sigmas sigmas, int threads) override;
    void build_points(const float* features, std::int64_t points, int threads) override;
    void apply(const Task& task, int threads) const override;
    std::int64_t vertices() const override { return count_ - 1; }

private:
    static constexpr int E = D + 1;

    void number(Workbench<D>& bench, const KeyLayout& layout, int threads);
    std::int64_t blocks() const { return (pixels_ + lanes - 1) / lanes; }

    // Some channels, for one thread.
    struct Part {
        Planes planes;
        std::int64_t offset; // of its first plane in values
        Rows rows, blurred;
        double* sums; // of s_c^T A s_c without A's factor
    };

    void splat_and_blur(const Task& task, const Part& part) const;
    void blur(const Rows& rows, bool backward) const;

    std::int64_t pixels_ = 0;
    std::int64_t count_ = 0;          // of vertices, plus 1 for vertex 0
    Buffer<Block<D>> block_;
    Buffer<Simplex<D>> simplices_;    // numbers start at 1
    Buffer<std::int32_t> chains_[E];  // per axis: vertices with a neighbour, from end to end, 0 after each chain
    std::int64_t chain_length_[E] = {};

    template <int, class>
    friend class Builder;
};

} // namespace rlossctl
