// Lanes of pixels, eight floats, and rows of eights, in the widest registers of an instruction set. Included once
// for each instruction set.

#if defined(__AVX512F__)
constexpr int wide = 16;
#elif defined(__AVX2__)
constexpr int wide = 8;
#else
constexpr int wide = 4; // what every processor has (SSE2, NEON): compilers split larger vectors into single numbers
#endif
typedef float Floats __attribute__((vector_size(4 * wide)));
typedef std::int32_t Ints __attribute__((vector_size(4 * wide)));
typedef std::uint32_t UnsignedInts __attribute__((vector_size(4 * wide)));
typedef std::uint64_t Longs __attribute__((vector_size(8 * wide)));

RLOSSCTL_INLINE Floats get(const float* from) {
    Floats a;
    std::memcpy(&a, from, sizeof a);
    return a;
}
RLOSSCTL_INLINE void put(float* to, Floats a) { std::memcpy(to, &a, sizeof a); }
#if defined(__AVX512F__)
RLOSSCTL_INLINE Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
RLOSSCTL_INLINE Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
RLOSSCTL_INLINE Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); } // a b + c
#elif defined(__AVX2__)
RLOSSCTL_INLINE Floats larger(Floats a, Floats b) { return _mm256_max_ps(a, b); }
RLOSSCTL_INLINE Floats smaller(Floats a, Floats b) { return _mm256_min_ps(a, b); }
RLOSSCTL_INLINE Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
#else
RLOSSCTL_INLINE Floats larger(Floats a, Floats b) { return a < b ? b : a; }
RLOSSCTL_INLINE Floats smaller(Floats a, Floats b) { return a < b ? a : b; }
RLOSSCTL_INLINE Floats fused(Floats a, Floats b, Floats c) { return a * b + c; }
#endif

#if defined(__AVX2__)
struct Eight {
    __m256 v;
};
RLOSSCTL_INLINE Eight load(const float* from) { return {_mm256_loadu_ps(from)}; }
RLOSSCTL_INLINE void store(float* to, Eight a) { _mm256_storeu_ps(to, a.v); }
RLOSSCTL_INLINE Eight all(float a) { return {_mm256_set1_ps(a)}; }
RLOSSCTL_INLINE Eight operator+(Eight a, Eight b) { return {_mm256_add_ps(a.v, b.v)}; }
RLOSSCTL_INLINE Eight operator*(Eight a, Eight b) { return {_mm256_mul_ps(a.v, b.v)}; }
RLOSSCTL_INLINE Eight fused(Eight a, Eight b, Eight c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; } // a b + c

// rows[i][j] = from(j)[i]. Halves are put together while they are loaded, because most processors shuffle
// with one unit only.
template <class From>
RLOSSCTL_INLINE void load_columns(const From& from, Eight (&rows)[8]) {
    for (int half = 0; half < 8; half += 4) {
        __m256 both[4], pairs[4];
        for (int j = 0; j < 4; ++j) {
            const __m128 low = _mm_loadu_ps(from(j) + half), high = _mm_loadu_ps(from(j + 4) + half);
            both[j] = _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
        }
        for (int j = 0; j < 2; ++j) {
            pairs[2 * j] = _mm256_unpacklo_ps(both[2 * j], both[2 * j + 1]);
            pairs[2 * j + 1] = _mm256_unpackhi_ps(both[2 * j], both[2 * j + 1]);
        }
        for (int j = 0; j < 2; ++j) {
            rows[half + 2 * j].v = _mm256_shuffle_ps(pairs[j], pairs[j + 2], 0x44);
            rows[half + 2 * j + 1].v = _mm256_shuffle_ps(pairs[j], pairs[j + 2], 0xEE);
        }
    }
}
#else
struct Eight {
    Floats v[2];
};
RLOSSCTL_INLINE Eight load(const float* from) { return {{get(from), get(from + 4)}}; }
RLOSSCTL_INLINE void store(float* to, Eight a) { put(to, a.v[0]), put(to + 4, a.v[1]); }
RLOSSCTL_INLINE Eight all(float a) { return {{Floats{a, a, a, a}, Floats{a, a, a, a}}}; }
RLOSSCTL_INLINE Eight operator+(Eight a, Eight b) { return {{a.v[0] + b.v[0], a.v[1] + b.v[1]}}; }
RLOSSCTL_INLINE Eight operator*(Eight a, Eight b) { return {{a.v[0] * b.v[0], a.v[1] * b.v[1]}}; }
RLOSSCTL_INLINE Eight fused(Eight a, Eight b, Eight c) { return a * b + c; }

// rows[i][j] = from(j)[i].
template <class From>
RLOSSCTL_INLINE void load_columns(const From& from, Eight (&rows)[8]) {
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 8; j += 4) {
            const Floats a = get(from(j) + i), b = get(from(j + 1) + i), c = get(from(j + 2) + i),
                         d = get(from(j + 3) + i);
#if defined(__clang__) || __GNUC__ >= 12
            const Floats ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            const Floats cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            const Floats ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            const Floats cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            rows[i].v[j / 4] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            rows[i + 1].v[j / 4] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            rows[i + 2].v[j / 4] = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
            rows[i + 3].v[j / 4] = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
#else
            for (int k = 0; k < 4; ++k) rows[i + k].v[j / 4] = Floats{a[k], b[k], c[k], d[k]};
#endif
        }
}
#endif

// G eights. Pairs of them share a register if it is wide enough and rows are whole pairs (others would cross two
// cache lines).
template <int G>
struct Row {
#if defined(__AVX512F__)
    static constexpr int pairs = G / 2, singles = G % 2;
    __m512 pair[pairs > 0 ? pairs : 1];
#else
    static constexpr int pairs = 0, singles = G;
#endif
    Eight single[singles > 0 ? singles : 1];

    static RLOSSCTL_INLINE Row zeros() {
        Row row;
#if defined(__AVX512F__)
        for (int i = 0; i < pairs; ++i) row.pair[i] = _mm512_setzero_ps();
#endif
        for (int i = 0; i < singles; ++i) row.single[i] = all(0.0f);
        return row;
    }
    static RLOSSCTL_INLINE Row load(const float* from) {
        Row row;
#if defined(__AVX512F__)
        for (int i = 0; i < pairs; ++i) row.pair[i] = _mm512_loadu_ps(from + 16 * i);
#endif
        for (int i = 0; i < singles; ++i) row.single[i] = RLOSSCTL_PATH::load(from + 16 * pairs + 8 * i);
        return row;
    }
    RLOSSCTL_INLINE void store(float* to) const {
#if defined(__AVX512F__)
        for (int i = 0; i < pairs; ++i) _mm512_storeu_ps(to + 16 * i, pair[i]);
#endif
        for (int i = 0; i < singles; ++i) RLOSSCTL_PATH::store(to + 16 * pairs + 8 * i, single[i]);
    }
    // this + weight * other
    RLOSSCTL_INLINE Row plus(float weight, const Row& other) const {
        Row row;
#if defined(__AVX512F__)
        for (int i = 0; i < pairs; ++i) row.pair[i] = _mm512_fmadd_ps(_mm512_set1_ps(weight), other.pair[i], pair[i]);
#endif
        for (int i = 0; i < singles; ++i) row.single[i] = fused(all(weight), other.single[i], single[i]);
        return row;
    }
    RLOSSCTL_INLINE Row operator+(const Row& other) const {
        Row row;
#if defined(__AVX512F__)
        for (int i = 0; i < pairs; ++i) row.pair[i] = _mm512_add_ps(pair[i], other.pair[i]);
#endif
        for (int i = 0; i < singles; ++i) row.single[i] = single[i] + other.single[i];
        return row;
    }
};
