// Positions of pixels in the lattice: simplices and barycentric weights. Included once for each instruction set.
// The mathematics, in readable form, is in rlossctl/bilateral/twin.py, with the same names. Compiled without fused
// multiply-add, so that a pixel on the border of two simplices goes to the same side everywhere.

// Round to nearest, ties to even, for |x| < 2^22.
RLOSSCTL_INLINE Floats nearest(Floats x) {
    constexpr float magic = 12582912.0f; // 1.5 * 2^23
    return (x + magic) - magic;
}

// Sorts by odd-even transposition, in each lane.
template <int E>
RLOSSCTL_INLINE void sort_descending(Floats (&values)[E]) {
    for (int pass = 0; pass < E; ++pass)
        for (int i = pass % 2; i + 1 < E; i += 2) {
            const Floats high = larger(values[i], values[i + 1]);
            values[i + 1] = smaller(values[i], values[i + 1]);
            values[i] = high;
        }
}

// Some lanes of a block, from `at` on. scaled: features times the lattice's scale.
template <int D>
RLOSSCTL_INLINE void embed(const Floats (&scaled)[D], const KeyLayout& layout, int at, Block<D>& block,
                           BlockKeys& keys) {
    constexpr int E = D + 1;
    constexpr float inverse = 1.0f / E;
    Floats elevated[E], quotient[E], above[E];
    Ints rank[E] = {}, sum = {};

    Floats total = {};
    for (int i = D; i > 0; --i) {
        elevated[i] = total - static_cast<float>(i) * scaled[i - 1];
        total += scaled[i - 1];
    }
    elevated[0] = total;

    for (int i = 0; i < E; ++i) {
        quotient[i] = nearest(elevated[i] * inverse);
        above[i] = elevated[i] - quotient[i] * E;
        sum += __builtin_convertvector(quotient[i], Ints);
    }

    for (int i = 0; i < E; ++i)
        for (int j = i + 1; j < E; ++j) { // a comparison gives -1 or 0
            const Ints less = above[i] < above[j];
            rank[i] -= less;
            rank[j] += 1 + less;
        }

    for (int i = 0; i < E; ++i) {
        rank[i] += sum;
        const Ints step = (rank[i] > D) - (rank[i] < 0);
        rank[i] += step * E;
        quotient[i] += __builtin_convertvector(step, Floats);
        above[i] = (elevated[i] - quotient[i] * E) * inverse;
    }

    sort_descending<E>(above); // the order of the ranks
    put(block.weights[0] + at, 1.0f + (above[D] - above[0]));
    for (int r = 1; r < E; ++r) put(block.weights[r] + at, above[D - r] - above[E - r]);

    Longs base = {};
    Ints order = {};
    for (int i = 0; i < D; ++i) {
        const Ints shifted = __builtin_convertvector(quotient[i], Ints) - layout.low[i]; // never negative
        base += __builtin_convertvector((UnsignedInts)shifted, Longs) << layout.shift[i];
        order |= rank[i] << (3 * i);
    }
    std::memcpy(keys.base + at, &base, sizeof base);
    std::memcpy(keys.order + at, &order, sizeof order);
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
        if (x + lanes <= width) { // most blocks are within one row
            std::memcpy(scaled[0], picture.position + x, sizeof scaled[0]);
            for (int l = 0; l < lanes; ++l) scaled[1][l] = picture.position[width + y];
            for (int c = 2; c < D; ++c)
                std::memcpy(scaled[c], picture.image + (c - 2) * pixels + start, sizeof scaled[c]);
            x += lanes;
        } else {
            for (int l = 0; l < lanes; ++l) { // beyond the last pixel, that pixel is repeated
                if (x == width) x = 0, ++y;
                scaled[0][l] = picture.position[x];
                scaled[1][l] = picture.position[width + y];
                for (int c = 2; c < D; ++c)
                    scaled[c][l] = picture.image[(c - 2) * pixels + start + (l < count ? l : count - 1)];
                if (l + 1 < count) ++x;
            }
            if (count == lanes) ++x;
        }
        for (int at = 0; at < lanes; at += wide) {
            Floats features[D];
            for (int i = 0; i < D; ++i) {
                features[i] = get(scaled[i] + at);
                if (i >= 2) features[i] = features[i] / picture.sigma_rgb * picture.scale[i];
            }
            embed<D>(features, picture.layout, at, blocks[b], keys[b]);
        }
        for (int l = 0; l < lanes; ++l) bits |= keys[b].base[l];
    }
    return bits;
}
