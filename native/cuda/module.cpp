// The Python interface: device addresses, sizes, options and a stream. Checks and explanations are in
// rlossctl/bilateral/cuda.py; nothing here depends on torch.
#include <pybind11/pybind11.h>

#include <cstdint>

#include "filter.hpp"
#include "gated.hpp"

#ifdef RLOSSCTL_EMULATE
#include "emulate.hpp"
#else
#define RLOSSCTL_MODULE _native_cuda
#endif

namespace py = pybind11;
namespace cuda = rlossctl::cuda;

namespace {

using Address = std::uintptr_t;
using Size = std::int64_t;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

std::size_t workspace_bytes(Size images, Size channels, Size colours, Size height, Size width, int order,
                            bool deterministic) {
    return cuda::lattice_workspace({images, channels, colours, height, width}, {cuda::Order{order}, deterministic});
}

void bilateral_filter(Address values, Address image, Address filtered, Size images, Size channels, Size colours,
                      Size height, Size width, double sigma_xy, double sigma_rgb, int order, bool deterministic,
                      Address workspace, std::size_t bytes, Address stream) {
    cuda::lattice_filter(at<const float>(values), at<const float>(image), at<float>(filtered),
                         {images, channels, colours, height, width}, {sigma_xy, sigma_rgb},
                         {cuda::Order{order}, deterministic}, {{at<void>(workspace), bytes}, at<void>(stream)});
}

void densecrf(Address values, Address mask, Address image, Address gradient, Address energies, Size images,
              Size channels, Size colours, Size height, Size width, double sigma_xy, double sigma_rgb, int order,
              float factor, bool deterministic, Address workspace, std::size_t bytes, Address stream) {
    cuda::densecrf(at<const float>(values), at<const float>(mask), at<const float>(image), at<float>(gradient),
                   at<double>(energies), {images, channels, colours, height, width}, {sigma_xy, sigma_rgb},
                   {cuda::Order{order}, deterministic}, factor, {{at<void>(workspace), bytes}, at<void>(stream)});
}

Size kept_images(Size images, Size colours, Size height, Size width) {
    return cuda::kept_images({images, 1, colours, height, width});
}

std::size_t lattice_bytes(Size images, Size colours, Size height, Size width) {
    return cuda::lattice_bytes({images, 1, colours, height, width});
}

void build_lattice(Address image, Size images, Size colours, Size height, Size width, double sigma_xy,
                   double sigma_rgb, Address lattice, std::size_t bytes, Address stream) {
    cuda::build_lattice(at<const float>(image), {images, 1, colours, height, width}, {sigma_xy, sigma_rgb},
                        {{at<void>(lattice), bytes}, at<void>(stream)});
}

std::size_t rows_workspace_bytes(Size images, Size channels, Size colours, Size height, Size width, int order,
                                 bool deterministic) {
    return cuda::rows_workspace({images, channels, colours, height, width}, {cuda::Order{order}, deterministic});
}

void apply_lattice(Address values, Address filtered, Size images, Size channels, Size colours, Size height,
                   Size width, int order, bool deterministic, Address lattice, std::size_t lattice_bytes,
                   Address workspace, std::size_t bytes, Address stream) {
    cuda::apply_lattice(at<const float>(values), at<float>(filtered), {images, channels, colours, height, width},
                        {cuda::Order{order}, deterministic}, {at<void>(lattice), lattice_bytes},
                        {{at<void>(workspace), bytes}, at<void>(stream)});
}

// Sets of points and what a kept lattice of them needs.
struct Points {
    cuda::Sizes sizes;

    Points(Size sets, Size points, Size features) : sizes{sets, 1, features - 2, 0, 0, points} {}

    Size kept_sets() const { return cuda::kept_images(sizes); }
    std::size_t lattice_bytes() const { return cuda::lattice_bytes(sizes); }

    void build(Address points, Address lattice, std::size_t bytes, Address stream) const {
        cuda::build_points(at<const float>(points), sizes, {{at<void>(lattice), bytes}, at<void>(stream)});
    }

    cuda::Sizes with(Size channels) const {
        cuda::Sizes all = sizes;
        all.channels = channels;
        return all;
    }

    std::size_t rows_workspace_bytes(Size channels, int order, bool deterministic) const {
        return cuda::rows_workspace(with(channels), {cuda::Order{order}, deterministic});
    }

    void apply(Address values, Address filtered, Size channels, int order, bool deterministic, Address lattice,
               std::size_t lattice_bytes, Address workspace, std::size_t bytes, Address stream) const {
        cuda::apply_lattice(at<const float>(values), at<float>(filtered), with(channels),
                            {cuda::Order{order}, deterministic}, {at<void>(lattice), lattice_bytes},
                            {{at<void>(workspace), bytes}, at<void>(stream)});
    }
};

std::size_t exact_workspace_bytes(Size images, Size channels, Size colours, Size height, Size width) {
    return cuda::exact_workspace({images, channels, colours, height, width});
}

void exact_filter(Address values, Address image, Address filtered, Size images, Size channels, Size colours,
                  Size height, Size width, double sigma_xy, double sigma_rgb, double cutoff, Address workspace,
                  std::size_t bytes, Address stream) {
    cuda::exact_filter(at<const float>(values), at<const float>(image), at<float>(filtered),
                       {images, channels, colours, height, width}, {sigma_xy, sigma_rgb}, cutoff,
                       {{at<void>(workspace), bytes}, at<void>(stream)});
}

// Sizes and pairs of the gated filter.
struct Gated {
    cuda::Sizes sizes;
    cuda::Pairs pairs;

    Gated(Address features, Address table, Address source, Address destination, Size images, Size channels,
          Size groups, Size count, Size height, Size width, Size rows, Size columns)
        : sizes{images, channels, 0, height, width},
          pairs{at<const float>(features), at<const float>(table), at<const float>(source),
                at<const float>(destination), groups, count, rows, columns} {}

    std::size_t workspace_bytes() const { return cuda::gated_workspace(sizes); }
};

void gated_filter(Address values, const Gated& gated, Address filtered, Address workspace, std::size_t bytes,
                  Address stream) {
    cuda::gated_filter(at<const float>(values), gated.pairs, at<float>(filtered), gated.sizes,
                       {{at<void>(workspace), bytes}, at<void>(stream)});
}

void gated_crf(Address values, const Gated& gated, Address gradient, Address energies, Address workspace,
               std::size_t bytes, Address stream) {
    cuda::gated_crf(at<const float>(values), gated.pairs, at<float>(gradient), at<double>(energies), gated.sizes,
                    {{at<void>(workspace), bytes}, at<void>(stream)});
}

} // namespace

// Calls only put work on the stream, so they keep the interpreter's lock.
PYBIND11_MODULE(RLOSSCTL_MODULE, module) {
    module.doc() = "CUDA kernels of rlossctl.bilateral. Addresses are device addresses: float32 values and filtered "
                   "[N,K,H,W], image [N,C,H,W], mask [N,H,W], gradient [N,K,H,W] or 0, float64 energies [N].";
    using py::arg;
    module.def("why_unusable", &cuda::why_unusable, "Why nothing can run here; empty if something can.");
    module.def("workspace_bytes", &workspace_bytes, arg("images"), arg("channels"), arg("colours"), arg("height"),
               arg("width"), arg("order"), arg("deterministic"));
    module.def("bilateral_filter", &bilateral_filter, arg("values"), arg("image"), arg("filtered"), arg("images"),
               arg("channels"), arg("colours"), arg("height"), arg("width"), arg("sigma_xy"), arg("sigma_rgb"),
               arg("order"), arg("deterministic"), arg("workspace"), arg("workspace_bytes"), arg("stream"));
    module.def("densecrf", &densecrf, arg("values"), arg("mask"), arg("image"), arg("gradient"), arg("energies"),
               arg("images"), arg("channels"), arg("colours"), arg("height"), arg("width"), arg("sigma_xy"),
               arg("sigma_rgb"), arg("order"), arg("factor"), arg("deterministic"), arg("workspace"),
               arg("workspace_bytes"), arg("stream"));
    module.def("kept_images", &kept_images, arg("images"), arg("colours"), arg("height"), arg("width"),
               "How many images of a batch one kept lattice takes.");
    module.def("lattice_bytes", &lattice_bytes, arg("images"), arg("colours"), arg("height"), arg("width"));
    module.def("build_lattice", &build_lattice, arg("image"), arg("images"), arg("colours"), arg("height"),
               arg("width"), arg("sigma_xy"), arg("sigma_rgb"), arg("lattice"), arg("lattice_bytes"), arg("stream"));
    module.def("rows_workspace_bytes", &rows_workspace_bytes, arg("images"), arg("channels"), arg("colours"),
               arg("height"), arg("width"), arg("order"), arg("deterministic"));
    module.def("apply_lattice", &apply_lattice, arg("values"), arg("filtered"), arg("images"), arg("channels"),
               arg("colours"), arg("height"), arg("width"), arg("order"), arg("deterministic"), arg("lattice"),
               arg("lattice_bytes"), arg("workspace"), arg("workspace_bytes"), arg("stream"));
    module.def("exact_workspace_bytes", &exact_workspace_bytes, arg("images"), arg("channels"), arg("colours"),
               arg("height"), arg("width"));
    module.def("exact_filter", &exact_filter, arg("values"), arg("image"), arg("filtered"), arg("images"),
               arg("channels"), arg("colours"), arg("height"), arg("width"), arg("sigma_xy"), arg("sigma_rgb"),
               arg("cutoff"), arg("workspace"), arg("workspace_bytes"), arg("stream"));
    py::class_<Points>(module, "Points", "Sets of points [S,d,P] with their values [S,K,P], d from 2 to 6.")
        .def(py::init<Size, Size, Size>(), arg("sets"), arg("points"), arg("features"))
        .def("kept_sets", &Points::kept_sets, "How many sets one kept lattice takes.")
        .def("lattice_bytes", &Points::lattice_bytes)
        .def("build", &Points::build, arg("points"), arg("lattice"), arg("lattice_bytes"), arg("stream"))
        .def("rows_workspace_bytes", &Points::rows_workspace_bytes, arg("channels"), arg("order"),
             arg("deterministic"))
        .def("apply", &Points::apply, arg("values"), arg("filtered"), arg("channels"), arg("order"),
             arg("deterministic"), arg("lattice"), arg("lattice_bytes"), arg("workspace"), arg("workspace_bytes"),
             arg("stream"));
    py::class_<Gated>(module, "Gated", "The pairs of the gated filter; as in rlossctl._native.")
        .def(py::init<Address, Address, Address, Address, Size, Size, Size, Size, Size, Size, Size, Size>(),
             arg("features"), arg("table"), arg("source"), arg("destination"), arg("images"), arg("channels"),
             arg("groups"), arg("colours"), arg("height"), arg("width"), arg("rows"), arg("columns"))
        .def("workspace_bytes", &Gated::workspace_bytes);
    module.def("gated_filter", &gated_filter, arg("values"), arg("gated"), arg("filtered"), arg("workspace"),
               arg("workspace_bytes"), arg("stream"));
    module.def("gated_crf", &gated_crf, arg("values"), arg("gated"), arg("gradient"), arg("energies"),
               arg("workspace"), arg("workspace_bytes"), arg("stream"));
#ifdef RLOSSCTL_EMULATE
    module.def("set_schedule", &cuda::emulation::set_schedule, arg("seed"));
#endif
}
