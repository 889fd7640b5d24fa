// Where pixels lie in the lattice: simplices and barycentric weights. Included once for each instruction set.
// The mathematics, in readable form, is rlossctl/bilateral/twin.py; names are the same. Compiled without fused
// multiply-add, so that a pixel on the border of two simplices falls to the same side everywhere.

// Round to nearest, ties to even, for |x| < 2^22; plain arithmetic, so it vectorises everywhere.
RLOSSCTL_INLINE float nearest(float x) {
    constexpr float magic = 12582912.0f; // 1.5 * 2^23
    return (x + magic) - magic;
}

// Always inlined; and the loops over lanes must stay loops: unrolled first, they are no longer turned into
// vector instructions (5 times slower). scaled[i][l]: feature i of pixel l times the lattice's scale.
template <int D>
RLOSSCTL_INLINE void embed(const float (&scaled)[D][lanes], const KeyLayout& layout, Block<D>& block,
                           BlockKeys& keys) {
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
    for (int l = 0; l < lanes; ++l) keys.base[l] = 0, keys.order[l] = 0;
    for (int i = 0; i < D; ++i)
#pragma omp simd
        for (int l = 0; l < lanes; ++l) {
            const auto shifted = static_cast<std::uint32_t>(static_cast<std::int32_t>(quotient[i][l]) - layout.low[i]);
            keys.base[l] += static_cast<std::uint64_t>(shifted) << layout.shift[i];
            keys.order[l] |= static_cast<std::uint32_t>(rank[i][l]) << (3 * i);
        }
}

template <int D>
std::uint64_t embed_blocks(const Picture& picture, std::int64_t first, std::int64_t last, Block<D>* blocks,
                           BlockKeys* keys) {
    const std::int64_t width = picture.width, pixels = picture.pixels;
    std::int64_t y = first * lanes / width, x = first * lanes % width;
    std::uint64_t bits = 0;
    for (std::int64_t b = first; b < last; ++b) {
        const std::int64_t start = b * lanes, count = pixels - start < lanes ? pixels - start : lanes;
        alignas(64) float scaled[D][lanes];
        for (int l = 0; l < lanes; ++l) {
            scaled[0][l] = picture.position[x];
            scaled[1][l] = picture.position[width + y];
            if (l + 1 < count && ++x == width) x = 0, ++y;
        }
        if (count == lanes && ++x == width) x = 0, ++y;
        for (int c = 2; c < D; ++c) {
            const float* plane = picture.image + (c - 2) * pixels + start;
            float colour[lanes];
            if (count == lanes) std::memcpy(colour, plane, sizeof colour);
            else
                for (int l = 0; l < lanes; ++l) colour[l] = plane[l < count ? l : count - 1];
            for (int l = 0; l < lanes; ++l) scaled[c][l] = colour[l] / picture.sigma_rgb * picture.scale[c];
        }
        embed<D>(scaled, picture.layout, blocks[b], keys[b]);
        for (int l = 0; l < lanes; ++l) bits |= keys[b].base[l];
    }
    return bits;
}
