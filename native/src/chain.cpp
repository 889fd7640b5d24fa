// Goes along the chains; path_chain.hpp has a step of one message.
#include "chain.hpp"

#include <algorithm>
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace rlossctl {
namespace {

// Some lanes of one image.
struct Lanes {
    const ChainSizes& sizes;
    const float *unary, *pairwise;
    float temperature;
    int count;

    std::int64_t row() const { return sizes.labels * sizes.width; } // from one position to the next
    std::int64_t pair() const { return sizes.labels * row(); }

    // The message that arrives at p from p - stride (forward), or from p + stride.
    ChainStep step(bool forward, std::int64_t p, const float* messages) const {
        const std::int64_t other = forward ? p - sizes.stride : p + sizes.stride;
        return {pairwise + std::min(p, other) * pair(),
                messages + other * row(),
                forward ? row() : sizes.width,
                forward ? sizes.width : row(),
                sizes.width,
                sizes.labels,
                count,
                temperature};
    }

    bool first(bool forward, std::int64_t p) const {
        return forward ? p < sizes.stride : p + sizes.stride >= sizes.length;
    }
};

void messages(const Lanes& lanes, bool forward, float* to, float* room) {
    const ChainSizes& sizes = lanes.sizes;
    for (std::int64_t k = 0; k < sizes.length; ++k) {
        const std::int64_t p = forward ? k : sizes.length - 1 - k;
        const float* unary = lanes.unary + p * lanes.row();
        float* message = to + p * lanes.row();
        if (lanes.first(forward, p)) {
            for (std::int64_t s = 0; s < sizes.labels; ++s)
                std::copy_n(unary + s * sizes.width, lanes.count, message + s * sizes.width);
        } else {
            kernels().chain_message(lanes.step(forward, p, to), unary, message, room);
        }
    }
}

// slopes [length][labels][wide]: of the messages, first those that come from the marginals. They are summed along the
// chain, against the messages' direction.
double slopes(const Lanes& lanes, bool forward, const float* messages, float* pairwise_slope, float* slopes,
              float* room) {
    const ChainSizes& sizes = lanes.sizes;
    const std::int64_t row = sizes.labels * kernels().wide;
    double temperature_slope = 0;
    for (std::int64_t k = 0; k < sizes.length; ++k) {
        const std::int64_t p = forward ? sizes.length - 1 - k : k;
        if (lanes.first(forward, p)) continue;
        const std::int64_t other = forward ? p - sizes.stride : p + sizes.stride;
        temperature_slope += kernels().chain_message_slope(
            lanes.step(forward, p, messages), slopes + p * row, pairwise_slope + std::min(p, other) * lanes.pair(),
            !forward, slopes + other * row, room);
    }
    return temperature_slope;
}

// Calls work(image, first lane, lanes, part) for all lanes of all images.
template <class Work>
void each(const ChainSizes& sizes, int threads, const Work& work) {
    const std::int64_t wide = kernels().wide, blocks = (sizes.width + wide - 1) / wide;
    parallel(static_cast<int>(sizes.images * blocks), threads, [&](int part) {
        const std::int64_t lane = part % blocks * wide;
        work(part / blocks, lane, static_cast<int>(std::min(wide, sizes.width - lane)), part);
    });
}

} // namespace

void chain_marginals(const float* unary, const float* pairwise, float temperature, const ChainSizes& sizes,
                     float* marginals, float* forwards, float* backwards, int threads) {
    const std::int64_t row = sizes.labels * sizes.width, pixels = sizes.length * row;
    each(sizes, threads, [&](std::int64_t image, std::int64_t lane, int count, int) {
        Buffer<float> room;
        room.ensure(sizes.labels * kernels().wide);
        const std::int64_t at = image * pixels + lane;
        const float* pairs = pairwise + image * sizes.pairs() * sizes.labels * row + lane;
        const Lanes lanes{sizes, unary + at, pairs, temperature, count};
        messages(lanes, true, forwards + at, room.data());
        messages(lanes, false, backwards + at, room.data());
        for (std::int64_t i = 0; i < sizes.length * sizes.labels; ++i)
            for (std::int64_t k = at + i * sizes.width; k < at + i * sizes.width + count; ++k)
                marginals[k] = forwards[k] + backwards[k] - unary[k];
    });
}

void chain_gradients(const float* slope, const float* unary, const float* pairwise, const float* forwards,
                     const float* backwards, float temperature, const ChainSizes& sizes, float* unary_slope,
                     float* pairwise_slope, double* temperature_slope, int threads) {
    const std::int64_t row = sizes.labels * sizes.width, pixels = sizes.length * row, wide = kernels().wide;
    std::vector<double> sums(sizes.images * ((sizes.width + wide - 1) / wide));
    each(sizes, threads, [&](std::int64_t image, std::int64_t lane, int count, int part) {
        Buffer<float> room, down, up;
        room.ensure(sizes.labels * wide);
        const std::int64_t rows = sizes.length * sizes.labels, at = image * pixels + lane;
        for (Buffer<float>* buffer : {&down, &up}) {
            buffer->ensure(rows * wide);
            std::fill_n(buffer->data(), rows * wide, 0.0f);
            for (std::int64_t i = 0; i < rows; ++i)
                std::copy_n(slope + at + i * sizes.width, count, buffer->data() + i * wide);
        }
        const std::int64_t pairs = image * sizes.pairs() * sizes.labels * row + lane;
        const Lanes lanes{sizes, unary + at, pairwise + pairs, temperature, count};
        sums[part] = slopes(lanes, true, forwards + at, pairwise_slope + pairs, down.data(), room.data());
        sums[part] += slopes(lanes, false, backwards + at, pairwise_slope + pairs, up.data(), room.data());
        for (std::int64_t i = 0; i < rows; ++i)
            for (int k = 0; k < count; ++k) {
                const std::int64_t to = at + i * sizes.width + k;
                unary_slope[to] = down[i * wide + k] + up[i * wide + k] - slope[to];
            }
    });
    *temperature_slope = 0;
    for (const double sum : sums) *temperature_slope += sum; // in the order of the parts
}

} // namespace rlossctl
