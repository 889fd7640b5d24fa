#include "filter.hpp"

#include <algorithm>

#include "apply.hpp"
#include "build.hpp"
#include "lattice.hpp"
#include "threads.hpp"

namespace rlossctl {

std::unique_ptr<AnyLattice> make_lattice(std::int64_t colours) {
    switch (colours) {
    case 0: return std::make_unique<Lattice<2>>();
    case 1: return std::make_unique<Lattice<3>>();
    case 2: return std::make_unique<Lattice<4>>();
    case 3: return std::make_unique<Lattice<5>>();
    default: return std::make_unique<Lattice<6>>();
    }
}

namespace {

// The lattice that this thread built last for this number of colours; the next one reuses its memory.
AnyLattice& arena(std::int64_t colours) {
    thread_local std::unique_ptr<AnyLattice> kept[max_colours + 1];
    if (!kept[colours]) kept[colours] = make_lattice(colours);
    return *kept[colours];
}

} // namespace

void bilateral_filter(const float* values, const float* image, float* filtered, const Sizes& sizes, Sigmas sigmas,
                      Order order, int threads) {
    const std::int64_t pixels = sizes.pixels(), plane = sizes.channels * pixels;
    for_images(sizes.images, threads, [&](std::int64_t n, int inner) {
        AnyLattice& lattice = arena(sizes.colours);
        lattice.build(image + n * sizes.colours * pixels, sizes, sigmas, inner);
        lattice.apply({values + n * plane, nullptr, filtered + n * plane, nullptr, sizes.channels, order, 1.0f}, inner);
    });
}

void densecrf(const float* values, const float* mask, const float* image, float* gradient, double* energies,
              const Sizes& sizes, Sigmas sigmas, Order order, float factor, int threads) {
    const std::int64_t pixels = sizes.pixels(), plane = sizes.channels * pixels;
    for_images(sizes.images, threads, [&](std::int64_t n, int inner) {
        AnyLattice& lattice = arena(sizes.colours);
        lattice.build(image + n * sizes.colours * pixels, sizes, sigmas, inner);
        lattice.apply({values + n * plane, mask + n * pixels, gradient + n * plane, energies + n, sizes.channels,
                       order, factor},
                      inner);
    });
}

Lattices::Lattices(const float* image, const Sizes& sizes, Sigmas sigmas, int threads)
    : sizes_(sizes), lattices_(sizes.images) {
    for_images(sizes.images, threads, [&](std::int64_t n, int inner) {
        lattices_[n] = make_lattice(sizes.colours);
        lattices_[n]->build(image + n * sizes.colours * sizes.pixels(), sizes, sigmas, inner);
    });
}

Lattices::~Lattices() = default;

void Lattices::filter(const float* values, float* filtered, std::int64_t channels, Order order, int threads) const {
    const std::int64_t plane = channels * sizes_.pixels();
    for_images(sizes_.images, threads, [&](std::int64_t n, int inner) {
        lattices_[n]->apply({values + n * plane, nullptr, filtered + n * plane, nullptr, channels, order, 1.0f}, inner);
    });
}

std::int64_t Lattices::vertices() const {
    std::int64_t count = 0;
    for (const auto& lattice : lattices_) count += lattice->vertices();
    return count;
}

} // namespace rlossctl
