// Minimum spanning trees of the grid of pixels, and sums over products along their paths.
#pragma once

#include <cstdint>

namespace rlossctl {

struct TreeSizes {
    std::int64_t images, channels, height, width;

    std::int64_t pixels() const { return height * width; }
    std::int64_t edges() const { return (height - 1) * width + height * (width - 1); }
};

// weights [images][edges], 0 or more: edges to the pixel below first, row by row, then those to the right. Of equal
// weights the edge of the lower number is taken. order [images][pixels]: pixels from the first one outwards, parents
// before children; parent [images][pixels]: of each pixel, the first one's is itself.
void spanning_trees(const float* weights, const TreeSizes& sizes, std::int64_t* order, std::int64_t* parent,
                    int threads);

// filtered_i = sum_j A_ij values_j / sum_j A_ij, A_ij the product of affinity (of a pixel to its parent; the first
// pixel's is not read) along the path between i and j. values, filtered [images][channels][pixels], affinity
// [images][pixels]. No bit depends on the number of threads.
void tree_filter(const float* values, const float* affinity, const std::int64_t* order, const std::int64_t* parent,
                 const TreeSizes& sizes, float* filtered, int threads);

// From the slope of filtered to those of values and, unless it is null, of affinity (0 at the first pixel).
void tree_gradients(const float* slope, const float* values, const float* affinity, const std::int64_t* order,
                    const std::int64_t* parent, const TreeSizes& sizes, float* values_slope, float* affinity_slope,
                    int threads);

} // namespace rlossctl
