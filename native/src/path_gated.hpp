// A row of pixels that gather from the windows around them. Included once for each instruction set.

// Where the window of a row's pixels ends at the upper and lower border.
struct Reach {
    std::int64_t first, last;

    Reach(const GatedImage& image, std::int64_t y)
        : first(y < image.rows ? -y : -image.rows),
          last(image.height - 1 - y < image.rows ? image.height - 1 - y : image.rows) {}
};

// The squared distance of `wide` pixels from those `apart` away, in F features (any number for 0).
template <int F>
RLOSSCTL_INLINE Floats squared_distance(const GatedImage& image, const float* features, std::int64_t apart) {
    const std::int64_t colours = F > 0 ? F : image.colours, plane = image.plane();
    Floats distance = {};
    for (std::int64_t f = 0; f < colours; ++f) {
        const Floats difference = get(features + f * plane) - get(features + f * plane + apart);
        distance = fused(difference, difference, distance);
    }
    return distance;
}

// The gated weights of `wide` pixels at every offset of their window, and their sum; `at` is the place of the first
// pixel in a plane.
template <int F>
RLOSSCTL_INLINE Floats gated_weights(const GatedImage& image, std::int64_t at, const Reach& reach, float* weights) {
    const std::int64_t across = 2 * image.columns + 1, offsets = (2 * image.rows + 1) * across;
    const std::int64_t group = image.colours * image.plane();
    const Floats source = get(image.source + at), destination = get(image.destination + at);
    Floats sum = {};
    for (std::int64_t dy = reach.first; dy <= reach.last; ++dy) {
        const float* factor = image.table + (dy + image.rows) * across;
        std::int64_t apart = dy * image.stride - image.columns;
        for (std::int64_t dx = 0; dx < across; ++dx, ++factor, ++apart, weights += wide) {
            Floats k = Floats{} + *factor;
            const float* features = image.features + at;
            for (std::int64_t g = 1; g <= image.groups; ++g, features += group) {
                const Floats distance = squared_distance<F>(image, features, apart);
                k = fused(Floats{} + factor[g * offsets], exponential(distance * -0.5f), k);
            }
            Floats gate = destination * get(image.source + at + apart);
            if (image.mutual) gate = fused(source, get(image.destination + at + apart), gate);
            put(weights, k * gate);
            sum += k * gate;
        }
    }
    return sum;
}

// The weighted sums of K channels; `from` is the place of the first pixel in the first of their planes.
template <int K>
RLOSSCTL_INLINE void gather(const GatedImage& image, const float* from, const Reach& reach, const float* weights,
                            Floats (&sums)[8]) {
    const std::int64_t plane = image.plane();
    Floats sum[K] = {};
    for (std::int64_t dy = reach.first; dy <= reach.last; ++dy) {
        const float* row = from + dy * image.stride;
        for (std::int64_t dx = -image.columns; dx <= image.columns; ++dx, weights += wide) {
            const Floats weight = get(weights);
            for (int c = 0; c < K; ++c) sum[c] = fused(weight, get(row + c * plane + dx), sum[c]);
        }
    }
    for (int c = 0; c < K; ++c) sums[c] = sum[c];
}

inline void gated_row(const GatedImage& given, std::int64_t y, float* weights, float* filtered, double* energy) {
    const GatedImage image = given; // a copy, of which the compiler knows that no store changes it
    const Reach reach(image, y);
    const std::int64_t plane = image.plane(), pixels = image.height * image.width;
    double total = 0;
    for (std::int64_t x = 0; x < image.width; x += wide) {
        const std::int64_t at = y * image.stride + image.columns + x;
        const std::int64_t inside = image.width - x < wide ? image.width - x : wide;
        alignas(64) float own[wide], sum[wide];
        double left[wide]; // what the energy is made of: the weights, less those of the same class
        put(sum, image.colours == 3 ? gated_weights<3>(image, at, reach, weights)
                                    : gated_weights<0>(image, at, reach, weights));
        for (int l = 0; l < wide; ++l) left[l] = sum[l];
        for (std::int64_t c = 0; c < image.channels;) {
            const float* from = image.values + c * plane + at;
            const std::int64_t rest = image.channels - c;
            const int taken = rest >= 8 ? 8 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
            Floats sums[8];
            if (taken == 8) gather<8>(image, from, reach, weights, sums);
            else if (taken == 4) gather<4>(image, from, reach, weights, sums);
            else if (taken == 2) gather<2>(image, from, reach, weights, sums);
            else gather<1>(image, from, reach, weights, sums);
            for (int k = 0; k < taken; ++k, ++c) {
                put(own, get(image.values + c * plane + at));
                put(sum, sums[k]);
                for (int l = 0; l < wide; ++l) left[l] -= static_cast<double>(own[l]) * sum[l];
                put(sum, sums[k] * image.factor);
                std::memcpy(filtered + c * pixels + y * image.width + x, sum, inside * sizeof(float));
            }
        }
        for (int l = 0; l < wide; ++l) total += left[l];
    }
    *energy = total;
}
