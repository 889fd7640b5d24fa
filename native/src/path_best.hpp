// One row of a picture: the best class of each pixel. Included once for each instruction set.

// `value` is the score of class `id`; a later class wins among equals.
RLOSSCTL_INLINE void compare(float value, std::int32_t id, float& best, std::int32_t& winner, std::int32_t& odd) {
    const bool wins = value >= best;
    winner = wins ? id : winner;
    best = wins ? value : best;
    odd |= value != value;
}

inline bool best_row(const ScoreRow& row, const RowRoom& room) {
    std::int32_t odd = 0;
    for (std::int64_t x = 0; x < row.columns; ++x) room.best[x] = -__builtin_inff(), room.winner[x] = 0;
    for (std::int64_t c = 0; c < row.classes; ++c) {
        const auto id = static_cast<std::int32_t>(c);
        const float* const above = row.above + c * row.plane;
        if (row.left == nullptr) {
            for (std::int64_t x = 0; x < row.columns; ++x) compare(above[x], id, room.best[x], room.winner[x], odd);
            continue;
        }
        const float* const below = row.below + c * row.plane;
        const float up = 1.0f - row.down;
        for (std::int64_t x = 0; x < row.width; ++x) room.tall[x] = above[x] * up + below[x] * row.down;
        for (std::int64_t x = 0; x < row.columns; ++x) {
            const float weight = row.right[x];
            const float value = room.tall[row.left[x]] * (1.0f - weight) + room.tall[row.beside[x]] * weight;
            compare(value, id, room.best[x], room.winner[x], odd);
        }
    }
    return odd == 0;
}
