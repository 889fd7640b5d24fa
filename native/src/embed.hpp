// Where a pixel lies in the permutohedral lattice: its simplex and its barycentric weights.
// The mathematics, in readable form, is rlossctl/bilateral/twin.py; names are the same.
#pragma once

#include <cstdint>

#include "filter.hpp"
#include "simd.hpp"

namespace rlossctl {

constexpr int lanes = 16; // pixels embedded together; short loops over them become vector instructions

// What is remembered of `lanes` pixels with D features.
template <int D>
struct Block {
    std::uint64_t base[lanes];  // key of the simplex' vertex of remainder 0
    std::uint32_t order[lanes]; // ranks of coordinates 0..D-1, 3 bits each
    float weights[D + 1][lanes];
    std::int32_t simplex[lanes]; // number of the simplex, filled in later
};

// Round to nearest, ties to even, for |x| < 2^22; plain arithmetic, so it vectorises everywhere.
inline float nearest(float x) {
    constexpr float magic = 12582912.0f; // 1.5 * 2^23
    return (x + magic) - magic;
}

// Always inlined, so that it is compiled for the processor of its caller; and the loops over lanes must stay
// loops: unrolled first, they are no longer turned into vector instructions (5 times slower).
// scaled[i][l]: feature i of pixel l times the lattice's scale.
template <int D>
RLOSSCTL_INLINE void embed(const float (&scaled)[D][lanes], const KeyLayout& layout, Block<D>& block) {
    constexpr int E = D + 1;
    constexpr float inverse = 1.0f / E;
    float elevated[E][lanes], quotient[E][lanes], above[E][lanes];
    std::int32_t rank[E][lanes] = {}, sum[lanes] = {};

#pragma omp simd
    for (int l = 0; l < lanes; ++l) elevated[0][l] = 0.0f;
    for (int i = D; i > 0; --i)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) {
            elevated[i][l] = elevated[0][l] - i * scaled[i - 1][l];
            elevated[0][l] += scaled[i - 1][l];
        }

    for (int i = 0; i < E; ++i)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) {
            quotient[i][l] = nearest(elevated[i][l] * inverse);
            above[i][l] = elevated[i][l] - quotient[i][l] * E;
            sum[l] += static_cast<std::int32_t>(quotient[i][l]);
        }

    for (int i = 0; i < E; ++i)
        for (int j = i + 1; j < E; ++j)
#pragma omp simd
            for (int l = 0; l < lanes; ++l) {
                const std::int32_t less = above[i][l] < above[j][l];
                rank[i][l] += less;
                rank[j][l] += 1 - less;
            }

    for (int i = 0; i < E; ++i)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) {
            const std::int32_t moved = rank[i][l] + sum[l];
            const std::int32_t step = (moved < 0) - (moved > D);
            rank[i][l] = moved + step * E;
            quotient[i][l] += static_cast<float>(step);
            above[i][l] = (elevated[i][l] - quotient[i][l] * E) * inverse;
        }

    float ranked[E][lanes] = {}; // `above` in the order of the ranks
    for (int r = 0; r < E; ++r)
        for (int i = 0; i < E; ++i)
#pragma omp simd
            for (int l = 0; l < lanes; ++l) ranked[r][l] = rank[i][l] == r ? above[i][l] : ranked[r][l];
#pragma omp simd
    for (int l = 0; l < lanes; ++l) block.weights[0][l] = 1.0f + (ranked[D][l] - ranked[0][l]);
    for (int r = 1; r < E; ++r)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) block.weights[r][l] = ranked[D - r][l] - ranked[E - r][l];

#pragma omp simd
    for (int l = 0; l < lanes; ++l) block.base[l] = 0, block.order[l] = 0;
    for (int i = 0; i < D; ++i)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) {
            const auto shifted = static_cast<std::uint32_t>(static_cast<std::int32_t>(quotient[i][l]) - layout.low[i]);
            block.base[l] += static_cast<std::uint64_t>(shifted) << layout.shift[i];
            block.order[l] |= static_cast<std::uint32_t>(rank[i][l]) << (3 * i);
        }
}

} // namespace rlossctl
