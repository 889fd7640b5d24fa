// Kruskal's algorithm; two passes over a tree, to its root and back.
#include "tree.hpp"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "threads.hpp"

namespace rlossctl {
namespace {

using Pixel = std::int32_t;

// Sorts by the upper half of the keys, which are already in the order of the lower half.
void sort_keys(std::vector<std::uint64_t>& keys) {
    constexpr int bits = 11;
    std::vector<std::uint64_t> sorted(keys.size());
    for (int shift = 32; shift < 64; shift += bits) {
        std::size_t starts[1 << bits] = {};
        const auto digit = [shift](std::uint64_t key) { return key >> shift & ((1 << bits) - 1); };
        for (const std::uint64_t key : keys) ++starts[digit(key)];
        std::size_t sum = 0;
        for (std::size_t& start : starts) sum += std::exchange(start, sum);
        for (const std::uint64_t key : keys) sorted[starts[digit(key)]++] = key;
        keys.swap(sorted);
    }
}

// Edge numbers by ascending weight, then number.
std::vector<std::uint64_t> sorted_edges(const float* weights, std::int64_t count) {
    std::vector<std::uint64_t> keys(count);
    for (std::int64_t e = 0; e < count; ++e) {
        std::uint32_t weight; // of floats from 0 on, the bits have the floats' order
        std::memcpy(&weight, weights + e, sizeof weight);
        keys[e] = std::uint64_t{weight} << 32 | static_cast<std::uint64_t>(e);
    }
    sort_keys(keys);
    for (std::uint64_t& key : keys) key &= 0xffffffffu;
    return keys;
}

Pixel root(std::vector<Pixel>& above, Pixel pixel) {
    while (above[pixel] != pixel) pixel = above[pixel] = above[above[pixel]];
    return pixel;
}

enum Way : unsigned char { up = 1, down = 2, left = 4, right = 8 };

// For each pixel, the ways that the edges of the tree go.
std::vector<unsigned char> chosen(const float* weights, const TreeSizes& sizes) {
    const std::int64_t pixels = sizes.pixels(), vertical = (sizes.height - 1) * sizes.width;
    std::vector<Pixel> above(pixels);
    for (Pixel i = 0; i < pixels; ++i) above[i] = i;
    std::vector<unsigned char> ways(pixels);
    for (const std::uint64_t key : sorted_edges(weights, sizes.edges())) {
        const auto edge = static_cast<std::int64_t>(key), across = edge - vertical;
        const bool falls = edge < vertical;
        const auto first = static_cast<Pixel>(falls ? edge : across + across / (sizes.width - 1));
        const auto second = static_cast<Pixel>(falls ? first + sizes.width : first + 1);
        const Pixel one = root(above, first), other = root(above, second);
        if (one == other) continue;
        above[std::max(one, other)] = std::min(one, other);
        ways[first] |= falls ? down : right;
        ways[second] |= falls ? up : left;
    }
    return ways;
}

void spanning_tree(const float* weights, const TreeSizes& sizes, std::int64_t* order, std::int64_t* parent) {
    const std::vector<unsigned char> ways = chosen(weights, sizes);
    const std::pair<Way, std::int64_t> steps[] = {{up, -sizes.width}, {down, sizes.width}, {left, -1}, {right, 1}};
    order[0] = parent[0] = 0;
    std::int64_t found = 1;
    for (std::int64_t k = 0; k < found; ++k) {
        const std::int64_t pixel = order[k];
        for (const auto& [way, step] : steps)
            if ((ways[pixel] & way) != 0 && pixel + step != parent[pixel]) {
                parent[pixel + step] = pixel;
                order[found++] = pixel + step;
            }
    }
}

// One image's tree, with rows of `width` floats for each pixel.
class Tree {
public:
    Tree(std::int64_t pixels, const float* affinity, const std::int64_t* order, const std::int64_t* parent)
        : pixels_(pixels), affinity_(affinity), order_(order), parent_(parent) {}

    // Each row becomes the sum over its subtree.
    void inwards(float* rows, std::int64_t width) const {
        for (std::int64_t k = pixels_ - 1; k > 0; --k) {
            const std::int64_t pixel = order_[k];
            const float* from = rows + pixel * width;
            float* to = rows + parent_[pixel] * width;
            for (std::int64_t c = 0; c < width; ++c) to[c] += affinity_[pixel] * from[c];
        }
    }

    // From those, the sum over all pixels.
    void outwards(float* rows, std::int64_t width) const {
        for (std::int64_t k = 1; k < pixels_; ++k) {
            const std::int64_t pixel = order_[k];
            const float* above = rows + parent_[pixel] * width;
            float* to = rows + pixel * width;
            const float edge = affinity_[pixel], own = 1 - edge * edge;
            for (std::int64_t c = 0; c < width; ++c) to[c] = own * to[c] + edge * above[c];
        }
    }

    // The slope of the affinities: what lies beneath an edge on one side times what lies above it on the other. Given
    // sums over subtrees and over all pixels, of the values and of the slopes.
    void affinity_slope(const float* below, const float* all, const float* slope_below, const float* slope_all,
                        std::int64_t width, float* to) const {
        to[order_[0]] = 0;
        for (std::int64_t k = 1; k < pixels_; ++k) {
            const std::int64_t pixel = order_[k], own = pixel * width, above = parent_[pixel] * width;
            const float edge = affinity_[pixel];
            float sum = 0;
            for (std::int64_t c = 0; c < width; ++c)
                sum += slope_below[own + c] * (all[above + c] - edge * below[own + c]) +
                       below[own + c] * (slope_all[above + c] - edge * slope_below[own + c]);
            to[pixel] = sum;
        }
    }

private:
    std::int64_t pixels_;
    const float* affinity_;
    const std::int64_t *order_, *parent_;
};

// Rows of the channels' values and of a last value.
void rows_of(const float* planes, std::int64_t channels, std::int64_t pixels, float last, float* rows) {
    for (std::int64_t i = 0; i < pixels; ++i) {
        for (std::int64_t c = 0; c < channels; ++c) rows[i * (channels + 1) + c] = planes[c * pixels + i];
        rows[i * (channels + 1) + channels] = last;
    }
}

// The slope of filtered [channels][pixels] becomes that of the two sums of which it is the quotient.
void quotient_slope(const float* slope, const float* sums, std::int64_t channels, std::int64_t pixels, float* to) {
    for (std::int64_t i = 0; i < pixels; ++i) {
        const float *sum = sums + i * (channels + 1), norm = 1 / sum[channels];
        float* row = to + i * (channels + 1);
        row[channels] = 0;
        for (std::int64_t c = 0; c < channels; ++c) {
            row[c] = slope[c * pixels + i] * norm;
            row[channels] -= row[c] * sum[c] * norm;
        }
    }
}

// The slope of the values alone: the same filter, of the slope over the norms.
void values_slope_alone(const Tree& tree, const float* slope, std::int64_t channels, std::int64_t pixels, float* to) {
    Buffer<float> norms, rows;
    norms.ensure(pixels);
    rows.ensure(pixels * channels);
    std::fill_n(norms.data(), pixels, 1.0f);
    tree.inwards(norms.data(), 1);
    tree.outwards(norms.data(), 1);
    for (std::int64_t i = 0; i < pixels; ++i)
        for (std::int64_t c = 0; c < channels; ++c) rows[i * channels + c] = slope[c * pixels + i] / norms[i];
    tree.inwards(rows.data(), channels);
    tree.outwards(rows.data(), channels);
    for (std::int64_t i = 0; i < pixels; ++i)
        for (std::int64_t c = 0; c < channels; ++c) to[c * pixels + i] = rows[i * channels + c];
}

void slopes_of_both(const Tree& tree, const float* slope, const float* values, std::int64_t channels,
                    std::int64_t pixels, float* values_slope, float* affinity_slope) {
    const std::int64_t width = channels + 1, size = pixels * width;
    Buffer<float> below, all, slope_below, slope_all;
    for (Buffer<float>* buffer : {&below, &all, &slope_below, &slope_all}) buffer->ensure(size);
    rows_of(values, channels, pixels, 1, below.data());
    tree.inwards(below.data(), width);
    std::copy_n(below.data(), size, all.data());
    tree.outwards(all.data(), width);
    quotient_slope(slope, all.data(), channels, pixels, slope_below.data());
    tree.inwards(slope_below.data(), width);
    std::copy_n(slope_below.data(), size, slope_all.data());
    tree.outwards(slope_all.data(), width);
    for (std::int64_t i = 0; i < pixels; ++i)
        for (std::int64_t c = 0; c < channels; ++c) values_slope[c * pixels + i] = slope_all[i * width + c];
    tree.affinity_slope(below.data(), all.data(), slope_below.data(), slope_all.data(), width, affinity_slope);
}

} // namespace

void spanning_trees(const float* weights, const TreeSizes& sizes, std::int64_t* order, std::int64_t* parent,
                    int threads) {
    parallel(static_cast<int>(sizes.images), threads, [&](int n) {
        const std::int64_t at = n * sizes.pixels();
        spanning_tree(weights + n * sizes.edges(), sizes, order + at, parent + at);
    });
}

void tree_filter(const float* values, const float* affinity, const std::int64_t* order, const std::int64_t* parent,
                 const TreeSizes& sizes, float* filtered, int threads) {
    const std::int64_t pixels = sizes.pixels(), channels = sizes.channels, width = channels + 1;
    parallel(static_cast<int>(sizes.images), threads, [&](int n) {
        const std::int64_t at = n * pixels;
        const Tree tree(pixels, affinity + at, order + at, parent + at);
        Buffer<float> sums;
        sums.ensure(pixels * width);
        rows_of(values + at * channels, channels, pixels, 1, sums.data());
        tree.inwards(sums.data(), width);
        tree.outwards(sums.data(), width);
        float* to = filtered + at * channels;
        for (std::int64_t i = 0; i < pixels; ++i) {
            const float *row = sums.data() + i * width, norm = 1 / row[channels];
            for (std::int64_t c = 0; c < channels; ++c) to[c * pixels + i] = norm * row[c];
        }
    });
}

void tree_gradients(const float* slope, const float* values, const float* affinity, const std::int64_t* order,
                    const std::int64_t* parent, const TreeSizes& sizes, float* values_slope, float* affinity_slope,
                    int threads) {
    const std::int64_t pixels = sizes.pixels(), channels = sizes.channels;
    parallel(static_cast<int>(sizes.images), threads, [&](int n) {
        const std::int64_t at = n * pixels, planes = at * channels;
        const Tree tree(pixels, affinity + at, order + at, parent + at);
        if (affinity_slope == nullptr)
            values_slope_alone(tree, slope + planes, channels, pixels, values_slope + planes);
        else
            slopes_of_both(tree, slope + planes, values + planes, channels, pixels, values_slope + planes,
                           affinity_slope + at);
    });
}

} // namespace rlossctl
