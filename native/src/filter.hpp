// The permutohedral lattice filter of the original DenseCRF loss, all channels together.
#pragma once

#include <cstdint>

namespace rlossctl {

constexpr int max_colours = 4;
constexpr int max_features = 2 + max_colours;

// Where each quotient lies in a 64-bit key; chosen, with its limits, in rlossctl/bilateral/packing.py.
struct KeyLayout {
    std::int32_t low[max_features];
    std::int32_t shift[max_features];
};

struct Sizes {
    std::int64_t images, channels, colours, height, width;
};

// filtered[n] = A_n values[n]; values and filtered [images, channels, height, width], image
// [images, colours, height, width], all contiguous. The result does not depend on `threads`.
void bilateral_filter(const float* values, const float* image, float* filtered, const KeyLayout& layout,
                      const Sizes& sizes, double sigma_xy, double sigma_rgb, int threads);

} // namespace rlossctl
