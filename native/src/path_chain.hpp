// Messages along chains, `wide` lanes at once. Included once for each instruction set.

// The first `count` floats; the others are 0. And the same for writing.
#if defined(__AVX512F__)
RLOSSCTL_INLINE Floats some(const float* from, int count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
RLOSSCTL_INLINE void put_some(float* to, Floats a, int count) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), a);
}
#elif defined(__AVX2__)
RLOSSCTL_INLINE __m256i first(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RLOSSCTL_INLINE Floats some(const float* from, int count) { return _mm256_maskload_ps(from, first(count)); }
RLOSSCTL_INLINE void put_some(float* to, Floats a, int count) { _mm256_maskstore_ps(to, first(count), a); }
#else
RLOSSCTL_INLINE Floats some(const float* from, int count) {
    if (count == wide) return get(from);
    alignas(64) float all[wide] = {};
    for (int i = 0; i < count; ++i) all[i] = from[i];
    return get(all);
}
RLOSSCTL_INLINE void put_some(float* to, Floats a, int count) {
    if (count == wide) return put(to, a);
    alignas(64) float all[wide];
    put(all, a);
    for (int i = 0; i < count; ++i) to[i] = all[i];
}
#endif

// ln(x) of normal x > 0 (Cephes' logf); relative error below 2e-7.
RLOSSCTL_INLINE Floats logarithm(Floats x) {
    const Ints bits = (Ints)x, above = bits - 0x3f3504f3; // of the square root of 1/2
    const Ints exponent = above >> 23;
    const Floats r = (Floats)(bits - (exponent << 23)) - 1.0f, e = __builtin_convertvector(exponent, Floats);
    Floats sum = r * 7.0376836292e-2f - 1.1514610310e-1f;
    sum = sum * r + 1.1676998740e-1f;
    sum = sum * r - 1.2420140846e-1f;
    sum = sum * r + 1.4249322787e-1f;
    sum = sum * r - 1.6668057665e-1f;
    sum = sum * r + 2.0000714765e-1f;
    sum = sum * r - 2.4999993993e-1f;
    sum = sum * r + 3.3333331174e-1f;
    const Floats square = r * r;
    return sum * r * square - e * 2.12194440e-4f - square * 0.5f + r + e * 0.693359375f;
}

// scores[r] = pairwise[r][s] + before[r]; returns their maximum.
RLOSSCTL_INLINE Floats chain_scores(const ChainStep& step, std::int64_t s, Floats* scores) {
    const float* pairwise = step.pairwise + s * step.to;
    Floats most = {};
    for (std::int64_t r = 0; r < step.labels; ++r) {
        scores[r] = some(pairwise + r * step.from, step.count) + some(step.before + r * step.width, step.count);
        most = r == 0 ? scores[0] : larger(most, scores[r]);
    }
    return most;
}

void chain_message(const ChainStep& step, const float* unary, float* message, float* room) {
    Floats* scores = reinterpret_cast<Floats*>(room);
    for (std::int64_t s = 0; s < step.labels; ++s) {
        Floats most = chain_scores(step, s, scores);
        if (step.temperature > 0) {
            Floats sum = {};
            for (std::int64_t r = 0; r < step.labels; ++r)
                sum += exponential((scores[r] - most) * (1 / step.temperature));
            most += step.temperature * logarithm(sum);
        }
        put_some(message + s * step.width, some(unary + s * step.width, step.count) + most, step.count);
    }
}

double chain_message_slope(const ChainStep& step, const float* slope, float* pairwise_slope, bool add,
                           float* before_slope, float* room) {
    Floats* scores = reinterpret_cast<Floats*>(room);
    Floats temperature_slope = {};
    for (std::int64_t s = 0; s < step.labels; ++s) {
        const Floats most = chain_scores(step, s, scores), up = get(slope + s * wide);
        Floats sum = {}, entropy = {};
        if (step.temperature > 0) {
            for (std::int64_t r = 0; r < step.labels; ++r) {
                const Floats exponent = (scores[r] - most) * (1 / step.temperature);
                scores[r] = exponential(exponent);
                sum += scores[r];
                entropy -= scores[r] * exponent;
            }
            temperature_slope += up * (entropy / sum + logarithm(sum));
        } else { // 1 for the first label that has the maximum
            for (std::int64_t r = 0; r < step.labels; ++r) {
                const Floats is = scores[r] == most ? Floats{} + 1.0f : Floats{};
                scores[r] = sum == 0.0f ? is : Floats{};
                sum += scores[r];
            }
        }
        const Floats factor = up / sum;
        for (std::int64_t r = 0; r < step.labels; ++r) {
            const Floats part = scores[r] * factor;
            float* to = pairwise_slope + s * step.to + r * step.from;
            put_some(to, add ? some(to, step.count) + part : part, step.count);
            put(before_slope + r * wide, get(before_slope + r * wide) + part);
        }
    }
    double total = 0;
    for (int i = 0; i < step.count; ++i) total += static_cast<double>(temperature_slope[i]);
    return total;
}
