// The Python interface: addresses, sizes and the number of threads. rlossctl/bilateral checks the tensors; here are
// only the checks that prevent accesses outside their memory. Nothing here depends on torch.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "best.hpp"
#include "chain.hpp"
#include "filter.hpp"
#include "gated.hpp"
#include "points.hpp"
#include "softmax.hpp"
#include "tree.hpp"

namespace py = pybind11;

namespace {

using Address = std::uintptr_t;
using rlossctl::ChainSizes;
using rlossctl::Order;
using rlossctl::Sigmas;
using rlossctl::Sizes;
using rlossctl::TreeSizes;

constexpr std::int64_t most_pixels = std::int64_t{1} << 28; // numbers of vertices are 32-bit

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

void require(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

Sizes checked(const Sizes& sizes) {
    require(sizes.images >= 0 && sizes.channels >= 0 && sizes.height >= 0 && sizes.width >= 0, "a size is negative");
    require(sizes.colours >= 0 && sizes.colours <= rlossctl::max_colours, "colours must be 0 to 4");
    require(sizes.height <= most_pixels && sizes.width <= most_pixels && sizes.pixels() <= most_pixels,
            "more than 2^28 pixels");
    require(sizes.images <= std::int64_t{1} << 30 && sizes.channels <= std::int64_t{1} << 30, "a size is too large");
    return sizes;
}

Sigmas checked(double xy, double rgb) {
    require(xy > 0 && rgb > 0 && std::isfinite(xy) && std::isfinite(rgb), "a sigma is not a finite number above 0");
    return {xy, rgb};
}

Order checked_order(int order) {
    require(order >= 0 && order <= 2, "order must be 0 (forward), 1 (backward) or 2 (mean)");
    return static_cast<Order>(order);
}

bool nothing(const Sizes& sizes) { return sizes.images * sizes.channels * sizes.pixels() == 0; }

void bilateral_filter(Address values, Address image, Address filtered, std::int64_t images,
                      std::int64_t channels, std::int64_t colours, std::int64_t height, std::int64_t width,
                      double sigma_xy, double sigma_rgb, int order, int threads) {
    const Sizes sizes = checked(Sizes{images, channels, colours, height, width});
    const Sigmas sigmas = checked(sigma_xy, sigma_rgb);
    const Order blurs = checked_order(order);
    if (nothing(sizes)) return;
    py::gil_scoped_release unlocked;
    rlossctl::bilateral_filter(at<const float>(values), at<const float>(image), at<float>(filtered), sizes,
                               sigmas, blurs, std::max(threads, 1));
}

void densecrf(Address values, Address mask, Address image, Address gradient, Address energies, std::int64_t images,
              std::int64_t channels, std::int64_t colours, std::int64_t height, std::int64_t width, double sigma_xy,
              double sigma_rgb, int order, double factor, int threads) {
    const Sizes sizes = checked(Sizes{images, channels, colours, height, width});
    const Sigmas sigmas = checked(sigma_xy, sigma_rgb);
    const Order blurs = checked_order(order);
    std::fill_n(at<double>(energies), images, 0.0);
    if (nothing(sizes)) return;
    py::gil_scoped_release unlocked;
    rlossctl::densecrf(at<const float>(values), at<const float>(mask), at<const float>(image), at<float>(gradient),
                       at<double>(energies), sizes, sigmas, blurs, static_cast<float>(factor),
                       std::max(threads, 1));
}

void exact_filter(Address values, Address image, Address filtered, std::int64_t images, std::int64_t channels,
                  std::int64_t colours, std::int64_t height, std::int64_t width, double sigma_xy, double sigma_rgb,
                  double cutoff, int threads) {
    const Sizes sizes = checked(Sizes{images, channels, colours, height, width});
    const Sigmas sigmas = checked(sigma_xy, sigma_rgb);
    require(cutoff >= 0 && cutoff < 1, "cutoff must be at least 0 and below 1");
    if (nothing(sizes)) return;
    py::gil_scoped_release unlocked;
    rlossctl::exact_filter(at<const float>(values), at<const float>(image), at<float>(filtered), sizes, sigmas,
                           cutoff, std::max(threads, 1));
}

// Sizes and pairs of the gated filter; `colours` is the number of features in a group, which has no limit.
struct Gated {
    Sizes sizes;
    rlossctl::Pairs pairs;

    Gated(Address features, Address table, Address source, Address destination, std::int64_t images,
          std::int64_t channels, std::int64_t groups, std::int64_t colours, std::int64_t height, std::int64_t width,
          std::int64_t rows, std::int64_t columns)
        : sizes(checked(Sizes{images, channels, 0, height, width})),
          pairs{at<const float>(features), at<const float>(table), at<const float>(source),
                at<const float>(destination), groups, rows, columns} {
        require(groups >= 0 && colours >= 0 && groups < 1 << 20 && colours < 1 << 20, "a size is out of range");
        require(rows >= 0 && rows < height && columns >= 0 && columns < width, "the window is larger than the image");
        sizes.colours = colours;
    }
};

void gated_filter(Address values, const Gated& gated, Address filtered, int threads) {
    if (nothing(gated.sizes)) return;
    py::gil_scoped_release unlocked;
    rlossctl::gated_filter(at<const float>(values), gated.pairs, at<float>(filtered), gated.sizes,
                           std::max(threads, 1));
}

void gated_crf(Address values, const Gated& gated, Address gradient, Address energies, int threads) {
    std::fill_n(at<double>(energies), gated.sizes.images, 0.0);
    if (nothing(gated.sizes)) return;
    py::gil_scoped_release unlocked;
    rlossctl::gated_crf(at<const float>(values), gated.pairs, at<float>(gradient), at<double>(energies), gated.sizes,
                        std::max(threads, 1));
}

ChainSizes checked(std::int64_t images, std::int64_t length, std::int64_t labels, std::int64_t width,
                   std::int64_t stride, double temperature) {
    const std::int64_t most = std::int64_t{1} << 20;
    for (const std::int64_t size : {images, length, labels, width}) require(size > 0 && size <= most, "a size is out of range");
    require(stride > 0, "stride must be positive");
    require(temperature >= 0 && std::isfinite(temperature), "temperature must be finite and 0 or more");
    return {images, length, labels, width, stride};
}

void chain_marginals(Address unary, Address pairwise, double temperature, std::int64_t images, std::int64_t length,
                     std::int64_t labels, std::int64_t width, std::int64_t stride, Address marginals, Address forwards,
                     Address backwards, int threads) {
    const ChainSizes sizes = checked(images, length, labels, width, stride, temperature);
    py::gil_scoped_release unlocked;
    rlossctl::chain_marginals(at<const float>(unary), at<const float>(pairwise), static_cast<float>(temperature), sizes,
                              at<float>(marginals), at<float>(forwards), at<float>(backwards), std::max(threads, 1));
}

double chain_gradients(Address slope, Address unary, Address pairwise, Address forwards, Address backwards,
                       double temperature, std::int64_t images, std::int64_t length, std::int64_t labels,
                       std::int64_t width, std::int64_t stride, Address unary_slope, Address pairwise_slope,
                       int threads) {
    const ChainSizes sizes = checked(images, length, labels, width, stride, temperature);
    double temperature_slope = 0;
    py::gil_scoped_release unlocked;
    rlossctl::chain_gradients(at<const float>(slope), at<const float>(unary), at<const float>(pairwise),
                              at<const float>(forwards), at<const float>(backwards), static_cast<float>(temperature),
                              sizes, at<float>(unary_slope), at<float>(pairwise_slope), &temperature_slope,
                              std::max(threads, 1));
    return temperature_slope;
}

TreeSizes checked(const TreeSizes& sizes) {
    for (const std::int64_t size : {sizes.images, sizes.channels, sizes.height, sizes.width})
        require(size > 0 && size <= most_pixels, "a size is out of range");
    require(sizes.pixels() <= most_pixels, "more than 2^28 pixels");
    return sizes;
}

void spanning_trees(Address weights, std::int64_t images, std::int64_t height, std::int64_t width, Address order,
                    Address parent, int threads) {
    const TreeSizes sizes = checked(TreeSizes{images, 1, height, width});
    py::gil_scoped_release unlocked;
    rlossctl::spanning_trees(at<const float>(weights), sizes, at<std::int64_t>(order), at<std::int64_t>(parent),
                             std::max(threads, 1));
}

void tree_filter(Address values, Address affinity, Address order, Address parent, std::int64_t images,
                 std::int64_t channels, std::int64_t pixels, Address filtered, int threads) {
    const TreeSizes sizes = checked(TreeSizes{images, channels, 1, pixels});
    py::gil_scoped_release unlocked;
    rlossctl::tree_filter(at<const float>(values), at<const float>(affinity), at<const std::int64_t>(order),
                          at<const std::int64_t>(parent), sizes, at<float>(filtered), std::max(threads, 1));
}

void tree_gradients(Address slope, Address values, Address affinity, Address order, Address parent,
                    std::int64_t images, std::int64_t channels, std::int64_t pixels, Address values_slope,
                    Address affinity_slope, int threads) {
    const TreeSizes sizes = checked(TreeSizes{images, channels, 1, pixels});
    py::gil_scoped_release unlocked;
    rlossctl::tree_gradients(at<const float>(slope), at<const float>(values), at<const float>(affinity),
                             at<const std::int64_t>(order), at<const std::int64_t>(parent), sizes,
                             at<float>(values_slope), at<float>(affinity_slope), std::max(threads, 1));
}

// Scores [classes][height][width]; top .. right as in Enlarging; labels [rows][columns] or 0; truth [rows][columns] and
// pairs [256][classes], or 0.
bool best_classes(Address data, std::int64_t classes, std::int64_t height, std::int64_t width, Address top,
                  Address below, Address down, Address left, Address beside, Address right, std::int64_t rows,
                  std::int64_t columns, Address labels, Address truth, Address pairs, int threads) {
    for (const std::int64_t size : {height, width, rows, columns})
        require(size > 0 && size <= most_pixels, "a size is out of range");
    require(classes > 0 && classes < 256 && rows * columns <= most_pixels, "a size is out of range");
    require((truth == 0) == (pairs == 0), "pairs are counted against the truth");
    require(top != 0 || (rows <= height && columns <= width), "the scores are smaller than the picture");
    py::gil_scoped_release unlocked;
    return rlossctl::best_classes(
        {at<const float>(data), classes, height, width},
        {at<const std::int32_t>(top), at<const std::int32_t>(below), at<const std::int32_t>(left),
         at<const std::int32_t>(beside), at<const float>(down), at<const float>(right)},
        rows, columns, {at<std::uint8_t>(labels), at<const std::uint8_t>(truth), at<std::int64_t>(pairs)},
        std::max(threads, 1));
}

// See src/softmax.hpp: scores and what enlarges them as for best_classes; greatest and total [rows][columns], both 0 if
// the scores are probabilities.
struct Probabilities {
    rlossctl::Probabilities source;

    Probabilities(Address data, std::int64_t classes, std::int64_t height, std::int64_t width, Address top,
                  Address below, Address down, Address left, Address beside, Address right, std::int64_t rows,
                  std::int64_t columns, float temperature, Address greatest, Address total) {
        for (const std::int64_t size : {height, width, rows, columns})
            require(size > 0 && size <= most_pixels, "a size is out of range");
        require(classes > 0 && classes < 256 && rows * columns <= most_pixels, "a size is out of range");
        require(top != 0 || (rows <= height && columns <= width), "the scores are smaller than the picture");
        require((greatest == 0) == (total == 0), "a softmax has two norms");
        require(greatest != 0 || top == 0, "probabilities are not enlarged");
        require(temperature > 0, "the temperature is not above 0");
        source = {{at<const float>(data), classes, height, width},
                  {at<const std::int32_t>(top), at<const std::int32_t>(below), at<const std::int32_t>(left),
                   at<const std::int32_t>(beside), at<const float>(down), at<const float>(right)},
                  rows, columns, temperature, at<const float>(greatest), at<const float>(total)};
    }

    // Fills greatest and total; whether a score is not finite, and whether one is below 0.
    std::pair<bool, bool> norms(int threads) const {
        require(source.greatest != nullptr, "probabilities have no norms");
        py::gil_scoped_release unlocked;
        const rlossctl::Met met = rlossctl::softmax_norms(source, const_cast<float*>(source.greatest),
                                                          const_cast<float*>(source.total), std::max(threads, 1));
        return {met.odd, met.negative};
    }

    void plane(std::int64_t index, Address plane, int threads) const {
        require(index >= 0 && index < source.scores.classes, "no such class");
        py::gil_scoped_release unlocked;
        rlossctl::probability_plane(source, index, at<float>(plane), std::max(threads, 1));
    }

    void shared(Address masks, Address sums, int threads) const {
        py::gil_scoped_release unlocked;
        rlossctl::shared_sums(source, at<const std::uint8_t>(masks), at<std::int64_t[3]>(sums), std::max(threads, 1));
    }

    void labels(Address masks, Address own, Address base, Address now, double smooth, bool iou, int nothing,
                Address labels, int threads) const {
        require(nothing < 256, "no such label");
        py::gil_scoped_release unlocked;
        rlossctl::mask_labels(source, at<const std::uint8_t>(masks),
                              {at<const double>(own), at<const double>(base), at<const double>(now), smooth, iou},
                              nothing, at<std::uint8_t>(labels), std::max(threads, 1));
    }
};

void probability_bins(Address p, std::int64_t count, int shift, std::int32_t first, std::int64_t bins, Address counts,
                      Address sums) {
    require(count >= 0 && count <= most_pixels && bins > 0 && bins <= 1 << 20, "a size is out of range");
    require(shift >= 0 && shift < 31, "shift must be 0 to 30");
    py::gil_scoped_release unlocked;
    rlossctl::probability_bins(at<const float>(p), count, {shift, first, bins}, at<std::int64_t>(counts),
                               at<rlossctl::WordSums>(sums));
}

} // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() =
        "Compiled kernels of rlossctl.bilateral. Arguments are addresses of contiguous float32 arrays values, filtered, "
        "gradient [N,K,H,W], image [N,C,H,W], mask [N,1,H,W], and of float64 energies [N]; then sizes, sigmas, order "
        "(0 as in the original, 1 its transpose, 2 their mean) and the number of threads. ValueError: invalid "
        "arguments, an image that is not finite, or a sigma that is too small for it.";
    const auto values = py::arg("values"), image = py::arg("image"), filtered = py::arg("filtered"),
               images = py::arg("images"), channels = py::arg("channels"), colours = py::arg("colours"),
               height = py::arg("height"), width = py::arg("width"), sigma_xy = py::arg("sigma_xy"),
               sigma_rgb = py::arg("sigma_rgb"), order = py::arg("order"), threads = py::arg("threads");
    module.def("bilateral_filter", &bilateral_filter, values, image, filtered, images, channels, colours,
               height, width, sigma_xy, sigma_rgb, order, threads, "filtered = A values.");
    module.def("densecrf", &densecrf, values, py::arg("mask"), image, py::arg("gradient"), py::arg("energies"),
               images, channels, colours, height, width, sigma_xy, sigma_rgb, order, py::arg("factor"), threads,
               "With s = values * mask: gradient = factor * mask * (A s), energies[n] = s_n^T A_n s_n.");
    module.def("exact_filter", &exact_filter, values, image, filtered, images, channels, colours, height, width,
               sigma_xy, sigma_rgb, py::arg("cutoff"), threads,
               "filtered = the exact Gaussian sum of values; kernels below cutoff may be left out.");
    module.def("chain_marginals", &chain_marginals, "See src/chain.hpp.");
    module.def("chain_gradients", &chain_gradients, "See src/chain.hpp; returns the slope of the temperature.");
    module.def("spanning_trees", &spanning_trees, "See src/tree.hpp.");
    module.def("tree_filter", &tree_filter, "See src/tree.hpp.");
    module.def("tree_gradients", &tree_gradients, "See src/tree.hpp.");
    module.def("best_classes", &best_classes, "See src/best.hpp; returns whether all scores are numbers.");
    module.def("probability_bins", &probability_bins, "See src/softmax.hpp.");
    py::class_<Probabilities>(module, "Probabilities", "Class probabilities of a picture; see src/softmax.hpp.")
        .def(py::init<Address, std::int64_t, std::int64_t, std::int64_t, Address, Address, Address, Address, Address,
                      Address, std::int64_t, std::int64_t, float, Address, Address>())
        .def("norms", &Probabilities::norms, "Returns whether a score is not finite, and whether one is negative.")
        .def("plane", &Probabilities::plane)
        .def("shared", &Probabilities::shared)
        .def("labels", &Probabilities::labels);
    module.def("simd", &rlossctl::simd, "The instruction set in use: avx512, avx2 or plain; see RLOSSCTL_SIMD.");

    py::class_<Gated>(module, "Gated",
                      "The pairs of the gated filter: addresses of features [G,N,F,h,w], table [1+G,2r+1,2s+1], source "
                      "and destination [N,1,h,w]; then N, K, G, F, h, w, r and s.")
        .def(py::init<Address, Address, Address, Address, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                      std::int64_t, std::int64_t, std::int64_t, std::int64_t>(),
             py::arg("features"), py::arg("table"), py::arg("source"), py::arg("destination"), images, channels,
             py::arg("groups"), colours, height, width, py::arg("rows"), py::arg("columns"));
    module.def("gated_filter", &gated_filter, values, py::arg("gated"), filtered, threads,
               "filtered_i = destination_i * sum over j of k_ij source_j values_j.");
    module.def("gated_crf", &gated_crf, values, py::arg("gated"), py::arg("gradient"), py::arg("energies"), threads,
               "Values and gradients of the Gated CRF loss; see rlossctl/bilateral/gated.py.");

    py::class_<rlossctl::Lattices>(module, "Lattices", "The lattices of a batch of images, to filter many times.")
        .def(py::init([](Address image, std::int64_t images, std::int64_t colours, std::int64_t height,
                         std::int64_t width, double sigma_xy, double sigma_rgb, int threads) {
                 const Sizes sizes = checked(Sizes{images, 1, colours, height, width});
                 require(!nothing(sizes), "images without pixels have no lattice");
                 const Sigmas sigmas = checked(sigma_xy, sigma_rgb);
                 py::gil_scoped_release unlocked;
                 return std::make_unique<rlossctl::Lattices>(at<const float>(image), sizes, sigmas,
                                                             std::max(threads, 1));
             }),
             image, images, colours, height, width, sigma_xy, sigma_rgb, threads)
        .def(
            "filter",
            [](const rlossctl::Lattices& self, Address values, Address filtered, std::int64_t channels, int order,
               int threads) {
                require(channels >= 0 && channels <= std::int64_t{1} << 30, "channels must be 0 or more");
                if (channels == 0) return;
                const Order checked = checked_order(order);
                py::gil_scoped_release unlocked;
                self.filter(at<const float>(values), at<float>(filtered), channels, checked, std::max(threads, 1));
            },
            values, filtered, channels, order, threads)
        .def_property_readonly("vertices", &rlossctl::Lattices::vertices, "Of all images together.");

    py::class_<rlossctl::PointLattices>(module, "PointLattices",
                                        "The lattices of sets of points [S,P,d], to filter values [S,K,P] many times.")
        .def(py::init([](Address features, std::int64_t sets, std::int64_t points, int count, int threads) {
                 require(sets > 0 && points > 0 && points <= most_pixels, "a size is out of range");
                 require(count >= 2 && count <= rlossctl::max_features, "features must be 2 to 6");
                 py::gil_scoped_release unlocked;
                 return std::make_unique<rlossctl::PointLattices>(at<const float>(features), sets, points, count,
                                                                  std::max(threads, 1));
             }),
             py::arg("features"), py::arg("sets"), py::arg("points"), py::arg("count"), threads)
        .def(
            "filter",
            [](const rlossctl::PointLattices& self, Address values, Address filtered, std::int64_t channels, int order,
               int threads) {
                require(channels > 0 && channels <= std::int64_t{1} << 30, "channels must be positive");
                const Order checked = checked_order(order);
                py::gil_scoped_release unlocked;
                self.filter(at<const float>(values), at<float>(filtered), channels, checked, std::max(threads, 1));
            },
            values, filtered, channels, order, threads)
        .def_property_readonly("vertices", &rlossctl::PointLattices::vertices, "Of all sets together.");
}
