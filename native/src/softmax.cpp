#include "softmax.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#include "threads.hpp"

namespace rlossctl {
namespace {

ScoreRow row_of(const Probabilities& source, std::int64_t y) {
    return score_row(source.scores, source.enlarging, source.columns, y);
}

SoftmaxRow norms_of(const Probabilities& source, std::int64_t y) {
    const std::int64_t at = y * source.columns;
    if (source.greatest == nullptr) return {nullptr, nullptr, 1.0f};
    return {source.greatest + at, source.total + at, source.temperature};
}

// Rows in as many parts as there are threads; each has its own memory for `planes` rows of values.
template <class Work>
void rows_in_parts(const Probabilities& source, std::int64_t planes, int threads, const Work& work) {
    const int parts = static_cast<int>(std::min<std::int64_t>(threads, source.rows));
    parallel(parts, threads, [&](int part) {
        std::vector<float> tall(source.scores.width), values(planes * source.columns);
        work(source.rows * part / parts, source.rows * (part + 1) / parts, SoftmaxRoom{tall.data(), values.data()});
    });
}

// Row y of class c: where it was given, or in the second row of the room.
const float* probabilities_of(const Probabilities& source, std::int64_t y, std::int64_t c, const SoftmaxRoom& room) {
    return kernels().probability_row(row_of(source, y), c, norms_of(source, y), room, room.values + source.columns);
}

// The places in a row whose number of masks `wanted` accepts.
template <class Wanted>
void find_places(Masks masks, std::int64_t pixels, std::int64_t classes, std::int64_t columns, const Wanted& wanted,
                 std::vector<std::uint8_t>& number, std::vector<std::int32_t>& places) {
    std::uint8_t* const __restrict count = number.data(); // bytes may be anything's, unless this is said
    std::fill_n(count, columns, 0);
    for (std::int64_t c = 0; c < classes; ++c)
        for (std::int64_t x = 0; x < columns; ++x) count[x] += masks[c * pixels + x];
    places.clear();
    for (std::int64_t x = 0; x < columns; ++x)
        if (wanted(number[x])) places.push_back(static_cast<std::int32_t>(x));
}

} // namespace

Met softmax_norms(const Probabilities& source, float* greatest, float* total, int threads) {
    Met met{false, false};
    std::mutex lock;
    rows_in_parts(source, source.enlarging.left == nullptr ? 0 : source.scores.classes, threads,
                  [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
                      bool odd = false, negative = false;
                      for (std::int64_t y = first; y < last; ++y)
                          kernels().norms_row(row_of(source, y), source.temperature, room, greatest + y * source.columns,
                                              total + y * source.columns, odd, negative);
                      const std::lock_guard<std::mutex> held(lock);
                      met.odd |= odd, met.negative |= negative;
                  });
    return met;
}

void probability_plane(const Probabilities& source, std::int64_t index, float* plane, int threads) {
    rows_in_parts(source, 1, threads, [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
        for (std::int64_t y = first; y < last; ++y) {
            float* const out = plane + y * source.columns;
            const float* const p = kernels().probability_row(row_of(source, y), index, norms_of(source, y), room, out);
            if (p != out) std::copy_n(p, source.columns, out);
        }
    });
}

void shared_sums(const Probabilities& source, Masks masks, std::int64_t (*sums)[3], int threads) {
    const std::int64_t classes = source.scores.classes, columns = source.columns, pixels = source.rows * columns;
    std::mutex lock;
    rows_in_parts(source, 2, threads, [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
        std::vector<std::array<std::int64_t, 3>> own(classes, {0, 0, 0});
        std::vector<std::uint8_t> number(columns);
        std::vector<std::int32_t> places;
        std::vector<float> some(columns + word_lanes);
        for (std::int64_t y = first; y < last; ++y) {
            const Masks row = masks + y * columns;
            find_places(row, pixels, classes, columns, [](std::uint8_t n) { return n > 1; }, number, places);
            for (std::int64_t c = 0; c < classes && !places.empty(); ++c) {
                const Masks mask = row + c * pixels;
                const auto covers = [&](std::int32_t x) { return mask[x] != 0; };
                if (std::none_of(places.begin(), places.end(), covers)) continue;
                const float* const p = probabilities_of(source, y, c, room);
                std::int64_t count = 0;
                for (const std::int32_t x : places)
                    if (covers(x)) some[count++] = p[x];
                std::fill_n(some.begin() + count, word_lanes, 0.0f); // zeros add nothing
                WordSums words = {};
                for (std::int64_t start = 0; start < count; start += word_lanes)
                    kernels().add_words(some.data() + start, words);
                own[c][0] += count, own[c][1] += words[0], own[c][2] += words[1];
            }
        }
        const std::lock_guard<std::mutex> held(lock);
        for (std::int64_t c = 0; c < classes; ++c)
            for (int i = 0; i < 3; ++i) sums[c][i] += own[c][i];
    });
}

void mask_labels(const Probabilities& source, Masks masks, const GainTerms& terms, int nothing, std::uint8_t* labels,
                 int threads) {
    const std::int64_t classes = source.scores.classes, columns = source.columns, pixels = source.rows * columns;
    rows_in_parts(source, 2, threads, [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
        std::vector<std::uint8_t> number(columns), covered(columns);
        std::vector<std::int32_t> places, winner(columns);
        std::vector<float> some(columns);
        std::vector<double> best(columns);
        for (std::int64_t y = first; y < last; ++y) {
            const Masks row = masks + y * columns;
            std::uint8_t* const __restrict own = labels + y * columns;
            const auto wanted = [&](std::uint8_t n) { return n > 1 || (n == 0 && nothing < 0); };
            find_places(row, pixels, classes, columns, wanted, number, places);
            std::fill_n(own, columns, 0);
            for (std::int64_t c = 0; c < classes; ++c) { // right where one mask covers the pixel
                const auto id = static_cast<std::uint8_t>(c);
                const Masks mask = row + c * pixels;
                for (std::int64_t x = 0; x < columns; ++x) own[x] |= static_cast<std::uint8_t>(-mask[x]) & id;
            }
            if (nothing >= 0)
                for (std::int64_t x = 0; x < columns; ++x)
                    if (number[x] == 0) own[x] = static_cast<std::uint8_t>(nothing);
            if (places.empty()) continue;
            const auto count = static_cast<std::int64_t>(places.size());
            std::fill_n(best.begin(), count, -std::numeric_limits<double>::infinity());
            std::fill_n(winner.begin(), count, 0);
            for (std::int64_t c = 0; c < classes; ++c) {
                const float* const p = probabilities_of(source, y, c, room);
                for (std::int64_t i = 0; i < count; ++i) {
                    some[i] = p[places[i]];
                    covered[i] = row[c * pixels + places[i]] != 0 || number[places[i]] == 0;
                }
                kernels().gain_row(some.data(), covered.data(), count,
                                   {terms.own[c], terms.base[c], terms.now[c], terms.smooth, terms.iou},
                                   static_cast<std::int32_t>(c), best.data(), winner.data());
            }
            for (std::int64_t i = 0; i < count; ++i) own[places[i]] = static_cast<std::uint8_t>(winner[i]);
        }
    });
}

void probability_bins(const float* p, std::int64_t count, const Bins& bins, std::int64_t* counts, WordSums* sums) {
    const Kernels& path = kernels();
    std::fill_n(counts, bins.count, 0);
    std::memset(sums, 0, bins.count * sizeof *sums);
    WordSums whole = {};
    const std::int64_t even = count - count % word_lanes;
    for (std::int64_t start = 0; start < even; start += word_lanes) path.bin_words(p + start, bins, counts, sums, whole);
    float last[word_lanes] = {}; // zeros add nothing
    std::copy(p + even, p + count, last);
    path.bin_words(last, bins, counts, sums, whole);
    // Bin 0 has what the others leave.
    counts[0] = count;
    for (int k = 0; k < 6; ++k) sums[0][k] = whole[k];
    for (std::int64_t bin = 1; bin < bins.count; ++bin) {
        counts[0] -= counts[bin];
        for (int k = 0; k < 6; ++k) sums[0][k] -= sums[bin][k];
    }
}

} // namespace rlossctl
