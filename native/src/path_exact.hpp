// The Gaussians between two tiles of pixels. Included once for each instruction set.

// exp(x) for x <= 0: 2^n times a polynomial (Cephes' expf); relative error below 2e-7, 0 below -87.
RLOSSCTL_INLINE Floats exponential(Floats x) {
    const Floats clamped = larger(x, Floats{} - 87.0f);
    const Floats n = nearest(clamped * 1.44269504f);
    const Floats r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    Floats sum = r * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * r + 8.3334519073e-3f;
    sum = sum * r + 4.1665795894e-2f;
    sum = sum * r + 1.6666665459e-1f;
    sum = sum * r + 5.0000001201e-1f;
    const Floats fraction = sum * r * r + r + 1.0f;
    const Ints power = (__builtin_convertvector(n, Ints) + 127) << 23;
    return x < -87.0f ? Floats{} : fraction * (Floats)power;
}

// weights[i][j] of the kernel between target i and source j.
template <int D>
RLOSSCTL_INLINE void gaussians(const Tile<D>& target, const Tile<D>& source, const float* falloff,
                               float (&weights)[tile_pixels][tile_pixels]) {
    for (int j = 0; j < tile_pixels; j += wide) {
        Floats from[D];
        for (int f = 0; f < D; ++f) from[f] = get(&source.features[f][j]);
        for (int i = 0; i < tile_pixels; ++i) {
            Floats exponent = {};
            for (int f = 0; f < D; ++f) {
                const Floats apart = target.features[f][i] - from[f];
                exponent -= falloff[f] * (apart * apart);
            }
            put(&weights[i][j], exponential(exponent));
        }
    }
}

// sums[i] += sum over j of weights[i][j] values[j], for G groups of channels.
template <int G>
void weigh(const float (&weights)[tile_pixels][tile_pixels], const float* values, std::int64_t stride, double* sums) {
    constexpr int together = 4; // targets, so that each row of values is used this often
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
