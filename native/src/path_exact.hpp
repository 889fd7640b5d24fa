// The Gaussians between two tiles of pixels. Included once for each instruction set.

// exp(x) for x <= 0: 2^n times a polynomial (Cephes' expf); relative error below 2e-7, 0 below -87.
RLOSSCTL_INLINE void exponential(float (&x)[lanes]) {
    alignas(64) float fraction[lanes], power[lanes];
    alignas(64) std::int32_t bits[lanes];
#pragma omp simd
    for (int l = 0; l < lanes; ++l) {
        const float clamped = x[l] < -87.0f ? -87.0f : x[l];
        const float n = nearest(clamped * 1.44269504f);
        const float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
        float sum = 1.9875691500e-4f;
        sum = sum * r + 1.3981999507e-3f;
        sum = sum * r + 8.3334519073e-3f;
        sum = sum * r + 4.1665795894e-2f;
        sum = sum * r + 1.6666665459e-1f;
        sum = sum * r + 5.0000001201e-1f;
        fraction[l] = sum * r * r + r + 1.0f;
        bits[l] = (static_cast<std::int32_t>(n) + 127) << 23;
    }
    std::memcpy(power, bits, sizeof power);
#pragma omp simd
    for (int l = 0; l < lanes; ++l) x[l] = x[l] < -87.0f ? 0.0f : fraction[l] * power[l];
}

// weights[i][j] of the kernel between target i and source j.
template <int D>
RLOSSCTL_INLINE void gaussians(const Tile<D>& target, const Tile<D>& source, const float* falloff,
                               float (&weights)[tile_pixels][tile_pixels]) {
    for (int i = 0; i < tile_pixels; ++i)
        for (int j = 0; j < tile_pixels; j += lanes) {
            alignas(64) float exponent[lanes] = {};
            for (int f = 0; f < D; ++f) {
                const float at = target.features[f][i], factor = falloff[f];
#pragma omp simd
                for (int l = 0; l < lanes; ++l) {
                    const float apart = at - source.features[f][j + l];
                    exponent[l] -= factor * (apart * apart);
                }
            }
            exponential(exponent);
            std::memcpy(&weights[i][j], exponent, sizeof exponent);
        }
}

// sums[i] += sum over j of weights[i][j] values[j], for G groups of channels.
template <int G>
void weigh(const float (&weights)[tile_pixels][tile_pixels], const float* values, std::int64_t stride, double* sums) {
    constexpr int together = 4; // targets, to use each row of values that often
    for (int i = 0; i < tile_pixels; i += together) {
        Row<G> sum[together];
        for (int k = 0; k < together; ++k) sum[k] = Row<G>::zeros();
        for (int j = 0; j < tile_pixels; ++j) {
            const auto value = Row<G>::load(values + j * stride);
            for (int k = 0; k < together; ++k) sum[k] = sum[k].plus(weights[i + k][j], value);
        }
        for (int k = 0; k < together; ++k) {
            alignas(64) float row[G * group];
            sum[k].store(row);
            double* to = sums + (i + k) * stride;
            for (int c = 0; c < G * group; ++c) to[c] += static_cast<double>(row[c]);
        }
    }
}

template <int D>
void exact_tile(const Tile<D>& target, const Tile<D>& source, const float* falloff, const float* values,
                std::int64_t groups, double* sums) {
    alignas(64) float weights[tile_pixels][tile_pixels];
    gaussians<D>(target, source, falloff, weights);
    const std::int64_t stride = groups * group;
    std::int64_t g = 0;
    for (; g + 3 <= groups; g += 3) weigh<3>(weights, values + g * group, stride, sums + g * group);
    if (groups - g == 2) weigh<2>(weights, values + g * group, stride, sums + g * group);
    if (groups - g == 1) weigh<1>(weights, values + g * group, stride, sums + g * group);
}
