// Copies with margins, so that no row of pixels has to look where an image ends, and rows shared out to threads.
#include "gated.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace rlossctl {
namespace {

// Planes [count][height][width] with margins of zeros: [count][height][stride].
class Margins {
public:
    Margins(const Sizes& sizes, std::int64_t columns)
        : sizes_(sizes), columns_(columns), stride_((sizes.width + lanes - 1) / lanes * lanes + 2 * columns) {}

    std::int64_t stride() const { return stride_; }
    std::int64_t plane() const { return sizes_.height * stride_; }

    void copy(const float* planes, std::int64_t count, float* to, int threads) const {
        parallel(static_cast<int>(count), threads, [&](int p) {
            for (std::int64_t y = 0; y < sizes_.height; ++y) {
                float* row = to + p * plane() + y * stride_;
                const float* from = planes + p * sizes_.pixels() + y * sizes_.width;
                std::fill(row, row + columns_, 0.0f);
                std::memcpy(row + columns_, from, sizes_.width * sizeof(float));
                std::fill(row + columns_ + sizes_.width, row + stride_, 0.0f);
            }
        });
    }

private:
    Sizes sizes_;
    std::int64_t columns_, stride_;
};

// One image's planes with margins, and what is the same for all images.
GatedImage make_image(const Sizes& sizes, const Pairs& pairs, const Margins& margins, bool mutual) {
    GatedImage image{};
    image.table = pairs.table;
    image.channels = sizes.channels, image.colours = sizes.colours, image.groups = pairs.groups;
    image.height = sizes.height, image.width = sizes.width, image.stride = margins.stride();
    image.rows = pairs.rows, image.columns = pairs.columns;
    image.mutual = mutual, image.factor = mutual ? -1.0f : 1.0f;
    return image;
}

constexpr std::int64_t most_kept = 1 << 19; // kernels that a thread keeps at most: 2 MB
constexpr std::int64_t least_rows = 4;      // in a band, above which the kernels of some rows are computed twice

// Every pixel gathers from its whole window, so that each sum has one order and no thread writes where another does.
// The kernel of a pair is nevertheless computed once and kept for the pair's other end, unless the window is large: for
// radius 5, 65 x 65 and 21 classes that saves 23 % of the instructions (callgrind, AVX2), with 1 class 30 %. Adding a
// pair to both ends would save no more: a sum in memory takes a load and a store where one in a register takes neither.
void run(const float* values, const Pairs& pairs, float* filtered, double* energies, const Sizes& sizes, int threads) {
    const Margins margins(sizes, pairs.columns);
    const std::int64_t plane = margins.plane(), per_image = sizes.channels + pairs.groups * sizes.colours + 2;
    const std::int64_t window = (2 * pairs.rows + 1) * (2 * pairs.columns + 1), height = sizes.height;
    const auto band = kernels().gated_band;
    const std::int64_t rows = std::max(least_rows, (height + threads - 1) / threads);
    thread_local Buffer<float> storage;
    thread_local std::vector<double> sums;
    storage.ensure(per_image * plane);
    sums.assign(height, 0.0);
    float* const space = storage.data();
    double* const parts = sums.data();
    for (std::int64_t n = 0; n < sizes.images; ++n) {
        GatedImage image = make_image(sizes, pairs, margins, energies != nullptr);
        float* next = space;
        const auto take = [&](const float* planes, std::int64_t count) {
            float* const to = next;
            margins.copy(planes, count, to, threads);
            next += count * plane;
            return to;
        };
        image.values = take(values + n * sizes.channels * sizes.pixels(), sizes.channels);
        image.source = take(pairs.source + n * sizes.pixels(), 1);
        image.destination = take(pairs.destination + n * sizes.pixels(), 1);
        image.features = next;
        for (std::int64_t g = 0; g < pairs.groups; ++g)
            take(pairs.features + (g * sizes.images + n) * sizes.colours * sizes.pixels(), sizes.colours);
        float* const to = filtered + n * sizes.channels * sizes.pixels();
        parallel(static_cast<int>((height + rows - 1) / rows), threads, [&](int part) {
            thread_local Buffer<float> room;
            const std::int64_t kernels_kept = (pairs.rows + 1) * image.later() * image.stride;
            const bool keeps = kernels_kept <= most_kept;
            room.ensure(window * lanes + (keeps ? kernels_kept : 0));
            float* const kept = room.data() + window * lanes;
            if (keeps) std::fill(kept, kept + kernels_kept, 0.0f);
            const std::int64_t last = std::min(height, (part + 1) * rows);
            band(image, part * rows, last, {room.data(), keeps ? kept : nullptr}, to, parts);
        });
        if (energies == nullptr) continue;
        energies[n] = 0;
        for (std::int64_t y = 0; y < height; ++y) energies[n] += 0.5 * parts[y]; // every pair was met from both ends
    }
}

} // namespace

void gated_filter(const float* values, const Pairs& pairs, float* filtered, const Sizes& sizes, int threads) {
    run(values, pairs, filtered, nullptr, sizes, threads);
}

void gated_crf(const float* values, const Pairs& pairs, float* gradient, double* energies, const Sizes& sizes,
               int threads) {
    run(values, pairs, gradient, energies, sizes, threads);
}

} // namespace rlossctl
