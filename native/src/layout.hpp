// How a lattice vertex becomes one 64-bit key: rlossctl/bilateral/packing.py explains it.
#pragma once

#include <cstdint>

#include "filter.hpp"

namespace rlossctl {

constexpr int max_features = 2 + max_colours;

// The smallest value that each quotient can have in an image, and the bit where it starts in a key.
struct KeyLayout {
    std::int32_t low[max_features];
    std::int32_t shift[max_features];
};

// The layout for one image [colours, height, width]. Throws std::domain_error if colours are not finite or features
// are too far apart for 64-bit keys.
KeyLayout lay_out_keys(const float* image, const Sizes& sizes, Sigmas sigmas, int threads);

// The same for points [points][features] in units of their standard deviations, with at most max_features features.
KeyLayout lay_out_point_keys(const float* features, std::int64_t points, int count);

} // namespace rlossctl
