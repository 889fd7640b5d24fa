// Lanes of pixels, eight floats, and rows of eights, in the widest registers of an instruction set. Included once
// for each instruction set.

#if defined(__AVX512F__)
constexpr int wide = 16;
#else
constexpr int wide = 8;
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

RLOSSCTL_INLINE void transpose(Eight (&rows)[8]) {
    __m256 pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xEE);
        }
    for (int i = 0; i < 4; ++i) {
        rows[i].v = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        rows[i + 4].v = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
}
#else
struct Eight {
    float v[8];
};
RLOSSCTL_INLINE Eight load(const float* from) {
    Eight a;
    std::memcpy(a.v, from, sizeof a.v);
    return a;
}
RLOSSCTL_INLINE void store(float* to, Eight a) { std::memcpy(to, a.v, sizeof a.v); }
RLOSSCTL_INLINE Eight all(float a) { return {{a, a, a, a, a, a, a, a}}; }
RLOSSCTL_INLINE Eight operator+(Eight a, Eight b) {
    for (int i = 0; i < 8; ++i) a.v[i] += b.v[i];
    return a;
}
RLOSSCTL_INLINE Eight operator*(Eight a, Eight b) {
    for (int i = 0; i < 8; ++i) a.v[i] *= b.v[i];
    return a;
}
RLOSSCTL_INLINE Eight fused(Eight a, Eight b, Eight c) { return a * b + c; }

RLOSSCTL_INLINE void transpose(Eight (&rows)[8]) {
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < i; ++j) {
            const float a = rows[i].v[j];
            rows[i].v[j] = rows[j].v[i];
            rows[j].v[i] = a;
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
