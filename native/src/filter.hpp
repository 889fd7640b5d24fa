// The bilateral filter of the DenseCRF loss: everything that Python may call. Tensors are contiguous float32
// on the CPU; no result depends on the number of threads. Functions that build a lattice throw std::domain_error if
// the image is not finite or a sigma is too small for it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace rlossctl {

constexpr int max_colours = 4;

struct Sizes {
    std::int64_t images, channels, colours, height, width;

    std::int64_t pixels() const { return height * width; }
};

struct Sigmas {
    double xy, rgb;
};

// The blur runs along one axis after the other, so A depends a little on their order: axes 0 to d as in the
// original; d to 0, which gives the transpose of A; or the mean of both, which is symmetric.
enum class Order { forward, backward, mean };

// filtered[n] = A_n values[n]; values and filtered [images, channels, height, width], image
// [images, colours, height, width].
void bilateral_filter(const float* values, const float* image, float* filtered, const Sizes& sizes, Sigmas sigmas,
                      Order order, int threads);

// With s = values * mask, mask [images, 1, height, width]: gradient = factor * mask * (A s) and
// energies[n] = s_n^T A_n s_n. Masked pixels belong to the lattice, but send and receive nothing.
void densecrf(const float* values, const float* mask, const float* image, float* gradient, double* energies,
              const Sizes& sizes, Sigmas sigmas, Order order, float factor, int threads);

// The exact Gaussian sum, filtered_i = sum_j exp(-|f_i - f_j|^2 / 2) values_j, j = i included. Pairs of pixel groups
// are skipped if the kernel between them is below `cutoff` everywhere; with 0 nothing is skipped.
void exact_filter(const float* values, const float* image, float* filtered, const Sizes& sizes, Sigmas sigmas,
                  double cutoff, int threads);

class AnyLattice;

// The lattices of a batch of images, kept to filter many times. May be used from several threads at once.
class Lattices {
public:
    Lattices(const float* image, const Sizes& sizes, Sigmas sigmas, int threads);
    ~Lattices();

    void filter(const float* values, float* filtered, std::int64_t channels, Order order, int threads) const;
    std::int64_t vertices() const; // of all images together

private:
    Sizes sizes_;
    std::vector<std::unique_ptr<AnyLattice>> lattices_;
};

// The instruction set in use: "avx512", "avx2" or "plain"; the environment variable RLOSSCTL_SIMD selects a lower
// one. Throws std::invalid_argument if it has any other value.
const char* simd();

} // namespace rlossctl
