#include "layout.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "threads.hpp"

namespace rlossctl {
namespace {

constexpr int remainder_bits = 3, max_bits = 63, max_quotient = 1 << 15;

// The range of some colours. It always includes 0, as the lattice may have vertices there (see twin.with_phantom).
struct Range {
    float low = 0, high = 0;
    bool finite = true;

    void take(const Range& other) {
        low = std::min(low, other.low), high = std::max(high, other.high), finite = finite && other.finite;
    }
};

Range range_of(const float* colours, std::int64_t count) {
    constexpr int lanes = 16; // in parallel, or the compiler would keep the order of the comparisons
    float low[lanes] = {}, high[lanes] = {}, odd[lanes] = {};
    const auto look = [&](int l, float colour) {
        low[l] = colour < low[l] ? colour : low[l];
        high[l] = colour > high[l] ? colour : high[l];
        odd[l] += colour * 0.0f; // NaN for NaN and infinity
    };
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (int l = 0; l < lanes; ++l) look(l, colours[i + l]);
    for (; i < count; ++i) look(0, colours[i]);
    Range range;
    for (int l = 0; l < lanes; ++l) range.take({low[l], high[l], odd[l] == 0.0f});
    return range;
}

Range range_of(const float* colours, std::int64_t count, int threads) {
    std::vector<Range> ranges(threads);
    parallel(threads, threads, [&](int t) {
        const std::int64_t first = count * t / threads, last = count * (t + 1) / threads;
        ranges[t] = range_of(colours + first, last - first);
    });
    for (const Range& range : ranges) ranges[0].take(range);
    if (!ranges[0].finite) throw std::domain_error("the image holds NaN or infinity");
    return ranges[0];
}

// The layout for `count` features from `first` to `last`, in units of their standard deviations.
KeyLayout lay_out(double* first, double* last, int count) {
    for (int i = 0; i < count; ++i) {
        const double scale = std::sqrt(2.0 / 3.0) * (count + 1) / std::sqrt((i + 1.0) * (i + 2.0));
        first[i] *= scale, last[i] *= scale;
    }
    KeyLayout layout{};
    int bits = remainder_bits;
    for (int i = 0; i < count; ++i) {
        double low = 0, high = 0;
        for (int j = i; j < count; ++j) low += first[j], high += last[j];
        if (i > 0) low -= i * last[i - 1], high -= i * first[i - 1];
        low = std::floor(low / (count + 1) - 3.5); // room for rounding and neighbours: see packing.py
        high = std::ceil(high / (count + 1) + 3.5);
        if (!(std::max(-low, high) <= max_quotient)) bits = max_bits + 1;
        if (bits > max_bits) break;
        layout.low[i] = static_cast<std::int32_t>(low);
        layout.shift[i] = bits;
        for (auto span = static_cast<std::int64_t>(high - low); span > 0; span >>= 1) ++bits;
    }
    if (bits > max_bits) throw std::domain_error("sigma is too small for 64-bit keys");
    return layout;
}

} // namespace

KeyLayout lay_out_keys(const float* image, const Sizes& sizes, Sigmas sigmas, int threads) {
    const int count = static_cast<int>(sizes.colours) + 2;
    double first[max_features] = {}, last[max_features] = {}; // of the scaled features
    last[0] = static_cast<double>(sizes.width - 1) / sigmas.xy;
    last[1] = static_cast<double>(sizes.height - 1) / sigmas.xy;
    for (int i = 2; i < count; ++i) {
        const Range range = range_of(image + (i - 2) * sizes.pixels(), sizes.pixels(), threads);
        first[i] = range.low / sigmas.rgb, last[i] = range.high / sigmas.rgb;
    }
    return lay_out(first, last, count);
}

KeyLayout lay_out_point_keys(const float* features, std::int64_t points, int count) {
    Range ranges[max_features];
    for (std::int64_t n = 0; n < points; ++n)
        for (int i = 0; i < count; ++i) {
            const float feature = features[n * count + i];
            ranges[i].take({feature, feature, std::isfinite(feature)});
        }
    double first[max_features], last[max_features];
    for (int i = 0; i < count; ++i) {
        if (!ranges[i].finite) throw std::domain_error("the features hold NaN or infinity");
        first[i] = ranges[i].low, last[i] = ranges[i].high;
    }
    return lay_out(first, last, count);
}

} // namespace rlossctl
