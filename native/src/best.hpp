// The best class of every pixel, from scores that may be smaller than the picture, and how often each class meets
// each true label: rows are enlarged, compared and counted one by one, so that only they are in memory. The numpy twins
// are upsample.upsample, rules.best_class and confusion.byte_pairs; labels and counts are the same, bit for bit.
// And the sums of a class's probabilities by size, for rlossctl/evaluation/predicting/screening.py.
#pragma once

#include <cstdint>

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

// What is wanted for the picture [rows][columns], each may be null.
struct Wanted {
    std::uint8_t* labels;      // the classes; among equal scores the larger one
    const std::uint8_t* truth; // to be counted against
    std::int64_t* pairs;       // [256][classes], added to: how often each true label meets each class
};

// Returns whether all scores are numbers; labels and counts mean nothing otherwise.
bool best_classes(const Scores& scores, const Enlarging& enlarging, std::int64_t rows, std::int64_t columns,
                  const Wanted& wanted, int threads);

// Bins of values by their bits as floats: those of bin b have bits >> shift = first + b. Smaller and negative values are
// in bin 0, larger ones in the last.
struct Bins {
    int shift;
    std::int32_t first;
    std::int64_t count;
};

// For each bin the number of its values, and the sums of p, p^2 and p^3 in units of 2^-32 and, of what that leaves, in
// units of 2^-64: whole numbers, so that the order does not matter. All are added to.
void probability_bins(const float* p, std::int64_t count, const Bins& bins, std::int64_t* counts,
                      std::int64_t (*sums)[3][2]);

} // namespace rlossctl
