#include "filter.hpp"

#include <algorithm>

#include "apply.hpp"
#include "build.hpp"
#include "lattice.hpp"

namespace rlossctl {

template <int D>
void Lattice<D>::filter(const float* values, const float* image, float* filtered, const KeyLayout& layout,
                        const Sizes& sizes, double sigma_xy, double sigma_rgb, int threads) {
    pixels_ = sizes.height * sizes.width;
    blocks_ = (pixels_ + lanes - 1) / lanes;
    channels_ = sizes.channels;
    stride_ = (channels_ + group - 1) / group * group;
    locate_pixels(image, layout, sizes, sigma_xy, sigma_rgb, threads);
    number_simplices(layout);
    number_vertices(layout);
    link_vertices(layout, threads);
    splat_and_blur(values, threads);
    slice(filtered, threads);
}

namespace {

template <int D>
void filter_batch(const float* values, const float* image, float* filtered, const KeyLayout& layout,
                  const Sizes& sizes, double sigma_xy, double sigma_rgb, int threads) {
    const std::int64_t pixels = sizes.height * sizes.width;
    const auto one = [&](std::int64_t n, int inner) {
        thread_local Lattice<D> lattice;
        lattice.filter(values + n * sizes.channels * pixels, image + n * sizes.colours * pixels,
                       filtered + n * sizes.channels * pixels, layout, sizes, sigma_xy, sigma_rgb, inner);
    };
    // Whole images are the better share; inside an image some steps are serial.
    if (2 * sizes.images > threads) {
        const int parts = static_cast<int>(std::min<std::int64_t>(threads, sizes.images));
#pragma omp parallel for num_threads(parts) if (parts > 1) schedule(dynamic)
        for (std::int64_t n = 0; n < sizes.images; ++n) one(n, 1);
    } else {
        for (std::int64_t n = 0; n < sizes.images; ++n) one(n, threads);
    }
}

} // namespace

void bilateral_filter(const float* values, const float* image, float* filtered, const KeyLayout& layout,
                      const Sizes& sizes, double sigma_xy, double sigma_rgb, int threads) {
    const auto filter = sizes.colours == 0   ? filter_batch<2>
                        : sizes.colours == 1 ? filter_batch<3>
                        : sizes.colours == 2 ? filter_batch<4>
                        : sizes.colours == 3 ? filter_batch<5>
                                             : filter_batch<6>;
    filter(values, image, filtered, layout, sizes, sigma_xy, sigma_rgb, threads);
}

} // namespace rlossctl
