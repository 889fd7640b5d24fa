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

// Some places of a row, with what belongs to them alone.
class Places {
public:
    explicit Places(std::int64_t columns)
        : number_(columns), label_(columns), places_(columns), greatest_(columns), total_(columns) {}

    // Those whose number of masks `wanted` accepts.
    template <class Wanted>
    void find(const Probabilities& source, Masks masks, std::int64_t y, const Wanted& wanted) {
        const std::int64_t columns = source.columns, pixels = source.rows * columns;
        kernels().cover_row(masks + y * columns, pixels, source.scores.classes, columns, number_.data(), label_.data());
        count_ = 0;
        for (std::int64_t x = 0; x < columns; ++x)
            if (wanted(number_[x])) places_[count_++] = static_cast<std::int32_t>(x);
        norms_ = norms_of(source, y);
        if (norms_.greatest == nullptr) return;
        for (std::int64_t i = 0; i < count_; ++i) {
            greatest_[i] = norms_.greatest[places_[i]];
            total_[i] = norms_.total[places_[i]];
        }
        norms_.greatest = greatest_.data(), norms_.total = total_.data();
    }

    std::int64_t count() const { return count_; }
    std::int32_t operator[](std::int64_t i) const { return places_[i]; }
    // How many masks cover a pixel of the row.
    std::uint8_t number(std::int64_t x) const { return number_[x]; }
    // For each pixel of the row the class of its mask, where it is in one.
    const std::vector<std::uint8_t>& labels() const { return label_; }

    void probabilities(const Probabilities& source, std::int64_t y, std::int64_t c, const SoftmaxRoom& room,
                       float* out) const {
        kernels().probabilities_at(row_of(source, y), c, norms_, places_.data(), count_, room, out);
    }

private:
    std::vector<std::uint8_t> number_, label_;
    std::vector<std::int32_t> places_;
    std::vector<float> greatest_, total_;
    std::int64_t count_ = 0;
    SoftmaxRow norms_{};
};

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
        for (std::int64_t y = first; y < last; ++y)
            kernels().probability_row(row_of(source, y), index, norms_of(source, y), room, plane + y * source.columns);
    });
}

void shared_sums(const Probabilities& source, Masks masks, std::int64_t (*sums)[3], int threads) {
    const std::int64_t classes = source.scores.classes, columns = source.columns, pixels = source.rows * columns;
    std::mutex lock;
    rows_in_parts(source, 1, threads, [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
        std::vector<std::array<std::int64_t, 3>> own(classes, {0, 0, 0});
        Places places(columns);
        std::vector<float> p(columns + word_lanes);
        for (std::int64_t y = first; y < last; ++y) {
            places.find(source, masks, y, [](std::uint8_t number) { return number > 1; });
            for (std::int64_t c = 0; c < classes && places.count() > 0; ++c) {
                const Masks mask = masks + c * pixels + y * columns;
                std::int64_t covered = 0;
                for (std::int64_t i = 0; i < places.count(); ++i) covered += mask[places[i]];
                if (covered == 0) continue;
                places.probabilities(source, y, c, room, p.data());
                for (std::int64_t i = 0; i < places.count(); ++i) // zeros add nothing
                    p[i] = mask[places[i]] != 0 ? p[i] : 0.0f;
                std::fill_n(p.begin() + places.count(), word_lanes, 0.0f);
                WordSums words = {};
                for (std::int64_t start = 0; start < places.count(); start += word_lanes)
                    kernels().add_words(p.data() + start, words);
                own[c][0] += covered, own[c][1] += words[0], own[c][2] += words[1];
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
    rows_in_parts(source, 1, threads, [&](std::int64_t first, std::int64_t last, const SoftmaxRoom& room) {
        Places places(columns);
        std::vector<std::uint8_t> covered(columns);
        std::vector<std::int32_t> winner(columns);
        std::vector<float> p(columns);
        std::vector<double> best(columns);
        for (std::int64_t y = first; y < last; ++y) {
            std::uint8_t* const own = labels + y * columns;
            places.find(source, masks, y,
                        [&](std::uint8_t number) { return number > 1 || (number == 0 && nothing < 0); });
            std::copy(places.labels().begin(), places.labels().end(), own);
            if (nothing >= 0)
                for (std::int64_t x = 0; x < columns; ++x)
                    if (places.number(x) == 0) own[x] = static_cast<std::uint8_t>(nothing);
            const std::int64_t count = places.count();
            if (count == 0) continue;
            std::fill_n(best.begin(), count, -std::numeric_limits<double>::infinity());
            std::fill_n(winner.begin(), count, 0);
            for (std::int64_t c = 0; c < classes; ++c) {
                if (terms.now[c] == std::numeric_limits<double>::infinity()) continue; // a gain of minus infinity
                const Masks mask = masks + c * pixels + y * columns;
                places.probabilities(source, y, c, room, p.data());
                for (std::int64_t i = 0; i < count; ++i)
                    covered[i] = mask[places[i]] | static_cast<std::uint8_t>(places.number(places[i]) == 0);
                kernels().gain_row(p.data(), covered.data(), count,
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
