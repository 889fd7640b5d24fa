// A pixel's position in the permutohedral lattice: the keys of its vertices and its barycentric weights.
// The mathematics, in readable form, is in rlossctl/bilateral/twin.py, with the same names. The order of the float
// operations decides ties, so this code must be compiled without contraction to fused multiply-adds.
#pragma once

#include "lattice.cuh"

namespace rlossctl::cuda {

template <int D>
struct Simplex {
    unsigned long long keys[D + 1];
    float weights[D + 1]; // of the vertices of remainder 0..D
};

// Features of a point times the lattice's scale; `points` are [sets][D][points].
template <int D>
__device__ void scale_point(const Batch& batch, const Features& features, const Pixel& pixel, const float* points,
                            float (&scaled)[D]) {
    for (int i = 0; i < D; ++i) {
        const std::size_t plane = std::size_t(pixel.image) * D + i;
        scaled[i] = points[plane * batch.pixels + pixel.index] * static_cast<float>(features.scale[i]);
    }
}

// The same for a pixel.
template <int D>
__device__ void scale_features(const Batch& batch, const Features& features, const Pixel& pixel,
                               const float* image, float (&scaled)[D]) {
    const float sigma_xy = static_cast<float>(features.sigma_xy), sigma_rgb = static_cast<float>(features.sigma_rgb);
    scaled[0] = static_cast<float>(pixel.x) / sigma_xy * static_cast<float>(features.scale[0]);
    scaled[1] = static_cast<float>(pixel.y) / sigma_xy * static_cast<float>(features.scale[1]);
    for (int c = 0; c < D - 2; ++c) {
        const std::size_t plane = std::size_t(pixel.image) * batch.colours + c;
        const float colour = image[plane * batch.pixels + pixel.index];
        scaled[c + 2] = colour / sigma_rgb * static_cast<float>(features.scale[c + 2]);
    }
}

template <int D>
__device__ Simplex<D> embed(const float (&scaled)[D], const Layout& layout) {
    constexpr int E = D + 1;
    constexpr float inverse = 1.0f / E;
    float elevated[E], quotient[E], above[E];
    elevated[0] = 0;
    for (int i = D; i > 0; --i) {
        elevated[i] = elevated[0] - i * scaled[i - 1];
        elevated[0] += scaled[i - 1];
    }
    int rank[E] = {}, sum = 0;
    for (int i = 0; i < E; ++i) {
        quotient[i] = rintf(elevated[i] * inverse);
        above[i] = elevated[i] - quotient[i] * E;
        sum += static_cast<int>(quotient[i]);
    }
    for (int i = 0; i < E; ++i)
        for (int j = i + 1; j < E; ++j) ++(above[i] < above[j] ? rank[i] : rank[j]);
    for (int i = 0; i < E; ++i) {
        const int moved = rank[i] + sum, step = (moved < 0) - (moved > D);
        rank[i] = moved + step * E;
        quotient[i] += static_cast<float>(step);
        above[i] = (elevated[i] - quotient[i] * E) * inverse;
    }

    float ranked[E] = {}; // `above` in the order of the ranks
    for (int r = 0; r < E; ++r)
        for (int i = 0; i < E; ++i)
            if (rank[i] == r) ranked[r] = above[i];
    Simplex<D> simplex;
    simplex.weights[0] = 1.0f + (ranked[D] - ranked[0]);
    for (int r = 1; r < E; ++r) simplex.weights[r] = ranked[D - r] - ranked[E - r];

    for (int r = 0; r < E; ++r) {
        simplex.keys[r] = static_cast<unsigned long long>(r);
        for (int i = 0; i < D; ++i) {
            const int shifted = static_cast<int>(quotient[i]) - (rank[i] >= E - r) - layout.low[i];
            simplex.keys[r] += static_cast<unsigned long long>(static_cast<unsigned>(shifted)) << layout.shift[i];
        }
    }
    return simplex;
}

} // namespace rlossctl::cuda
