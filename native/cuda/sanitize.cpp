// Runs every kernel over small random images in emulation, for sanitizers: the command is in docs/cuda.md.
// Workspaces have exactly the promised size, and the two deterministic runs must agree in every bit.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "emulate.hpp"
#include "filter.hpp"

namespace cuda = rlossctl::cuda;

namespace {

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

Result run_loss(const cuda::Sizes& sizes, const cuda::Options& options, const std::vector<float>& values,
                const std::vector<float>& mask, const std::vector<float>& image) {
    Result result{std::vector<float>(values.size()), std::vector<double>(sizes.images)};
    std::vector<double> workspace((cuda::lattice_workspace(sizes, options.order, options.deterministic) + 7) / 8);
    cuda::densecrf(values.data(), mask.data(), image.data(), result.gradient.data(), result.energies.data(), sizes,
                   options, -2.0f, {workspace.data(), workspace.size() * 8, nullptr});
    return result;
}

bool run_all(const cuda::Sizes& sizes) {
    const std::int64_t pixels = sizes.height * sizes.width;
    const std::vector<float> image = random_floats(sizes.images * sizes.colours * pixels, 255);
    const std::vector<float> values = random_floats(sizes.images * sizes.channels * pixels, 1);
    const std::vector<float> mask = random_floats(sizes.images * pixels, 1);
    std::vector<float> filtered(values.size());
    bool fine = true;
    for (const cuda::Order order : {cuda::Order::forward, cuda::Order::backward, cuda::Order::mean}) {
        run_loss(sizes, {30, 40, order, false}, values, mask, image);
        const Result first = run_loss(sizes, {30, 40, order, true}, values, mask, image);
        const Result second = run_loss(sizes, {30, 40, order, true}, values, mask, image);
        fine = fine && first.gradient == second.gradient && first.energies == second.energies;
    }
    const Result impossible = run_loss(sizes, {1e-9, 40, cuda::Order::forward, false}, values, mask, image);
    fine = fine && (pixels == 1 || std::isnan(impossible.energies[0]));
    std::vector<float> boxes(cuda::exact_workspace(sizes) / sizeof(float));
    cuda::exact_filter(values.data(), image.data(), filtered.data(), sizes, 30, 40, 1e-6,
                       {boxes.data(), boxes.size() * sizeof(float), nullptr});
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
