// The dense Gaussian sum, tile by tile.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "buffer.hpp"
#include "filter.hpp"
#include "kernels.hpp"
#include "threads.hpp"

namespace rlossctl {
namespace {

constexpr int side = 8;
static_assert(side * side == tile_pixels);

// The pixels of one image, tile by tile. Positions beyond the border repeat the last pixel, with values of zero.
template <int D>
class Tiling {
public:
    Tiling(const Sizes& sizes, const float* image, const float* values)
        : sizes_(sizes), across_((sizes.width + side - 1) / side), down_((sizes.height + side - 1) / side),
          groups_((sizes.channels + group - 1) / group) {
        tiles_.ensure(count());
        values_.ensure(count() * tile_floats());
        std::fill(values_.data(), values_.data() + count() * tile_floats(), 0.0f);
        for (std::int64_t t = 0; t < count(); ++t) fill(t, image, values);
    }

    std::int64_t count() const { return across_ * down_; }
    std::int64_t groups() const { return groups_; }
    std::int64_t tile_floats() const { return tile_pixels * groups_ * group; }
    const Tile<D>& operator[](std::int64_t t) const { return tiles_[t]; }
    const float* values(std::int64_t t) const { return values_.data() + t * tile_floats(); }

    // Writes the sums [tile_pixels][groups * group] of tile t to their pixels.
    void put(std::int64_t t, const double* sums, float* filtered) const {
        for (int i = 0; i < tile_pixels; ++i) {
            const std::int64_t x = t % across_ * side + i % side, y = t / across_ * side + i / side;
            if (x >= sizes_.width || y >= sizes_.height) continue;
            for (std::int64_t c = 0; c < sizes_.channels; ++c)
                filtered[c * sizes_.pixels() + y * sizes_.width + x] =
                    static_cast<float>(sums[i * groups_ * group + c]);
        }
    }

private:
    void fill(std::int64_t t, const float* image, const float* values) {
        Tile<D>& tile = tiles_[t];
        float* rows = values_.data() + t * tile_floats();
        for (int i = 0; i < tile_pixels; ++i) {
            const std::int64_t x = t % across_ * side + i % side, y = t / across_ * side + i / side;
            const std::int64_t inside_x = std::min(x, sizes_.width - 1), inside_y = std::min(y, sizes_.height - 1);
            const std::int64_t p = inside_y * sizes_.width + inside_x;
            tile.features[0][i] = static_cast<float>(inside_x);
            tile.features[1][i] = static_cast<float>(inside_y);
            for (int f = 2; f < D; ++f) tile.features[f][i] = image[(f - 2) * sizes_.pixels() + p];
            if (x != inside_x || y != inside_y) continue;
            for (std::int64_t c = 0; c < sizes_.channels; ++c)
                rows[i * groups_ * group + c] = values[c * sizes_.pixels() + p];
        }
        for (int f = 0; f < D; ++f) {
            const auto [low, high] = std::minmax_element(tile.features[f], tile.features[f] + tile_pixels);
            tile.low[f] = *low, tile.high[f] = *high;
        }
    }

    Sizes sizes_;
    std::int64_t across_, down_, groups_;
    Buffer<Tile<D>> tiles_;
    Buffer<float> values_; // [count][tile_pixels][groups * group]
};

// An upper bound of -|f_i - f_j|^2 / 2 over two tiles.
template <int D>
double nearest_exponent(const Tile<D>& a, const Tile<D>& b, const float* falloff) {
    double exponent = 0.0;
    for (int f = 0; f < D; ++f) {
        const double gap = std::max({0.0, double{a.low[f]} - b.high[f], double{b.low[f]} - a.high[f]});
        exponent -= falloff[f] * gap * gap;
    }
    return exponent;
}

template <int D>
void filter_image(const float* values, const float* image, float* filtered, const Sizes& sizes, Sigmas sigmas,
                  double cutoff, int threads) {
    const Tiling<D> tiling(sizes, image, values);
    float falloff[D]; // 1 / (2 sigma^2) of each feature
    for (int f = 0; f < D; ++f) {
        const double sigma = f < 2 ? sigmas.xy : sigmas.rgb;
        falloff[f] = static_cast<float>(0.5 / (sigma * sigma));
    }
    const double least = cutoff > 0 ? std::log(cutoff) : -std::numeric_limits<double>::infinity();
    const auto kernel = std::get<LatticeKernels<D>>(kernels().lattice).exact_tile;
    parallel(static_cast<int>(tiling.count()), threads, [&](int t) {
        thread_local std::vector<double> sums;
        sums.assign(tiling.tile_floats(), 0.0);
        for (std::int64_t s = 0; s < tiling.count(); ++s)
            if (nearest_exponent(tiling[t], tiling[s], falloff) >= least)
                kernel(tiling[t], tiling[s], falloff, tiling.values(s), tiling.groups(), sums.data());
        tiling.put(t, sums.data(), filtered);
    });
}

} // namespace

void exact_filter(const float* values, const float* image, float* filtered, const Sizes& sizes, Sigmas sigmas,
                  double cutoff, int threads) {
    const auto filter = sizes.colours == 0   ? filter_image<2>
                        : sizes.colours == 1 ? filter_image<3>
                        : sizes.colours == 2 ? filter_image<4>
                        : sizes.colours == 3 ? filter_image<5>
                                             : filter_image<6>;
    const std::int64_t pixels = sizes.pixels(), plane = sizes.channels * pixels;
    for (std::int64_t n = 0; n < sizes.images; ++n)
        filter(values + n * plane, image + n * sizes.colours * pixels, filtered + n * plane, sizes, sigmas, cutoff,
               threads);
}

} // namespace rlossctl
