// The lattice filter for any points: depth, normals or time instead of, or beside, place and colour. Features are in
// units of their standard deviations; rlossctl/bilateral/points.py has the twin.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "filter.hpp"
#include "layout.hpp"

namespace rlossctl {

// The lattices of `sets` sets of points [sets][points][features], 2 to 6 features. May be used from several threads at
// once. Throws std::domain_error if features are not finite or too far apart.
class PointLattices {
public:
    PointLattices(const float* features, std::int64_t sets, std::int64_t points, int count, int threads);
    ~PointLattices();

    // values and filtered [sets][channels][points]; no result depends on the number of threads.
    void filter(const float* values, float* filtered, std::int64_t channels, Order order, int threads) const;
    std::int64_t vertices() const; // of all sets together

private:
    std::int64_t points_;
    std::vector<std::unique_ptr<AnyLattice>> lattices_;
};

} // namespace rlossctl
