// The filters as the host sees them. Every pointer is a device address. A call only puts work on the stream: it
// allocates nothing, waits for nothing and may be recorded in a CUDA graph. It throws if an argument is wrong or a
// launch fails. Errors that only the device can see (an image that is not finite, a sigma too small for the keys)
// make the outputs of all images in the same pass NaN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace rlossctl::cuda {

constexpr int max_colours = 4;
constexpr int max_features = 2 + max_colours;

using Stream = void*; // a cudaStream_t

struct Sizes {
    std::int64_t images, channels, colours, height, width;
    std::int64_t points = 0; // above 0: sets of points with colours + 2 features instead of images; no height and width
};

// The order in which the blur takes the lattice's axes; backward gives the transposed operator.
enum class Order : int { forward = 0, backward = 1, mean = 2 };

struct Sigmas {
    double xy, rgb;
};

struct Options {
    Order order;
    bool deterministic; // the same bits in every run
};

struct Memory {
    void* start; // aligned to 16 bytes
    std::size_t bytes;
};

struct Workspace {
    Memory memory;
    Stream stream;
};

std::size_t lattice_workspace(const Sizes& sizes, const Options& options);

// filtered[n] = A_n values[n]: float32 [images, channels, height, width], image [images, colours, height, width].
void lattice_filter(const float* values, const float* image, float* filtered, const Sizes& sizes,
                    const Sigmas& sigmas, const Options& options, const Workspace& workspace);

// With s = values * mask, mask [images, height, width]: energies[n] = sum of s_n * (A_n s_n), float64, and
// gradient = factor * mask * (A s), left out if `gradient` is null.
void densecrf(const float* values, const float* mask, const float* image, float* gradient, double* energies,
              const Sizes& sizes, const Sigmas& sigmas, const Options& options, float factor,
              const Workspace& workspace);

// Kept lattices: `build_lattice` once, then `apply_lattice` for any values, each time with a workspace for the rows
// only. The lattice's own memory has `lattice_bytes`. It takes all given images: the caller cuts a batch into parts
// of at most `kept_images`. The number of channels matters only for calls with values.
std::int64_t kept_images(const Sizes& sizes);
std::size_t lattice_bytes(const Sizes& sizes);
void build_lattice(const float* image, const Sizes& sizes, const Sigmas& sigmas, const Workspace& lattice);
// For sets of points [images][features][points], in units of the features' standard deviations.
void build_points(const float* points, const Sizes& sizes, const Workspace& lattice);
std::size_t rows_workspace(const Sizes& sizes, const Options& options);
void apply_lattice(const float* values, float* filtered, const Sizes& sizes, const Options& options,
                   const Memory& lattice, const Workspace& workspace);

std::size_t exact_workspace(const Sizes& sizes);

// The Gaussian sum itself; pairs of tiles whose weights are all below `cutoff` are skipped.
void exact_filter(const float* values, const float* image, float* filtered, const Sizes& sizes,
                  const Sigmas& sigmas, double cutoff, const Workspace& workspace);

// Why nothing can run here (no driver, no device, ...); empty if something can.
std::string why_unusable();

} // namespace rlossctl::cuda
