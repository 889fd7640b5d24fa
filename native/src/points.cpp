#include "points.hpp"

#include "lattice.hpp"
#include "threads.hpp"

namespace rlossctl {

PointLattices::PointLattices(const float* features, std::int64_t sets, std::int64_t points, int count, int threads)
    : points_(points), lattices_(sets) {
    for_images(sets, threads, [&](std::int64_t n, int inner) {
        lattices_[n] = make_lattice(count - 2);
        lattices_[n]->build_points(features + n * points * count, points, inner);
    });
}

PointLattices::~PointLattices() = default;

void PointLattices::filter(const float* values, float* filtered, std::int64_t channels, Order order,
                           int threads) const {
    const std::int64_t plane = channels * points_;
    for_images(static_cast<std::int64_t>(lattices_.size()), threads, [&](std::int64_t n, int inner) {
        lattices_[n]->apply({values + n * plane, nullptr, filtered + n * plane, nullptr, channels, order, 1.0f}, inner);
    });
}

std::int64_t PointLattices::vertices() const {
    std::int64_t count = 0;
    for (const auto& lattice : lattices_) count += lattice->vertices();
    return count;
}

} // namespace rlossctl
