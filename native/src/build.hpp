// Building a lattice: pixels -> simplices -> vertices -> neighbours.
#pragma once

#include <algorithm>
#include <cmath>

#include "lattice.hpp"
#include "simd.hpp"

namespace rlossctl {

// Embeds the pixels of blocks [first, last). The last block repeats the last pixel.
template <int D>
RLOSSCTL_SIMD void embed_blocks(const float* position, const float* image, const float* scale, float sigma_rgb,
                                const KeyLayout& layout, std::int64_t width, std::int64_t pixels,
                                std::int64_t first, std::int64_t last, Block<D>* blocks) {
    std::int64_t y = first * lanes / width, x = first * lanes % width;
    for (std::int64_t b = first; b < last; ++b) {
        const std::int64_t start = b * lanes, count = std::min<std::int64_t>(lanes, pixels - start);
        alignas(64) float scaled[D][lanes];
        for (int l = 0; l < lanes; ++l) {
            scaled[0][l] = position[x];
            scaled[1][l] = position[width + y];
            if (l + 1 < count && ++x == width) x = 0, ++y;
        }
        if (count == lanes && ++x == width) x = 0, ++y;
        for (int c = 2; c < D; ++c) {
            const float* plane = image + (c - 2) * pixels + start;
            float colour[lanes];
            if (count == lanes) std::copy(plane, plane + lanes, colour);
            else
                for (int l = 0; l < lanes; ++l) colour[l] = plane[std::min<std::int64_t>(l, count - 1)];
            for (int l = 0; l < lanes; ++l) scaled[c][l] = colour[l] / sigma_rgb * scale[c];
        }
        embed<D>(scaled, layout, blocks[b]);
    }
}

template <int D>
void Lattice<D>::locate_pixels(const float* image, const KeyLayout& layout, const Sizes& sizes, double sigma_xy,
                               double sigma_rgb, int threads) {
    float scale[D];
    for (int i = 0; i < D; ++i)
        scale[i] = static_cast<float>(std::sqrt(2.0 / 3.0) * E / std::sqrt((i + 1.0) * (i + 2.0)));
    const std::int64_t width = sizes.width, height = sizes.height;
    position_.ensure(width + height);
    const auto sigma = static_cast<float>(sigma_xy);
    for (std::int64_t x = 0; x < width; ++x) position_[x] = static_cast<float>(x) / sigma * scale[0];
    for (std::int64_t y = 0; y < height; ++y) position_[width + y] = static_cast<float>(y) / sigma * scale[1];
    block_.ensure(blocks_);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int t = 0; t < threads; ++t)
        embed_blocks<D>(position_.data(), image, scale, static_cast<float>(sigma_rgb), layout, width, pixels_,
                        blocks_ * t / threads, blocks_ * (t + 1) / threads, block_.data());
}

// Neighbouring pixels mostly share simplices, so that one look-up per pixel replaces D + 1.
template <int D>
void Lattice<D>::number_simplices(const KeyLayout& layout) {
    simplex_table_.clear();
    simplices_.assign(1, Simplex{});
    const auto number = [this](std::uint64_t base, std::uint32_t order) {
        const std::int32_t id = simplex_table_.find_or_add(base, order);
        if (id == static_cast<std::int32_t>(simplices_.size())) simplices_.push_back(Simplex{base, order, {}});
        return id;
    };
    for (std::int64_t b = 0; b < blocks_; ++b) {
        Block<D>& block = block_[b];
        for (int l = 0; l < lanes; ++l) block.simplex[l] = number(block.base[l], block.order[l]);
    }
    // The original fills its last group of four pixels with points of feature zero: see twin.with_phantom.
    if (pixels_ % 4 != 0) {
        const float zero[D][lanes] = {};
        Block<D> phantom;
        embed<D>(zero, layout, phantom);
        number(phantom.base[0], phantom.order[0]);
    }
}

template <int D>
void Lattice<D>::number_vertices(const KeyLayout& layout) {
    vertex_table_.clear();
    keys_.assign(1, 0);
    for (std::size_t s = 1; s < simplices_.size(); ++s) {
        Simplex& simplex = simplices_[s];
        // The unit of the coordinate at each rank; the last coordinate is not in the key: unit 0.
        std::uint64_t unit[E] = {};
        for (int i = 0; i < D; ++i) unit[simplex.order >> (3 * i) & 7] = std::uint64_t{1} << layout.shift[i];
        std::uint64_t key = simplex.base;
        for (int r = 0; r < E; ++r) {
            if (r > 0) key += 1 - unit[E - r];
            simplex.vertices[r] = vertex_table_.find_or_add(key);
            if (simplex.vertices[r] == static_cast<std::int32_t>(keys_.size())) keys_.push_back(key);
        }
    }
}

// A step along an axis adds D to its coordinate and takes 1 from all others: see twin.neighbours.
template <int D>
void Lattice<D>::link_vertices(const KeyLayout& layout, int threads) {
    const std::int64_t count = static_cast<std::int64_t>(keys_.size());
    up_.ensure(E * count);
    inner_.ensure(E * count);
    std::uint64_t all = 0;
    for (int i = 0; i < D; ++i) all += std::uint64_t{1} << layout.shift[i];
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static, 1)
    for (int axis = 0; axis < E; ++axis) {
        const std::uint64_t own = axis < D ? std::uint64_t{1} << layout.shift[axis] : 0;
        const std::uint64_t wrap = D - (all - own), step = own - 1;
        std::int32_t* up = up_.data() + axis * count;
        unsigned char* inner = inner_.data() + axis * count;
        std::fill(inner, inner + count, static_cast<unsigned char>(0));
        constexpr std::int64_t ahead = 12;
        for (std::int64_t v = 1; v < count; ++v) {
            if (v + ahead < count) {
                const std::uint64_t later = keys_[v + ahead];
                vertex_table_.prefetch(later + ((later & 7) == 0 ? wrap : step));
            }
            up[v] = vertex_table_.find(keys_[v] + ((keys_[v] & 7) == 0 ? wrap : step));
            inner[up[v]] = 1;
        }
    }
}

} // namespace rlossctl
