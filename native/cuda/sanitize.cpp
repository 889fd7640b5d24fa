// Runs every kernel over small random images in emulation, for sanitizers: the command is in docs/cuda.md.
// Workspaces have exactly the promised size, and two deterministic runs must agree bit for bit.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "emulate.hpp"
#include "filter.hpp"
#include "gated.hpp"

namespace cuda = rlossctl::cuda;

namespace {

constexpr cuda::Sigmas sigmas{30, 40};

std::mt19937 generator;

std::vector<float> random_floats(std::int64_t count, float span) {
    std::uniform_real_distribution<float> uniform(0, span);
    std::vector<float> numbers(count);
    for (float& number : numbers) number = uniform(generator);
    return numbers;
}

struct Result {
    std::vector<float> gradient;
    std::vector<double> energies;
};

// Memory of exactly this many bytes; every promised size is a multiple of 8.
class Space {
public:
    explicit Space(std::size_t bytes) : words_(bytes / 8) {}

    cuda::Memory memory() { return {words_.data(), words_.size() * 8}; }

private:
    std::vector<double> words_;
};

Result run_loss(const cuda::Sizes& sizes, const cuda::Sigmas& sigmas, const cuda::Options& options,
                const std::vector<float>& values, const std::vector<float>& mask, const std::vector<float>& image) {
    Result result{std::vector<float>(values.size()), std::vector<double>(sizes.images)};
    Space workspace(cuda::lattice_workspace(sizes, options));
    cuda::densecrf(values.data(), mask.data(), image.data(), result.gradient.data(), result.energies.data(), sizes,
                   sigmas, options, -2.0f, {workspace.memory(), nullptr});
    return result;
}

// Kept lattices, each used twice with different rows, must give the same bits as the filter.
bool kept_give_the_same(const cuda::Sizes& sizes, const std::vector<float>& values, const std::vector<float>& image) {
    const cuda::Options options{cuda::Order::mean, true};
    const std::int64_t pixels = sizes.height * sizes.width;
    std::vector<float> filtered(values.size()), kept(values.size());
    Space workspace(cuda::lattice_workspace(sizes, options));
    cuda::lattice_filter(values.data(), image.data(), filtered.data(), sizes, sigmas, options,
                         {workspace.memory(), nullptr});
    cuda::Sizes part = sizes;
    for (std::int64_t first = 0; first < sizes.images; first += part.images) {
        part.images = std::min(cuda::kept_images(sizes), sizes.images - first);
        Space lattice(cuda::lattice_bytes(part));
        cuda::build_lattice(image.data() + first * sizes.colours * pixels, part, sigmas, {lattice.memory(), nullptr});
        const std::int64_t plane = first * sizes.channels * pixels;
        for (int i = 0; i < 2; ++i) {
            Space rows(cuda::rows_workspace(part, options));
            cuda::apply_lattice(values.data() + plane, kept.data() + plane, part, options, lattice.memory(),
                                {rows.memory(), nullptr});
        }
    }
    return kept == filtered;
}

// The gated filter over a window that may reach beyond the image's tiles, twice with the same bits.
bool gated_gives_the_same(const cuda::Sizes& sizes, const std::vector<float>& values, const std::vector<float>& gates) {
    const std::int64_t rows = std::min<std::int64_t>(3, sizes.height - 1);
    const std::int64_t columns = std::min<std::int64_t>(5, sizes.width - 1);
    const std::vector<float> features = random_floats(sizes.images * 2 * sizes.height * sizes.width, 3);
    const std::vector<float> table = random_floats(2 * (2 * rows + 1) * (2 * columns + 1), 1);
    const cuda::Pairs pairs{features.data(), table.data(), gates.data(), gates.data(), 1, 2, rows, columns};
    std::vector<float> gradients[2], filtered(values.size());
    std::vector<double> energies[2];
    for (int i = 0; i < 2; ++i) {
        Space workspace(cuda::gated_workspace(sizes));
        gradients[i].resize(values.size()), energies[i].resize(sizes.images);
        cuda::gated_filter(values.data(), pairs, filtered.data(), sizes, {workspace.memory(), nullptr});
        cuda::gated_crf(values.data(), pairs, gradients[i].data(), energies[i].data(), sizes,
                        {workspace.memory(), nullptr});
    }
    return gradients[0] == gradients[1] && energies[0] == energies[1];
}

bool run_all(const cuda::Sizes& sizes) {
    const std::int64_t pixels = sizes.height * sizes.width;
    const std::vector<float> image = random_floats(sizes.images * sizes.colours * pixels, 255);
    const std::vector<float> values = random_floats(sizes.images * sizes.channels * pixels, 1);
    const std::vector<float> mask = random_floats(sizes.images * pixels, 1);
    std::vector<float> filtered(values.size());
    bool fine = true;
    for (const cuda::Order order : {cuda::Order::forward, cuda::Order::backward, cuda::Order::mean}) {
        run_loss(sizes, sigmas, {order, false}, values, mask, image);
        const Result first = run_loss(sizes, sigmas, {order, true}, values, mask, image);
        const Result second = run_loss(sizes, sigmas, {order, true}, values, mask, image);
        fine = fine && first.gradient == second.gradient && first.energies == second.energies;
    }
    const Result impossible = run_loss(sizes, {1e-9, 40}, {cuda::Order::forward, false}, values, mask, image);
    fine = fine && (pixels == 1 || std::isnan(impossible.energies[0]));
    fine = fine && kept_give_the_same(sizes, values, image) && gated_gives_the_same(sizes, values, mask);
    Space boxes(cuda::exact_workspace(sizes));
    cuda::exact_filter(values.data(), image.data(), filtered.data(), sizes, sigmas, 1e-6, {boxes.memory(), nullptr});
    return fine;
}

} // namespace

int main() {
    const cuda::Sizes all[] = {{1, 1, 3, 1, 1}, {3, 21, 3, 19, 33}, {2, 5, 0, 17, 16}, {1, 70, 1, 8, 9},
                               {1, 3, 2, 33, 5}, {2, 4, 4, 18, 17}};
    bool fine = true;
    for (const cuda::Sizes& sizes : all) fine = run_all(sizes) && fine;
    std::puts(fine ? "fine" : "results differ");
    return fine ? 0 : 1;
}
