// Rows of pixels that gather from the windows around them. Included once for each instruction set.

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

// The kernels between `wide` pixels and those `apart` away. The same from both ends, bit for bit.
template <int F>
RLOSSCTL_INLINE Floats kernels_of(const GatedImage& image, std::int64_t at, std::int64_t apart, const float* factor) {
    const std::int64_t group = image.colours * image.plane(), across = 2 * image.columns + 1;
    const float* features = image.features + at;
    Floats k = Floats{} + *factor;
    for (std::int64_t g = 1; g <= image.groups; ++g, features += group) {
        const Floats distance = squared_distance<F>(image, features, apart);
        k = fused(Floats{} + factor[g * (2 * image.rows + 1) * across], exponential(distance * -0.5f), k);
    }
    return k;
}

// Where the kernels of row y at the later offsets (dy, 0), (dy, 1) ... are kept, `stride` apart, from pixel 0 on.
RLOSSCTL_INLINE float* kept(const GatedImage& image, const GatedRoom& room, std::int64_t y, std::int64_t dy) {
    const std::int64_t number = dy * (2 * image.columns + 1);
    return room.kernels + (y % (image.rows + 1) * image.later() + number) * image.stride + image.columns;
}

// Keeps the kernels of row y with the row dy below it.
template <int F>
RLOSSCTL_INLINE void keep(const GatedImage& image, std::int64_t y, std::int64_t dy, const GatedRoom& room) {
    const std::int64_t at = y * image.stride + image.columns;
    const float* factor = image.table + (dy + image.rows) * (2 * image.columns + 1) + image.columns;
    float* const to = kept(image, room, y, dy);
    for (std::int64_t dx = dy == 0 ? 0 : -image.columns; dx <= image.columns; ++dx)
        for (std::int64_t x = 0; x < image.width; x += wide)
            put(to + dx * image.stride + x, kernels_of<F>(image, at + x, dy * image.stride + dx, factor + dx));
}

// The gated weights of `wide` pixels from (x, y) on at every offset of their window, and their sum. A kernel is
// computed at the earlier of its two pixels, and the later one finds it kept.
template <int F>
RLOSSCTL_INLINE Floats gated_weights(const GatedImage& image, std::int64_t y, std::int64_t x, const GatedRoom& room) {
    const Reach reach(image, y);
    const std::int64_t at = y * image.stride + image.columns + x, columns = image.columns, stride = image.stride;
    const Floats source = get(image.source + at), destination = get(image.destination + at);
    float* weights = room.weights;
    Floats sum = {};
    const auto take = [&](std::int64_t apart, Floats k) {
        Floats gate = destination * get(image.source + at + apart);
        if (image.mutual) gate = fused(source, get(image.destination + at + apart), gate);
        put(weights, k * gate);
        sum += k * gate;
        weights += wide;
    };
    for (std::int64_t dy = reach.first; dy <= reach.last; ++dy) {
        const std::int64_t apart = dy * stride;
        const float* factor = image.table + (dy + image.rows) * (2 * columns + 1) + columns;
        if (room.kernels == nullptr) {
            for (std::int64_t dx = -columns; dx <= columns; ++dx)
                take(apart + dx, kernels_of<F>(image, at, apart + dx, factor + dx));
        } else if (dy > 0) {
            float* const to = kept(image, room, y, dy) + x;
            for (std::int64_t dx = -columns; dx <= columns; ++dx) {
                const Floats k = kernels_of<F>(image, at, apart + dx, factor + dx);
                put(to + dx * stride, k);
                take(apart + dx, k);
            }
        } else {
            const float* const from = kept(image, room, y + dy, -dy) + x; // of the earlier row
            const std::int64_t last = dy < 0 ? columns : 0;
            for (std::int64_t dx = -columns; dx <= last; ++dx) take(apart + dx, get(from - dx * stride + dx));
            for (std::int64_t dx = last + 1; dx <= columns; ++dx) take(apart + dx, get(from + dx * stride));
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

// All channels of `wide` pixels from (x, y) on, and what they add to twice the energy; `total` is the weights' sum.
inline double gathered(const GatedImage& given, std::int64_t y, std::int64_t x, const float* weights, Floats total,
                       float* filtered) {
    const GatedImage image = given; // a copy, of which the compiler knows that no store changes it
    const Reach reach(image, y);
    const std::int64_t plane = image.plane(), pixels = image.height * image.width;
    const std::int64_t at = y * image.stride + image.columns + x;
    const std::int64_t inside = image.width - x < wide ? image.width - x : wide;
    alignas(64) float own[wide], sum[wide];
    double left[wide]; // what the energy is made of: the weights, less those of the same class
    put(sum, total);
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
    double energy = 0;
    for (int l = 0; l < wide; ++l) energy += left[l];
    return energy;
}

template <int F>
RLOSSCTL_INLINE void gated_rows(const GatedImage& image, std::int64_t first, std::int64_t last, const GatedRoom& room,
                                float* filtered, double* energies) {
    for (std::int64_t y = first < image.rows ? 0 : first - image.rows; y < first && room.kernels != nullptr; ++y)
        for (std::int64_t dy = first - y; dy <= Reach(image, y).last; ++dy) keep<F>(image, y, dy, room);
    for (std::int64_t y = first; y < last; ++y) {
        if (room.kernels != nullptr) keep<F>(image, y, 0, room);
        energies[y] = 0;
        for (std::int64_t x = 0; x < image.width; x += wide) {
            const Floats total = gated_weights<F>(image, y, x, room);
            energies[y] += gathered(image, y, x, room.weights, total, filtered);
        }
    }
}

inline void gated_band(const GatedImage& given, std::int64_t first, std::int64_t last, const GatedRoom& memory,
                       float* filtered, double* energies) {
    const GatedImage image = given; // copies, of which the compiler knows that no store changes them
    const GatedRoom room = memory;
    if (image.colours == 3) gated_rows<3>(image, first, last, room, filtered, energies);
    else gated_rows<0>(image, first, last, room, filtered, energies);
}
