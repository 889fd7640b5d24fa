// Positions of points in the lattice; see path_embed.hpp. Included once for each instruction set.

template <int D>
std::uint64_t embed_points(const Points& points, std::int64_t first, std::int64_t last, Block<D>* blocks,
                           BlockKeys* keys) {
    std::uint64_t bits = 0;
    for (std::int64_t b = first; b < last; ++b) {
        const std::int64_t start = b * lanes, count = points.count - start < lanes ? points.count - start : lanes;
        alignas(64) float scaled[D][lanes];
        for (int l = 0; l < lanes; ++l) { // beyond the last point, that point is repeated
            const float* const features = points.features + (start + (l < count ? l : count - 1)) * D;
            for (int i = 0; i < D; ++i) scaled[i][l] = features[i] * points.scale[i];
        }
        for (int at = 0; at < lanes; at += wide) {
            Floats features[D];
            for (int i = 0; i < D; ++i) features[i] = get(scaled[i] + at);
            embed<D>(features, points.layout, at, blocks[b], keys[b]);
        }
        for (int l = 0; l < lanes; ++l) bits |= keys[b].base[l];
    }
    return bits;
}
