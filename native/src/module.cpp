// The door to Python: addresses, sizes and the number of threads. Checks and meaning live in
// rlossctl/bilateral; nothing here knows torch.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>

#include "filter.hpp"

namespace py = pybind11;

namespace {

void bilateral_filter(std::uintptr_t values, std::uintptr_t image, std::uintptr_t filtered, std::uintptr_t layout,
                      std::int64_t images, std::int64_t channels, std::int64_t colours, std::int64_t height,
                      std::int64_t width, double sigma_xy, double sigma_rgb, int threads) {
    const auto* numbers = reinterpret_cast<const std::int32_t*>(layout);
    const std::int64_t features = colours + 2;
    rlossctl::KeyLayout keys{};
    std::copy(numbers, numbers + features, keys.low);
    std::copy(numbers + features, numbers + 2 * features, keys.shift);
    py::gil_scoped_release unlocked;
    rlossctl::bilateral_filter(reinterpret_cast<const float*>(values), reinterpret_cast<const float*>(image),
                               reinterpret_cast<float*>(filtered), keys,
                               rlossctl::Sizes{images, channels, colours, height, width}, sigma_xy, sigma_rgb,
                               std::max(threads, 1));
}

} // namespace

PYBIND11_MODULE(_native, module) {
    module.doc() = "Compiled kernels of rlossctl.bilateral.";
    module.def("bilateral_filter", &bilateral_filter, py::arg("values"), py::arg("image"), py::arg("filtered"),
               py::arg("layout"), py::arg("images"), py::arg("channels"), py::arg("colours"), py::arg("height"),
               py::arg("width"), py::arg("sigma_xy"), py::arg("sigma_rgb"), py::arg("threads"),
               "Addresses of float32 values [N,K,H,W], image [N,C,H,W] and output, of int32 layout [2, C + 2], sizes, "
               "sigmas and the number of threads.");
}
