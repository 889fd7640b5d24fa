// Splat, blur and slice of G groups of channels. Included once for each instruction set.

constexpr std::int64_t ahead = 4 * lanes; // pixels whose planes are prefetched

// tile[l][c] = mask[l] * planes[c][l] for the `count` pixels of a block; zero for channels and pixels beyond.
template <int G>
RLOSSCTL_INLINE void gather_tile(const float* planes, const float* mask, std::int64_t pixels, std::int64_t channels,
                                 std::int64_t count, float (&tile)[lanes][row_floats(G)]) {
    alignas(64) constexpr float zeros[lanes] = {};
    alignas(64) float padded[group][lanes];
    for (int g = 0; g < G; ++g) {
        const float* from = planes + g * group * pixels;
        std::int64_t stride = pixels;
        const std::int64_t used = channels - g * group < group ? channels - g * group : group;
        if (count < lanes) {
            for (int c = 0; c < used; ++c)
                for (int l = 0; l < lanes; ++l) padded[c][l] = l < count ? from[c * pixels + l] : 0.0f;
            from = padded[0], stride = lanes;
        } else {
            for (int c = 0; c < used; ++c) RLOSSCTL_PREFETCH(from + c * pixels + ahead);
        }
        for (int l = 0; l < lanes; l += 8) {
            Eight rows[8];
            if (used == group) load_columns([&](int c) { return from + c * stride + l; }, rows);
            else load_columns([&](int c) { return c < used ? from + c * stride + l : zeros; }, rows);
            for (int i = 0; i < 8; ++i)
                store(&tile[l + i][g * group], mask != nullptr ? rows[i] * all(mask[l + i]) : rows[i]);
        }
    }
}

// planes[c][l] = scale[l] * tile[l][c] for the `count` pixels of a block.
template <int G>
RLOSSCTL_INLINE void scatter_tile(const float (&tile)[lanes][row_floats(G)], const float* scale, std::int64_t pixels,
                                  std::int64_t channels, std::int64_t count, float* planes) {
    alignas(64) float padded[group][lanes];
    for (int g = 0; g < G; ++g) {
        float* to = planes + g * group * pixels;
        const std::int64_t used = channels - g * group < group ? channels - g * group : group;
        const bool whole = count == lanes;
        if (whole)
            for (int c = 0; c < used; ++c) RLOSSCTL_PREFETCH_TO_WRITE(to + c * pixels + ahead);
        for (int l = 0; l < lanes; l += 8) {
            Eight rows[8];
            load_columns([&](int i) { return &tile[l + i][g * group]; }, rows);
            const Eight factor = load(scale + l);
            for (int c = 0; c < used; ++c) store(whole ? to + c * pixels + l : &padded[c][l], rows[c] * factor);
        }
        if (!whole)
            for (int c = 0; c < used; ++c)
                for (int l = 0; l < count; ++l) to[c * pixels + l] = padded[c][l];
    }
}

template <int G>
RLOSSCTL_INLINE float* row_of(float* rows, std::int32_t vertex) {
    return rows + std::int64_t{vertex} * row_floats(G);
}

// The mask of a block's pixels, times a factor.
RLOSSCTL_INLINE void scale_lanes(const float* mask, std::int64_t count, float factor, float (&scale)[lanes]) {
    for (int l = 0; l < lanes; ++l) scale[l] = l >= count ? 0.0f : mask == nullptr ? factor : factor * mask[l];
}

template <int D, int G>
void splat_groups(const float* values, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices,
                  const Rows& rows) {
    float* const data = rows.data;
    alignas(64) float tile[lanes][row_floats(G)];
    alignas(64) float scale[lanes];
    for (std::int64_t p = 0; p < planes.pixels; p += lanes) {
        const Block<D>& block = blocks[p / lanes];
        const std::int64_t count = planes.pixels - p < lanes ? planes.pixels - p : lanes;
        if (planes.mask != nullptr) scale_lanes(planes.mask + p, count, 1.0f, scale);
        gather_tile<G>(values + p, planes.mask != nullptr ? scale : nullptr, planes.pixels, planes.channels, count,
                       tile);
        // Neighbours mostly add to the same rows, and an addition waits for the one before: so far ones take turns.
        for (std::int64_t i = 0; i < lanes; ++i) {
            const std::int64_t l = i / 2 + i % 2 * (lanes / 2);
            if (l >= count) continue;
            const Simplex<D>& simplex = simplices[block.simplex[l]];
            const auto pixel = Row<G>::load(tile[l]);
            for (int r = 0; r <= D; ++r) {
                float* row = row_of<G>(data, simplex.vertices[r]);
                Row<G>::load(row).plus(block.weights[r][l], pixel).store(row);
            }
        }
    }
}

template <int D, int G>
void slice_groups(const Rows& rows, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices,
                  float factor, std::int64_t first, std::int64_t last, float* filtered) {
    float* const data = rows.data;
    alignas(64) float tile[lanes][row_floats(G)] = {};
    alignas(64) float scale[lanes];
    for (std::int64_t b = first; b < last; ++b) {
        const Block<D>& block = blocks[b];
        const std::int64_t p = b * lanes, count = planes.pixels - p < lanes ? planes.pixels - p : lanes;
        for (std::int64_t l = 0; l < count; ++l) {
            const Simplex<D>& simplex = simplices[block.simplex[l]];
            auto pixel = Row<G>::zeros();
            for (int r = 0; r <= D; ++r)
                pixel = pixel.plus(block.weights[r][l], Row<G>::load(row_of<G>(data, simplex.vertices[r])));
            pixel.store(tile[l]);
        }
        scale_lanes(planes.mask != nullptr ? planes.mask + p : nullptr, count, factor, scale);
        scatter_tile<G>(tile, scale, planes.pixels, planes.channels, count, filtered + p);
    }
}

template <int G>
void blur_groups(const std::int32_t* chains, std::int64_t length, const Rows& rows) {
    float* const data = rows.data;
    for (std::int64_t i = 0; i < length; ++i) {
        auto before = Row<G>::zeros(), here = Row<G>::load(row_of<G>(data, chains[i]));
        for (; chains[i] != 0; ++i) {
            const auto after = Row<G>::load(row_of<G>(data, chains[i + 1])); // row 0, at the end, is zero
            here.plus(0.5f, before + after).store(row_of<G>(data, chains[i]));
            before = here;
            here = after;
        }
    }
}

template <int G>
void dot_groups(const Rows& a, const Rows& b, std::int64_t count, double* sums) {
    double sum[G * group] = {};
    for (std::int64_t i = row_floats(G); i < count * row_floats(G); i += row_floats(G))
        for (int c = 0; c < G * group; ++c)
            sum[c] += static_cast<double>(a.data[i + c]) * static_cast<double>(b.data[i + c]);
    for (int c = 0; c < G * group; ++c) sums[c] = sum[c];
}

// The same for a number of groups known at run time.
template <int D>
void splat(const float* values, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices,
           const Rows& rows) {
    constexpr decltype(&splat_groups<D, 1>) by_groups[] = {splat_groups<D, 1>, splat_groups<D, 2>, splat_groups<D, 3>,
                                                           splat_groups<D, 4>};
    by_groups[planes.groups - 1](values, planes, blocks, simplices, rows);
}

template <int D>
void slice(const Rows& rows, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices, float factor,
           std::int64_t first, std::int64_t last, float* filtered) {
    constexpr decltype(&slice_groups<D, 1>) by_groups[] = {slice_groups<D, 1>, slice_groups<D, 2>, slice_groups<D, 3>,
                                                           slice_groups<D, 4>};
    by_groups[planes.groups - 1](rows, planes, blocks, simplices, factor, first, last, filtered);
}

inline void blur(const std::int32_t* chains, std::int64_t length, const Rows& rows) {
    constexpr decltype(&blur_groups<1>) by_groups[] = {blur_groups<1>, blur_groups<2>, blur_groups<3>, blur_groups<4>};
    by_groups[rows.groups - 1](chains, length, rows);
}

inline void dot(const Rows& a, const Rows& b, std::int64_t count, double* sums) {
    constexpr decltype(&dot_groups<1>) by_groups[] = {dot_groups<1>, dot_groups<2>, dot_groups<3>, dot_groups<4>};
    by_groups[a.groups - 1](a, b, count, sums);
}
