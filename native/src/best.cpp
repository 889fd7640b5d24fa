#include "best.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.hpp"
#include "threads.hpp"

namespace rlossctl {
namespace {

constexpr std::int64_t bytes = 256;

// Most neighbours have the same pair, and a counter that waits for its own last value is slow: runs are added at once.
void count_row(const std::uint8_t* truth, const std::int32_t* winner, std::int64_t columns, std::int64_t classes,
               std::int64_t* pairs) {
    std::int64_t run = 0, last = 0;
    for (std::int64_t x = 0; x < columns; ++x) {
        const std::int64_t pair = truth[x] * classes + winner[x];
        if (pair != last) pairs[last] += run, run = 0, last = pair;
        ++run;
    }
    pairs[last] += run;
}

// The words of a number of at most 1 in units of 2^-32 and 2^-64.
inline void add_words(double number, std::int64_t (&sum)[2]) {
    constexpr double unit = 4294967296.0; // 2^32
    const double scaled = number * unit;
    const auto high = static_cast<std::int64_t>(scaled);
    sum[0] += high;
    sum[1] += static_cast<std::int64_t>((scaled - static_cast<double>(high)) * unit);
}

} // namespace

bool best_classes(const Scores& scores, const Enlarging& enlarging, std::int64_t rows, std::int64_t columns,
                  const Wanted& wanted, int threads) {
    const int parts = static_cast<int>(std::min<std::int64_t>(threads, rows));
    const std::int64_t table = wanted.pairs == nullptr ? 0 : bytes * scores.classes;
    std::vector<std::int64_t> pairs(parts * table);
    std::vector<char> numbers(parts, 1);
    parallel(parts, threads, [&](int part) {
        std::vector<float> best(columns), tall(scores.width);
        std::vector<std::int32_t> winner(columns);
        const RowRoom room{best.data(), tall.data(), winner.data()};
        ScoreRow row{};
        row.left = enlarging.left, row.beside = enlarging.beside, row.right = enlarging.right;
        row.plane = scores.height * scores.width, row.width = scores.width;
        row.columns = columns, row.classes = scores.classes;
        for (std::int64_t y = rows * part / parts; y < rows * (part + 1) / parts; ++y) {
            row.above = scores.data + (enlarging.top == nullptr ? y : enlarging.top[y]) * scores.width;
            if (enlarging.top != nullptr) {
                row.below = scores.data + enlarging.below[y] * scores.width;
                row.down = enlarging.down[y];
            }
            if (!kernels().best_row(row, room)) numbers[part] = 0;
            if (table != 0)
                count_row(wanted.truth + y * columns, winner.data(), columns, scores.classes,
                          pairs.data() + part * table);
            if (wanted.labels != nullptr)
                for (std::int64_t x = 0; x < columns; ++x)
                    wanted.labels[y * columns + x] = static_cast<std::uint8_t>(winner[x]);
        }
    });
    for (int part = 0; part < parts; ++part)
        for (std::int64_t i = 0; i < table; ++i) wanted.pairs[i] += pairs[part * table + i];
    return std::all_of(numbers.begin(), numbers.end(), [](char number) { return number != 0; });
}

void probability_bins(const float* p, std::int64_t count, const Bins& bins, std::int64_t* counts,
                      std::int64_t (*sums)[3][2]) {
    std::int64_t zeros = 0; // most values, in the maps of a net that is sure
    for (std::int64_t i = 0; i < count; ++i) {
        if (p[i] == 0.0f) {
            ++zeros;
            continue;
        }
        std::int32_t bits;
        std::memcpy(&bits, p + i, sizeof bits);
        const auto bin = std::clamp<std::int64_t>((bits >> bins.shift) - bins.first, 0, bins.count - 1);
        const double number = p[i], square = number * number;
        ++counts[bin];
        add_words(number, sums[bin][0]);
        add_words(square, sums[bin][1]);
        add_words(square * number, sums[bin][2]);
    }
    counts[0] += zeros;
}

} // namespace rlossctl
