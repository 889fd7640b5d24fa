// A picture's class probabilities without their planes in memory: each row is enlarged and its softmax taken where it is
// needed. And what the rank rules need of them: sums by size, sums over pixels of several masks, and labels. The numpy
// twins are averaging.activate, moments.Sums, rank.Gains and rules._label_by.
#pragma once

#include <cstdint>

#include "scores.hpp"

namespace rlossctl {

// Probabilities of `rows` x `columns` pixels: the softmax of scores / temperature; where `greatest` is null, the scores
// themselves, which then have this size.
struct Probabilities {
    Scores scores;
    Enlarging enlarging;
    std::int64_t rows, columns;
    float temperature;
    const float *greatest, *total; // [rows][columns], from softmax_norms
};

// What softmax_norms has met.
struct Met {
    bool odd;      // a sum is not a number: a score is not finite
    bool negative; // a score is below 0
};

// Each pixel's greatest score, and the sum of its powers in the order of the classes.
Met softmax_norms(const Probabilities& source, float* greatest, float* total, int threads);

// One class's probabilities, [rows][columns].
void probability_plane(const Probabilities& source, std::int64_t index, float* plane, int threads);

// Masks [classes][rows][columns] of 0 and 1, which may overlap.
using Masks = const std::uint8_t*;

// For each class the number of the pixels that its mask shares with another one, and their sum of p in units of 2^-32
// and, of what that leaves, of 2^-64.
void shared_sums(const Probabilities& source, Masks masks, std::int64_t (*sums)[3], int threads);

// What a pixel adds to a class's score: dice: 2 ((own + p + smooth) / base - now); iou: (own + p + smooth) /
// (base - p + 1) - now.
struct GainTerms {
    const double *own, *base, *now; // [classes]
    double smooth;
    bool iou;
};

// One class per pixel: among the masks that cover it (all classes if none does) the greatest gain, of equal ones the
// larger class; `nothing` where no mask covers it, unless that is negative.
void mask_labels(const Probabilities& source, Masks masks, const GainTerms& terms, int nothing, std::uint8_t* labels,
                 int threads);

// For each bin the number of its values, and their sums.
void probability_bins(const float* p, std::int64_t count, const Bins& bins, std::int64_t* counts, WordSums* sums);

} // namespace rlossctl
