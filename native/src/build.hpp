// Building a lattice: pixels -> simplices -> vertices -> chains of neighbours.
// The mathematics, in readable form, is rlossctl/bilateral/twin.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "key_table.hpp"
#include "lattice.hpp"
#include "layout.hpp"
#include "threads.hpp"

namespace rlossctl {

// How many bits a number takes.
inline int bit_length(std::uint64_t number) {
    int bits = 0;
    for (; number != 0; number >>= 1) ++bits;
    return bits;
}

// The simplices of an image's pixels, before anything is numbered. Each thread keeps this for its next image.
template <int D>
class Pixels {
public:
    static constexpr int E = D + 1;

    void embed(const float* image, const KeyLayout& layout, const Sizes& sizes, Sigmas sigmas, Block<D>* blocks,
               int threads) {
        float scale[D];
        fill_scale(scale);
        const std::int64_t width = sizes.width, height = sizes.height, pixels = sizes.pixels();
        position_.ensure(width + height);
        const auto sigma = static_cast<float>(sigmas.xy);
        for (std::int64_t x = 0; x < width; ++x) position_[x] = static_cast<float>(x) / sigma * scale[0];
        for (std::int64_t y = 0; y < height; ++y) position_[width + y] = static_cast<float>(y) / sigma * scale[1];
        const std::int64_t count = (pixels + lanes - 1) / lanes;
        keys_.ensure(count + 1);
        const Picture picture{image, position_.data(), scale, static_cast<float>(sigmas.rgb), layout, width, pixels};
        const auto& kernel = std::get<LatticeKernels<D>>(kernels().lattice);
        bits_.ensure(threads);
        parallel(threads, threads, [&](int t) {
            bits_[t] = kernel.embed(picture, count * t / threads, count * (t + 1) / threads, blocks, keys_.data());
        });
        std::uint64_t all = embed_phantom(picture, keys_[count]);
        for (int t = 0; t < threads; ++t) all |= bits_[t];
        base_bits_ = bit_length(all);
    }

    // The same for points [points][D], in units of their standard deviations.
    void embed(const float* features, std::int64_t points, const KeyLayout& layout, Block<D>* blocks, int threads) {
        float scale[D];
        fill_scale(scale);
        const std::int64_t count = (points + lanes - 1) / lanes;
        keys_.ensure(count + 1);
        const Points cloud{features, scale, layout, points};
        const auto& kernel = std::get<LatticeKernels<D>>(kernels().lattice);
        bits_.ensure(threads);
        parallel(threads, threads, [&](int t) {
            bits_[t] = kernel.embed_points(cloud, count * t / threads, count * (t + 1) / threads, blocks, keys_.data());
        });
        const float zeros[D] = {};
        Block<D> unused;
        std::uint64_t all = kernel.embed_points({zeros, scale, layout, 1}, 0, 1, &unused, &keys_[count]); // the phantom
        for (int t = 0; t < threads; ++t) all |= bits_[t];
        base_bits_ = bit_length(all);
    }

    const BlockKeys& operator[](std::int64_t block) const { return keys_[block]; }
    int base_bits() const { return base_bits_; }

private:
    // Makes the lattice's blur a Gaussian with standard deviation 1 in each feature.
    static void fill_scale(float (&scale)[D]) {
        for (int i = 0; i < D; ++i)
            scale[i] = static_cast<float>(std::sqrt(2.0 / 3.0) * E / std::sqrt((i + 1.0) * (i + 2.0)));
    }

    // The original fills its last group of four pixels with points of feature zero: see twin.with_phantom.
    std::uint64_t embed_phantom(const Picture& picture, BlockKeys& keys) {
        const float zeros[D] = {};
        Picture point{zeros, zeros, picture.scale, 1.0f, picture.layout, 1, 1};
        Block<D> unused;
        return std::get<LatticeKernels<D>>(kernels().lattice).embed(point, 0, 1, &unused, &keys);
    }

    Buffer<float> position_;
    Buffer<BlockKeys> keys_; // the last one is the phantom's
    Buffer<std::uint64_t> bits_;
    int base_bits_ = 0;
};

// Numbers simplices and vertices and links the vertices. Each thread keeps this for its next image.
template <int D, class Slot>
class Builder {
public:
    static constexpr int E = D + 1;
    static constexpr int order_bits = 3 * D;

    // Whether keys and numbers fit into the slots; a vertex may be one step beyond the bases.
    static bool fits(int base_bits, std::int64_t pixels) {
        const int simplex = base_bits - 3 + order_bits + bit_length(pixels + 1);
        const int vertex = base_bits + 2 + bit_length(E * (pixels + 1));
        return std::max(simplex, vertex) <= 64;
    }

    void build(Lattice<D>& lattice, const Pixels<D>& pixels, const KeyLayout& layout, int threads) {
        number_simplices(lattice, pixels);
        number_vertices(lattice, layout);
        link_vertices(lattice, layout, threads);
    }

private:
    struct NewSimplex {
        std::uint64_t base;
        std::uint32_t order;
    };

    // The remainder of a base is 0, so the order is stored in its place.
    typename Slot::Key simplex_key(std::uint64_t base, std::uint32_t order) const {
        return simplex_table_.key(base >> 3, order, order_bits);
    }
    typename Slot::Key vertex_key(std::uint64_t key) const { return vertex_table_.key(key, 0, 0); }

    // Neighbouring pixels mostly share simplices, so one look-up per pixel replaces D + 1.
    void number_simplices(Lattice<D>& lattice, const Pixels<D>& pixels) {
        constexpr int together = 8; // blocks
        const std::int64_t count = lattice.pixels_, blocks = lattice.blocks();
        const std::int64_t all = blocks + (count % 4 != 0); // the last one is the phantom's
        simplex_table_.clear(count, bit_length(count + 1));
        new_.ensure(count + 2); // the phantom's, and one that is noted although it is not new
        for (std::int64_t start = 0; start < all; start += together) {
            const int used = static_cast<int>(std::min<std::int64_t>(together, all - start));
            typename Slot::Key keys[together * lanes];
            std::int32_t ids[together * lanes];
            for (int b = 0; b < used; ++b)
                for (int l = 0; l < lanes; ++l) {
                    keys[b * lanes + l] = simplex_key(pixels[start + b].base[l], pixels[start + b].order[l]);
                    simplex_table_.prefetch(keys[b * lanes + l]);
                }
            simplex_table_.find_or_add(keys, used * lanes, ids, [&](int i, std::int32_t number) {
                const BlockKeys& block = pixels[start + i / lanes];
                new_[number - 1] = {block.base[i % lanes], block.order[i % lanes]};
            });
            for (int b = 0; b < used && start + b < blocks; ++b)
                std::copy(ids + b * lanes, ids + b * lanes + lanes, lattice.block_[start + b].simplex);
        }
    }

    void number_vertices(Lattice<D>& lattice, const KeyLayout& layout) {
        const std::int64_t count = simplex_table_.count();
        vertex_table_.clear(E * count, bit_length(E * count));
        vertices_.ensure(E * count + 1);
        lattice.simplices_.ensure(count + 1);
        constexpr int together = 8; // simplices, so that their slots are fetched while keys are made
        for (std::int64_t start = 0; start < count; start += together) {
            const int used = static_cast<int>(std::min<std::int64_t>(together, count - start));
            std::uint64_t numbers[together][E];
            typename Slot::Key keys[together * E];
            std::int32_t ids[together * E];
            for (int s = 0; s < used; ++s) {
                vertex_numbers(new_[start + s], layout, numbers[s]);
                for (int r = 0; r < E; ++r) {
                    keys[s * E + r] = vertex_key(numbers[s][r]);
                    vertex_table_.prefetch(keys[s * E + r]);
                }
            }
            vertex_table_.find_or_add(keys, used * E, ids, [&](int i, std::int32_t number) {
                vertices_[number] = numbers[i / E][i % E];
            });
            for (int s = 0; s < used; ++s)
                std::copy(ids + s * E, ids + s * E + E, lattice.simplices_[start + s + 1].vertices);
        }
        lattice.count_ = vertex_table_.count() + 1;
    }

    // From one vertex to the next, the coordinate of the last rank but r decreases: see twin.vertex_keys.
    static void vertex_numbers(const NewSimplex& simplex, const KeyLayout& layout, std::uint64_t (&numbers)[E]) {
        std::uint64_t unit[8] = {}; // of the coordinate at each rank; the last coordinate is not in the key: unit 0
        for (int i = 0; i < D; ++i) unit[simplex.order >> (3 * i) & 7] = std::uint64_t{1} << layout.shift[i];
        numbers[0] = simplex.base;
        for (int r = 1; r < E; ++r) numbers[r] = numbers[r - 1] + 1 - unit[E - r];
    }

    // A step along an axis adds D to its coordinate and takes 1 from all others: see twin.neighbours.
    void link_vertices(Lattice<D>& lattice, const KeyLayout& layout, int threads) {
        const std::int64_t count = lattice.count_;
        up_.ensure(E * count);
        heads_.ensure(E * count);
        inner_.ensure(E * count);
        std::uint64_t all = 0, step[E], wrap[E];
        for (int i = 0; i < D; ++i) all += std::uint64_t{1} << layout.shift[i];
        for (int axis = 0; axis < E; ++axis) {
            const std::uint64_t own = axis < D ? std::uint64_t{1} << layout.shift[axis] : 0;
            step[axis] = own - 1;
            wrap[axis] = D - (all - own);
        }
        parallel(threads, threads, [&](int t) {
            for (std::int64_t v = 1 + (count - 1) * t / threads; v < 1 + (count - 1) * (t + 1) / threads; ++v) {
                const std::uint64_t key = vertices_[v];
                const std::uint64_t* const steps = (key & 7) == 0 ? wrap : step;
                typename Slot::Key keys[E];
                std::int32_t ids[E];
                for (int axis = 0; axis < E; ++axis) keys[axis] = vertex_key(key + steps[axis]);
                vertex_table_.find(keys, ids);
                for (int axis = 0; axis < E; ++axis) up_[axis * count + v] = ids[axis];
            }
        });
        parallel(E, threads, [&](int axis) {
            std::int32_t* const up = up_.data() + axis * count;
            follow_chains(up, inner_.data() + axis * count, heads_.data() + axis * count, count, lattice.chains_[axis],
                          lattice.chain_length_[axis]);
        });
    }

    // The blur does not change a vertex without neighbours, so it is left out here.
    static void follow_chains(std::int32_t* up, unsigned char* inner, std::int32_t* heads, std::int64_t count,
                              Buffer<std::int32_t>& chains, std::int64_t& length) {
        std::fill(inner, inner + count, static_cast<unsigned char>(0));
        up[0] = 0;
        for (std::int64_t v = 1; v < count; ++v) inner[up[v]] = 1;
        std::int64_t chain_count = 0;
        for (std::int64_t v = 1; v < count; ++v) { // without a branch, which no processor could predict
            heads[chain_count] = static_cast<std::int32_t>(v);
            chain_count += (up[v] != 0) & (inner[v] == 0);
        }
        chains.ensure(count + count / 2 + 4);
        length = 0;
        for (std::int64_t i = 0; i < chain_count; ++i) {
            std::int32_t at = heads[i];
            do { // four at once without a branch: most chains are not longer; zeros follow the last one
                const std::int32_t second = up[at], third = up[second], fourth = up[third];
                const std::int32_t next[] = {at, second, third, fourth};
                std::copy(next, next + 4, &chains[length]);
                length += 1 + (second != 0) + (third != 0) + (fourth != 0);
                at = up[fourth];
            } while (at != 0);
            chains[length++] = 0;
        }
    }

    KeyTable<Slot> simplex_table_, vertex_table_;
    Buffer<NewSimplex> new_;         // simplex s + 1
    Buffer<std::uint64_t> vertices_; // their keys
    Buffer<std::int32_t> up_;        // [E][vertices + 1] number of the next vertex along each axis, or 0
    Buffer<std::int32_t> heads_;     // [E][vertices + 1] first vertices of chains
    Buffer<unsigned char> inner_;    // [E][vertices + 1] 1 if a vertex precedes along the axis
};

// What a thread needs to build lattices, kept for the next one.
template <int D>
struct Workbench {
    Pixels<D> pixels;
    Builder<D, NarrowSlot> narrow;
    Builder<D, WideSlot> wide;
};

template <int D>
Workbench<D>& workbench() {
    thread_local Workbench<D> kept;
    return kept;
}

template <int D>
void Lattice<D>::number(Workbench<D>& bench, const KeyLayout& layout, int threads) {
    if (bench.narrow.fits(bench.pixels.base_bits(), pixels_)) bench.narrow.build(*this, bench.pixels, layout, threads);
    else bench.wide.build(*this, bench.pixels, layout, threads);
}

template <int D>
void Lattice<D>::build(const float* image, const Sizes& sizes, Sigmas sigmas, int threads) {
    Workbench<D>& bench = workbench<D>();
    const KeyLayout layout = lay_out_keys(image, sizes, sigmas, threads);
    pixels_ = sizes.pixels();
    block_.ensure(blocks());
    bench.pixels.embed(image, layout, sizes, sigmas, block_.data(), threads);
    number(bench, layout, threads);
}

template <int D>
void Lattice<D>::build_points(const float* features, std::int64_t points, int threads) {
    Workbench<D>& bench = workbench<D>();
    const KeyLayout layout = lay_out_point_keys(features, points, D);
    pixels_ = points;
    block_.ensure(blocks());
    bench.pixels.embed(features, points, layout, block_.data(), threads);
    number(bench, layout, threads);
}

} // namespace rlossctl
