// The inner loops, compiled once for each instruction set (kernels_*.cpp) and chosen at run time.
#pragma once

#include <cstdint>
#include <tuple>

#include "compiler.hpp"
#include "filter.hpp"
#include "layout.hpp"

namespace rlossctl {

constexpr int lanes = 16;     // pixels that go through a loop together
constexpr int group = 8;      // floats; rows of channels are whole groups
constexpr int max_groups = 4; // in a part of the channels, so that a row of it stays in registers

// Space of a row of groups: three take the space of four, so that rows are aligned to cache lines.
constexpr int row_floats(int groups) { return (groups == 3 ? 4 : groups) * group; }

// What is stored for `lanes` pixels with D features.
template <int D>
struct Block {
    float weights[D + 1][lanes];
    std::int32_t simplex[lanes]; // number of the simplex
};

// What identifies the simplices of `lanes` pixels.
struct BlockKeys {
    std::uint64_t base[lanes];  // key of the simplex' vertex of remainder 0
    std::uint32_t order[lanes]; // ranks of coordinates 0..D-1, 3 bits each
};

// Vertices of a simplex by remainder, padded so that a shift gives the place of one.
template <int D>
struct Simplex {
    std::int32_t vertices[8];
};

// Pixels of one image with D features.
struct Picture {
    const float* image;    // [D - 2][pixels]
    const float* position; // scaled feature x of each column, then y of each row
    const float* scale;    // [D]
    float sigma_rgb;
    KeyLayout layout;
    std::int64_t width, pixels;
};

// Points with D features, in units of their standard deviations.
struct Points {
    const float* features; // [count][D]
    const float* scale;    // [D]
    KeyLayout layout;
    std::int64_t count;
};

// Channels [0, channels) of one image, `groups` groups of them.
struct Planes {
    const float* mask; // [pixels], or null
    std::int64_t pixels, channels;
    int groups;
};

// Values of `groups` groups of channels at each vertex, row by row. Vertex 0 means "no vertex" and holds zeros.
struct Rows {
    float* data;
    int groups;
};

constexpr int tile_pixels = 64; // in the exact filter

// Some neighbouring pixels. Features are not yet divided by sigma, so that their differences are exact.
template <int D>
struct Tile {
    float features[D][tile_pixels];
    float low[D], high[D];
};

// An image for the gated filter; planes have margins of zeros: [height][stride], pixels from `columns` on.
struct GatedImage {
    const float *values, *features;     // [channels] and [groups][colours] planes
    const float *source, *destination;  // planes
    const float* table;                 // see Pairs
    std::int64_t channels, groups, colours, height, width, stride, rows, columns;
    bool mutual;  // each pair with both its gates
    float factor; // of what is written

    std::int64_t plane() const { return height * stride; }
    // Offsets of the window that lead to later pixels, and that to the pixel itself, number 0.
    std::int64_t later() const { return rows * (2 * columns + 1) + columns + 1; }
};

// Memory for a band of rows.
struct GatedRoom {
    float* weights; // [offsets of the window][lanes]
    float* kernels; // [rows + 1][later][stride], margins 0: those of the last rows; null to compute them at both ends
};

template <int D>
struct LatticeKernels {
    // Blocks [first, last) of a picture. The last block of the picture repeats the last pixel.
    // Returns the bits that occur in the bases.
    std::uint64_t (*embed)(const Picture& picture, std::int64_t first, std::int64_t last, Block<D>* blocks,
                           BlockKeys* keys);
    // The same for points, whose blocks are those of a picture.
    std::uint64_t (*embed_points)(const Points& points, std::int64_t first, std::int64_t last, Block<D>* blocks,
                                  BlockKeys* keys);
    // rows += S^T (mask * values), in the order of the pixels.
    void (*splat)(const float* values, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices,
                  const Rows& rows);
    // filtered = factor * mask * (S rows) for the pixels of blocks [first, last).
    void (*slice)(const Rows& rows, const Planes& planes, const Block<D>* blocks, const Simplex<D>* simplices,
                  float factor, std::int64_t first, std::int64_t last, float* filtered);
    // sums[i] += sum over j of exp(-|target_i - source_j|^2 / 2) values_j; values and sums
    // [tile_pixels][groups * group], falloff [D].
    void (*exact_tile)(const Tile<D>& target, const Tile<D>& source, const float* falloff, const float* values,
                       std::int64_t groups, double* sums);
};

// One step of a message along chains: where the scores of label s, which come from labels r, lie.
struct ChainStep {
    const float* pairwise;     // of label pair (0, 0), at the lanes
    const float* before;       // the message before, [labels][width], at the lanes
    std::int64_t from, to;     // distances of labels r and of labels s in pairwise
    std::int64_t width, labels;
    int count;                 // lanes
    float temperature;
};

// One row of a picture's scores: the rows of class 0 above and below it, see Enlarging; classes are `plane` apart.
struct ScoreRow {
    const float *above, *below;
    float down;
    const std::int32_t *left, *beside;
    const float* right;
    std::int64_t plane, width, columns, classes;
};

// Memory for a row: best and winner [columns], the results; tall [width].
struct RowRoom {
    float *best, *tall;
    std::int32_t* winner;
};

// The norms of a row's softmax, [columns]; null where its scores are probabilities.
struct SoftmaxRow {
    const float *greatest, *total;
    float temperature;
};

// Memory for a row: tall [width], values [classes][columns] or less, see softmax.cpp.
struct SoftmaxRoom {
    float *tall, *values;
};

// Of one class, see GainTerms.
struct GainTerm {
    double own, base, now, smooth;
    bool iou;
};

constexpr int word_lanes = 64; // probabilities that are summed together

// The sums of p, p^2 and p^3, each in units of 2^-32 and, of what that leaves, in units of 2^-64, rounded down: whole
// numbers, so that the order does not matter.
using WordSums = std::int64_t[6];

// Bins of values by their bits as floats: those of bin b have bits >> shift = first + b. Smaller and negative values are
// in bin 0, larger ones in the last.
struct Bins {
    int shift;
    std::int32_t first;
    std::int64_t count;
};

struct Kernels {
    const char* name;
    int wide; // lanes of a chain's step
    std::tuple<LatticeKernels<2>, LatticeKernels<3>, LatticeKernels<4>, LatticeKernels<5>, LatticeKernels<6>> lattice;
    // One pass of [1/2, 1, 1/2] along chains of vertices, in place. A chain ends with 0.
    void (*blur)(const std::int32_t* chains, std::int64_t length, const Rows& rows);
    // sums[c] = sum over vertices 1..count - 1 of a[v][c] b[v][c], for each channel of the rows.
    void (*dot)(const Rows& a, const Rows& b, std::int64_t count, double* sums);
    // Rows [first, last) of all channels of `filtered` [channels][height][width], without margins, and what each row
    // adds to twice the energy.
    void (*gated_band)(const GatedImage& image, std::int64_t first, std::int64_t last, const GatedRoom& room,
                       float* filtered, double* energies);
    // message[s] = unary[s] + smax over r, for all labels s; room for [labels][wide].
    void (*chain_message)(const ChainStep& step, const float* unary, float* message, float* room);
    // slope [labels][wide] of the message goes to pairwise_slope, which lies like pairwise (is added to it or replaces
    // it), and is added to before_slope [labels][wide]. Returns the slope of the temperature.
    double (*chain_message_slope)(const ChainStep& step, const float* slope, float* pairwise_slope, bool add,
                                  float* before_slope, float* room);
    // The best score and its class for each column; false if a score is NaN.
    bool (*best_row)(const ScoreRow& row, const RowRoom& room);
    // Each pixel's greatest score and the sum of the powers; whether a score is not finite, or below 0.
    void (*norms_row)(const ScoreRow& row, float temperature, const SoftmaxRoom& room, float* greatest, float* total,
                      bool& odd, bool& negative);
    // Class c's probabilities. room.values for one row.
    void (*probability_row)(const ScoreRow& row, std::int64_t c, const SoftmaxRow& norms, const SoftmaxRoom& room,
                            float* out);
    // The same at `count` places of the row, with the norms of these.
    void (*probabilities_at)(const ScoreRow& row, std::int64_t c, const SoftmaxRow& norms, const std::int32_t* places,
                             std::int64_t count, const SoftmaxRoom& room, float* out);
    // How many masks [classes][pixels] cover each pixel of a row, and the class of the one that does, where it is one.
    void (*cover_row)(const std::uint8_t* masks, std::int64_t pixels, std::int64_t classes, std::int64_t columns,
                      std::uint8_t* number, std::uint8_t* label);
    // The best gain and its class at `count` pixels, after one more class; `covered` says where it may win.
    void (*gain_row)(const float* p, const std::uint8_t* covered, std::int64_t count, const GainTerm& term,
                     std::int32_t id, double* best, std::int32_t* winner);
    // Adds word_lanes probabilities to the sums.
    void (*add_words)(const float* p, WordSums& sums);
    // The same, and those beyond bin 0 to their bins' counts and sums.
    void (*bin_words)(const float* p, const Bins& bins, std::int64_t* counts, WordSums* in_bins, WordSums& sums);
};

extern const Kernels avx512_kernels, avx2_kernels, plain_kernels;

// The best that compiler and processor support, or the one that RLOSSCTL_SIMD selects. Read at each call.
const Kernels& kernels();

} // namespace rlossctl
