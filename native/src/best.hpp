// The best class of every pixel, from scores that may be smaller than the picture, and how often each class meets
// each true label: rows are enlarged, compared and counted one by one, so that only they are in memory. The numpy twins
// are upsample.upsample, rules.best_class and confusion.byte_pairs; labels and counts are the same, bit for bit.
#pragma once

#include <cstdint>

#include "scores.hpp"

namespace rlossctl {

// What is wanted for the picture [rows][columns], each may be null.
struct Wanted {
    std::uint8_t* labels;      // the classes; among equal scores the larger one
    const std::uint8_t* truth; // to be counted against
    std::int64_t* pairs;       // [256][classes], added to: how often each true label meets each class
};

// Returns whether all scores are numbers; labels and counts mean nothing otherwise.
bool best_classes(const Scores& scores, const Enlarging& enlarging, std::int64_t rows, std::int64_t columns,
                  const Wanted& wanted, int threads);

} // namespace rlossctl
