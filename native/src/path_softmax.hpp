// One row of a picture: the softmax of its scores, and what the rank rules need of probabilities. Included once for each
// instruction set.

// e^x for x <= 0 (0 for NaN), with the very bits of numpy's float32 exp on processors with AVX2 or AVX-512
// (numpy/_core/src/umath/loops_exponent_log.dispatch.c.src: x = n log 2 + r in three steps of Cody and Waite, then a
// quotient of polynomials in r); elsewhere the last bits differ.
RLOSSCTL_INLINE Floats power(Floats x) {
    const Floats least = Floats{} - 103.97208404541015625f, magic = Floats{} + 12582912.0f; // 1.5 * 2^23
    const Ints kept = x > least;
    x = larger(x, least);
    const Floats n = (x * 1.442695040888963407359924681001892137f + magic) - magic;
    Floats r = fused(n, Floats{} - 6.93145752e-1f, x);
    r = fused(n, Floats{} - 1.42860677e-6f, r);
    Floats top = fused(Floats{} + 5.082762527590693718096e-04f, r, Floats{} + 6.757896990527504603057e-03f);
    top = fused(top, r, Floats{} + 5.114512081637298353406e-02f);
    top = fused(top, r, Floats{} + 2.473615434895520810817e-01f);
    top = fused(top, r, Floats{} + 7.257664613233124478488e-01f);
    top = fused(top, r, Floats{} + 9.999999999980870924916e-01f);
    Floats bottom = fused(Floats{} + 2.159509375685829852307e-02f, r, Floats{} - 2.742335390411667452936e-01f);
    bottom = fused(bottom, r, Floats{} + 1.0f);
    // 2^(n + 64), then 2^-64: only the last product rounds, also where the result is denormal.
    const Ints exponent = (__builtin_convertvector(n, Ints) + (127 + 64)) << 23;
    Floats scale;
    std::memcpy(&scale, &exponent, sizeof scale);
    const Floats result = (top / bottom) * scale * 0x1p-64f;
    Ints bits;
    std::memcpy(&bits, &result, sizeof bits);
    bits &= kept;
    Floats out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
}

// `count` powers; what is beyond the last whole vector goes through one of its own.
template <class From, class To>
RLOSSCTL_INLINE void in_lanes(std::int64_t count, const From& from, const To& to) {
    std::int64_t x = 0;
    for (; x + wide <= count; x += wide) to(x, wide, from(x, wide));
    if (x < count) to(x, static_cast<int>(count - x), from(x, static_cast<int>(count - x)));
}

RLOSSCTL_INLINE Floats get_some(const float* from, int count) {
    if (count == wide) return get(from);
    float lane[wide] = {};
    for (int i = 0; i < count; ++i) lane[i] = from[i];
    return get(lane);
}

RLOSSCTL_INLINE void put_some(float* to, int count, Floats a) {
    if (count == wide) return put(to, a);
    float lane[wide];
    put(lane, a);
    for (int i = 0; i < count; ++i) to[i] = lane[i];
}

// A class's scores of the row: where they lie, or enlarged in room.
inline const float* enlarged(const ScoreRow& row, std::int64_t c, float* __restrict tall,
                             float* __restrict room) {
    const float* const above = row.above + c * row.plane;
    if (row.left == nullptr) return above;
    const float* const below = row.below + c * row.plane;
    const float up = 1.0f - row.down;
    for (std::int64_t x = 0; x < row.width; ++x) tall[x] = above[x] * up + below[x] * row.down;
    const std::int32_t *const left = row.left, *const beside = row.beside;
    for (std::int64_t x = 0; x < row.columns; ++x) {
        const float weight = row.right[x];
        room[x] = tall[left[x]] * (1.0f - weight) + tall[beside[x]] * weight;
    }
    return room;
}

RLOSSCTL_INLINE Floats powers_of(const float* values, const float* greatest, float temperature, std::int64_t x,
                                 int count) {
    Floats a = get_some(values + x, count) - get_some(greatest + x, count);
    if (temperature != 1.0f) a = a / (Floats{} + temperature);
    return power(a);
}

inline void norms_row(const ScoreRow& row, float temperature, const SoftmaxRoom& room, float* greatest, float* total,
                      bool& odd, bool& negative) {
    std::int32_t below = 0, wrong = 0;
    for (std::int64_t x = 0; x < row.columns; ++x) greatest[x] = -__builtin_inff(), total[x] = 0.0f;
    for (std::int64_t c = 0; c < row.classes; ++c) {
        const float* const values = enlarged(row, c, room.tall, room.values + c * row.columns);
        for (std::int64_t x = 0; x < row.columns; ++x) {
            const float value = values[x];
            greatest[x] = value > greatest[x] ? value : greatest[x];
            below |= value < 0.0f, wrong |= value != value;
        }
    }
    for (std::int64_t c = 0; c < row.classes; ++c) {
        const float* const values = row.left == nullptr ? row.above + c * row.plane : room.values + c * row.columns;
        in_lanes(
            row.columns, [&](std::int64_t x, int n) { return powers_of(values, greatest, temperature, x, n); },
            [&](std::int64_t x, int n, Floats a) { put_some(total + x, n, get_some(total + x, n) + a); });
    }
    for (std::int64_t x = 0; x < row.columns; ++x) wrong |= !(total[x] >= 1.0f);
    odd |= wrong != 0, negative |= below != 0;
}

// The softmax of `count` scores of a class, with the norms of their pixels.
RLOSSCTL_INLINE void softmax_of(const float* values, const SoftmaxRow& norms, std::int64_t count, float* out) {
    in_lanes(
        count,
        [&](std::int64_t x, int n) {
            return powers_of(values, norms.greatest, norms.temperature, x, n) / get_some(norms.total + x, n);
        },
        [&](std::int64_t x, int n, Floats a) { put_some(out + x, n, a); });
}

inline void probability_row(const ScoreRow& row, std::int64_t c, const SoftmaxRow& norms, const SoftmaxRoom& room,
                            float* out) {
    const float* const values = enlarged(row, c, room.tall, room.values);
    if (norms.greatest != nullptr) softmax_of(values, norms, row.columns, out);
    else std::memcpy(out, values, row.columns * sizeof *out);
}

inline void probabilities_at(const ScoreRow& row, std::int64_t c, const SoftmaxRow& norms, const std::int32_t* places,
                             std::int64_t count, const SoftmaxRoom& room, float* out) {
    const float* const values = enlarged(row, c, room.tall, room.values);
    for (std::int64_t i = 0; i < count; ++i) out[i] = values[places[i]];
    if (norms.greatest != nullptr) softmax_of(out, norms, count, out);
}

// How many masks cover each pixel, and the class of the one that does, where it is one.
inline void cover_row(const std::uint8_t* masks, std::int64_t pixels, std::int64_t classes, std::int64_t columns,
                      std::uint8_t* __restrict number, std::uint8_t* __restrict label) {
    std::memset(number, 0, columns), std::memset(label, 0, columns);
    for (std::int64_t c = 0; c < classes; ++c) {
        const std::uint8_t* __restrict mask = masks + c * pixels;
        const auto id = static_cast<std::uint8_t>(c);
        for (std::int64_t x = 0; x < columns; ++x) {
            number[x] += mask[x];
            label[x] |= static_cast<std::uint8_t>(-mask[x]) & id;
        }
    }
}

// best and winner of `count` pixels after another class: `covered` says where it may win.
inline void gain_row(const float* p, const std::uint8_t* covered, std::int64_t count, const GainTerm& term,
                     std::int32_t id, double* best, std::int32_t* winner) {
    for (std::int64_t i = 0; i < count; ++i) {
        const double number = p[i], top = term.own + number + term.smooth;
        const double gain = term.iou ? top / (term.base - number + 1.0) - term.now : 2.0 * (top / term.base - term.now);
        const double value = covered[i] != 0 ? gain : -__builtin_inf();
        const bool wins = value >= best[i];
        winner[i] = wins ? id : winner[i];
        best[i] = wins ? value : best[i];
    }
}

typedef float HalfFloats __attribute__((vector_size(2 * wide)));
typedef double Doubles __attribute__((vector_size(4 * wide)));
typedef std::int64_t Wholes __attribute__((vector_size(4 * wide)));

#if defined(__AVX512F__)
RLOSSCTL_INLINE Doubles rounded_down(Doubles a) { return _mm512_floor_pd(a); }
#elif defined(__AVX2__)
RLOSSCTL_INLINE Doubles rounded_down(Doubles a) { return _mm256_floor_pd(a); }
#else
RLOSSCTL_INLINE Doubles rounded_down(Doubles a) {
    const Doubles magic = Doubles{} + 6755399441055744.0, one = Doubles{} + 1.0; // see whole
    const Doubles near = (a + magic) - magic;
    Wholes bits;
    std::memcpy(&bits, &one, sizeof bits);
    bits &= near > a;
    Doubles more;
    std::memcpy(&more, &bits, sizeof more);
    return near - more;
}
#endif

// The whole number of a double that is one, below 2^51.
RLOSSCTL_INLINE Wholes whole(Doubles number) {
    const Doubles magic = Doubles{} + 6755399441055744.0; // 1.5 * 2^52
    const Doubles moved = number + magic;
    Wholes bits, zero;
    std::memcpy(&bits, &moved, sizeof bits), std::memcpy(&zero, &magic, sizeof zero);
    return bits - zero;
}

// Adds the words of word_lanes numbers to `sums`, and stores them if they are wanted one by one.
template <bool each>
RLOSSCTL_INLINE void words_of(const float* p, WordSums& sums, std::int64_t (*words)[word_lanes]) {
    constexpr int together = wide / 2;
    Wholes sum[6] = {};
    for (int i = 0; i < word_lanes; i += together) {
        HalfFloats some;
        std::memcpy(&some, p + i, sizeof some);
        const Doubles number = __builtin_convertvector(some, Doubles), square = number * number;
        const Doubles powers[3] = {number, square, square * number};
        for (int k = 0; k < 3; ++k) {
            const Doubles scaled = powers[k] * 0x1p32, high = rounded_down(scaled);
            const Wholes above = whole(high), below = whole(rounded_down((scaled - high) * 0x1p32));
            sum[2 * k] += above, sum[2 * k + 1] += below;
            if (each) {
                std::memcpy(words[2 * k] + i, &above, sizeof above);
                std::memcpy(words[2 * k + 1] + i, &below, sizeof below);
            }
        }
    }
    for (int k = 0; k < 6; ++k)
        for (int i = 0; i < together; ++i) sums[k] += sum[k][i];
}

inline void add_words(const float* p, WordSums& sums) { words_of<false>(p, sums, nullptr); }

// Numbers in bin 0 only add to the sums of all: most do. And neighbours are often in one bin.
inline void bin_words(const float* p, const Bins& bins, std::int64_t* counts, WordSums* in_bins, WordSums& sums) {
    std::int32_t number[word_lanes], least = INT32_MAX, most = 0;
    std::memcpy(number, p, sizeof number);
    const auto last = static_cast<std::int32_t>(bins.count - 1);
    for (int i = 0; i < word_lanes; ++i) {
        const std::int32_t above = (number[i] >> bins.shift) - bins.first, own = above < last ? above : last;
        number[i] = own > 0 ? own : 0;
        least = number[i] < least ? number[i] : least;
        most = number[i] > most ? number[i] : most;
    }
    WordSums own = {};
    std::int64_t words[6][word_lanes];
    const bool mixed = least != most;
    if (mixed) words_of<true>(p, own, words);
    else words_of<false>(p, own, nullptr);
    for (int k = 0; k < 6; ++k) sums[k] += own[k];
    if (mixed) {
        for (int i = 0; i < word_lanes; ++i) {
            if (number[i] == 0) continue;
            ++counts[number[i]];
            for (int k = 0; k < 6; ++k) in_bins[number[i]][k] += words[k][i];
        }
    } else if (most > 0) {
        counts[most] += word_lanes;
        for (int k = 0; k < 6; ++k) in_bins[most][k] += own[k];
    }
}
