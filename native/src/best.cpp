#include "best.hpp"

#include <algorithm>
#include <vector>

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
        for (std::int64_t y = rows * part / parts; y < rows * (part + 1) / parts; ++y) {
            const ScoreRow row = score_row(scores, enlarging, columns, y);
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

} // namespace rlossctl
