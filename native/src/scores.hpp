// Scores of one picture, which may be smaller than it, row by row: enlarged as upsample.upsample does, bit for bit.
#pragma once

#include <cstdint>

#include "kernels.hpp"

namespace rlossctl {

// Scores [classes][height][width] of one picture.
struct Scores {
    const float* data;
    std::int64_t classes, height, width;
};

// For each row (column) of the picture, the given rows (columns) before and after it, and the weight of the latter.
// Null pointers: the scores have the picture's own size.
struct Enlarging {
    const std::int32_t *top, *below, *left, *beside;
    const float *down, *right;
};

// Row y of a picture with this many columns.
inline ScoreRow score_row(const Scores& scores, const Enlarging& enlarging, std::int64_t columns, std::int64_t y) {
    ScoreRow row{};
    row.left = enlarging.left, row.beside = enlarging.beside, row.right = enlarging.right;
    row.plane = scores.height * scores.width, row.width = scores.width;
    row.columns = columns, row.classes = scores.classes;
    row.above = scores.data + (enlarging.top == nullptr ? y : enlarging.top[y]) * scores.width;
    if (enlarging.top != nullptr) {
        row.below = scores.data + enlarging.below[y] * scores.width;
        row.down = enlarging.down[y];
    }
    return row;
}

} // namespace rlossctl
