// Max-marginals of chains of pixels, smoothed, and their gradient.
#pragma once

#include <cstdint>

namespace rlossctl {

// `images` times `width` lanes, each with `stride` interleaved chains of pixels at positions p, p + stride, ...
struct ChainSizes {
    std::int64_t images, length, labels, width, stride;

    std::int64_t pairs() const { return length > stride ? length - stride : 0; }
};

// Per image, contiguous: unary, forwards, backwards, marginals, slope and their gradients [length][labels][width];
// pairwise and its gradient [pairs][label of p][label of p + stride][width].
//
// forwards[p][s] = unary[p][s] + smax over r of (pairwise[p - stride][r][s] + forwards[p - stride][r]), backwards the
// same from the other end, marginals = forwards + backwards - unary. smax(v) = temperature ln sum exp(v / temperature),
// the maximum at temperature 0.
void chain_marginals(const float* unary, const float* pairwise, float temperature, const ChainSizes& sizes,
                     float* marginals, float* forwards, float* backwards, int threads);

// From the slope of the marginals to those of unary, pairwise and temperature (0 for a maximum, whose slope goes to the
// first of equal labels). No bit depends on the number of threads.
void chain_gradients(const float* slope, const float* unary, const float* pairwise, const float* forwards,
                     const float* backwards, float temperature, const ChainSizes& sizes, float* unary_slope,
                     float* pairwise_slope, double* temperature_slope, int threads);

} // namespace rlossctl
