// The gated filter of the Gated CRF loss as the host sees it; calls behave as those of filter.hpp. The mathematics, in
// readable form, is rlossctl/bilateral/gated.py.
#pragma once

#include "filter.hpp"

namespace rlossctl::cuda {

// Pixels i and j = i + d see each other with k = table[0][d] + sum over g of table[1 + g][d] exp(-|f_gi - f_gj|^2 / 2).
struct Pairs {
    const float* features;                     // f, [groups][images][count][height][width]
    const float* table;                        // [1 + groups][2 rows + 1][2 columns + 1], 0 in the centre
    const float *source, *destination;         // gates, [images][height][width]
    std::int64_t groups, count, rows, columns; // rows < height, columns < width
};

// `colours` of the sizes does not count.
std::size_t gated_workspace(const Sizes& sizes);

// filtered_i = destination_i * sum over j of k_ij source_j values_j.
void gated_filter(const float* values, const Pairs& pairs, float* filtered, const Sizes& sizes,
                  const Workspace& workspace);

// With w_ij = k_ij (destination_i source_j + destination_j source_i): gradient_i = -sum over j of w_ij values_j, and
// energies[n] = sum over the image's pairs, each taken once, of w_ij (1 - <values_i, values_j>). Always the same bits.
void gated_crf(const float* values, const Pairs& pairs, float* gradient, double* energies, const Sizes& sizes,
               const Workspace& workspace);

} // namespace rlossctl::cuda
