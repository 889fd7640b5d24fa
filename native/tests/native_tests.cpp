// Tests the native filter against its own rules: every instruction set, odd sizes, many threads, a fork.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "chain.hpp"
#include "check.hpp"
#include "filter.hpp"
#include "gated.hpp"
#include "threads.hpp"
#include "tree.hpp"

using namespace rlossctl;

namespace {

using Floats = std::vector<float>;

constexpr Sigmas sigmas{20.0, 15.0};

Floats random_floats(std::int64_t count, float low, float high, unsigned seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> draw(low, high);
    Floats numbers(count);
    for (float& number : numbers) number = draw(generator);
    return numbers;
}

struct Case {
    Sizes sizes;
    Floats image, values, mask;

    explicit Case(const Sizes& s)
        : sizes(s), image(random_floats(s.images * s.colours * s.pixels() + 1, 0, 255, 1)),
          values(random_floats(s.images * s.channels * s.pixels(), 0, 1, 2)),
          mask(random_floats(s.images * s.pixels(), 0, 1, 3)) {
        for (float& m : mask) m = m < 0.7f ? 1.0f : 0.0f;
        // Smooth, so that pixels share simplices.
        for (std::size_t i = 0; i < image.size(); ++i) image[i] = std::floor(0.1f * image[i] + 2.0f * (i % s.width));
    }

    Floats filter(Order order = Order::forward, int threads = 1, Sigmas used = sigmas) const {
        Floats filtered(values.size());
        bilateral_filter(values.data(), image.data(), filtered.data(), sizes, used, order, threads);
        return filtered;
    }
};

const std::vector<Sizes> odd_sizes{{1, 1, 3, 1, 1},   {2, 21, 3, 17, 19}, {1, 5, 0, 9, 33}, {1, 9, 1, 16, 16},
                                   {3, 8, 2, 5, 7},   {1, 3, 4, 12, 13},  {1, 150, 3, 9, 9}, {1, 33, 3, 1, 50}};

double dot(const Floats& a, const Floats& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
    return sum;
}

double distance(const Floats& a, const Floats& b) {
    double apart = 0;
    for (std::size_t i = 0; i < a.size(); ++i) apart += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    return std::sqrt(apart / std::max(dot(b, b), 1e-30));
}

void with_each_path(void (*run)()) {
    setenv("RLOSSCTL_SIMD", "", 1);
    const std::string best = simd();
    for (const char* path : {"plain", "avx2", "avx512"}) {
        setenv("RLOSSCTL_SIMD", path, 1);
        run();
        if (path == best) break;
    }
    setenv("RLOSSCTL_SIMD", "", 1);
}

// A window, two groups of kernels over the case's image, and gates.
struct Gates {
    const Case& one;
    std::int64_t rows, columns;
    Floats features, table, source, destination;

    Gates(const Case& c, std::int64_t radius)
        : one(c), rows(std::min(radius, c.sizes.height - 1)), columns(std::min(radius, c.sizes.width - 1)),
          features(random_floats(2 * c.sizes.images * c.sizes.colours * c.sizes.pixels() + 1, 0, 3, 4)),
          table(random_floats(3 * offsets(), 0, 1, 5)),
          source(random_floats(c.sizes.images * c.sizes.pixels(), 0, 1, 6)),
          destination(random_floats(c.sizes.images * c.sizes.pixels(), 0, 1, 7)) {
        for (std::int64_t g = 0; g < 3; ++g)
            for (std::int64_t d = 0; d <= offsets() / 2; ++d) // the same for d and -d, 0 in the centre
                table[g * offsets() + d] = d == offsets() / 2 ? 0 : table[(g + 1) * offsets() - 1 - d];
    }

    std::int64_t offsets() const { return (2 * rows + 1) * (2 * columns + 1); }
    Pairs pairs() const {
        return {features.data(), table.data(), source.data(), destination.data(), 2, rows, columns};
    }

    Floats filter(int threads = 1) const {
        Floats filtered(one.values.size());
        gated_filter(one.values.data(), pairs(), filtered.data(), one.sizes, threads);
        return filtered;
    }

    Floats gradient(std::vector<double>& energies, int threads = 1) const {
        Floats found(one.values.size());
        energies.resize(one.sizes.images);
        gated_crf(one.values.data(), pairs(), found.data(), energies.data(), one.sizes, threads);
        return found;
    }

    double kernel(std::int64_t n, std::int64_t i, std::int64_t j) const {
        const Sizes& s = one.sizes;
        const std::int64_t dy = j / s.width - i / s.width, dx = j % s.width - i % s.width;
        if (std::abs(dy) > rows || std::abs(dx) > columns) return 0;
        const std::int64_t d = (dy + rows) * (2 * columns + 1) + dx + columns;
        double sum = table[d];
        for (std::int64_t g = 0; g < 2; ++g) {
            double distance = 0;
            for (std::int64_t f = 0; f < s.colours; ++f) {
                const float* plane = features.data() + ((g * s.images + n) * s.colours + f) * s.pixels();
                distance += std::pow(double{plane[i]} - plane[j], 2);
            }
            sum += table[(g + 1) * offsets() + d] * std::exp(-0.5 * distance);
        }
        return sum;
    }
};

} // namespace

TEST(gated_filter_is_its_formula) {
    with_each_path([] {
        for (const Sizes& sizes : odd_sizes)
            for (const std::int64_t radius : {1, 4, 70}) {
                const Case one(sizes);
                const Gates gates(one, radius);
                std::vector<double> energies;
                const Floats filtered = gates.filter(2), gradient = gates.gradient(energies, 3);
                Floats expected(filtered.size()), slope(filtered.size());
                for (std::int64_t n = 0; n < sizes.images; ++n) {
                    double energy = 0;
                    const float* s = gates.source.data() + n * sizes.pixels();
                    const float* t = gates.destination.data() + n * sizes.pixels();
                    const float* values = one.values.data() + n * sizes.channels * sizes.pixels();
                    for (std::int64_t i = 0; i < sizes.pixels(); ++i) {
                        std::vector<double> one_way(sizes.channels), both(sizes.channels);
                        for (std::int64_t j = 0; j < sizes.pixels(); ++j) {
                            const double k = gates.kernel(n, i, j), weight = k * (t[i] * s[j] + t[j] * s[i]);
                            energy += weight / 2;
                            for (std::int64_t c = 0; c < sizes.channels; ++c) {
                                const double other = values[c * sizes.pixels() + j];
                                one_way[c] += k * t[i] * s[j] * other;
                                both[c] -= weight * other;
                                energy -= weight / 2 * other * values[c * sizes.pixels() + i];
                            }
                        }
                        for (std::int64_t c = 0; c < sizes.channels; ++c) {
                            const std::int64_t at = (n * sizes.channels + c) * sizes.pixels() + i;
                            expected[at] = static_cast<float>(one_way[c]), slope[at] = static_cast<float>(both[c]);
                        }
                    }
                    CHECK(std::abs(energies[n] - energy) <= 1e-5 * std::abs(energy));
                }
                CHECK(distance(filtered, expected) < 1e-6 && distance(gradient, slope) < 1e-6);
            }
    });
}

TEST(threads_change_nothing_in_the_gated_filter) {
    for (const Sizes& sizes : odd_sizes) {
        const Case one(sizes);
        const Gates gates(one, 3);
        std::vector<double> expected, energies;
        const Floats gradient = gates.gradient(expected);
        for (int threads = 2; threads < 8; ++threads) {
            CHECK(gates.filter(threads) == gates.filter());
            CHECK(gates.gradient(energies, threads) == gradient && energies == expected);
        }
    }
}

TEST(paths_agree) {
    with_each_path([] {
        for (const Sizes& sizes : odd_sizes) {
            const Case one(sizes);
            const Floats found = one.filter();
            const std::string path = getenv("RLOSSCTL_SIMD");
            setenv("RLOSSCTL_SIMD", "plain", 1);
            const Floats expected = one.filter();
            setenv("RLOSSCTL_SIMD", path.c_str(), 1);
            CHECK(distance(found, expected) < 1e-6);
        }
    });
}

TEST(threads_change_nothing) {
    for (const Sizes& sizes : odd_sizes) {
        const Case one(sizes);
        for (const Order order : {Order::forward, Order::mean})
            for (int threads = 2; threads < 8; ++threads) CHECK(one.filter(order, threads) == one.filter(order, 1));
    }
}

TEST(backward_is_the_transpose) {
    with_each_path([] {
        for (const Sizes& sizes : odd_sizes) {
            Case one(sizes);
            const Floats forward = one.filter(), mean = one.filter(Order::mean), backward = one.filter(Order::backward);
            Floats half(forward.size());
            for (std::size_t i = 0; i < half.size(); ++i) half[i] = 0.5f * (forward[i] + backward[i]);
            CHECK(distance(mean, half) < 1e-6);
            const Floats values = one.values;
            one.values = random_floats(static_cast<std::int64_t>(values.size()), -1, 2, 9);
            const double left = dot(one.values, forward), right = dot(one.filter(Order::backward), values);
            CHECK(std::abs(left - right) < 1e-5 * std::abs(left));
        }
    });
}

TEST(loss_is_the_filter_of_masked_values) {
    with_each_path([] {
        for (const Sizes& sizes : odd_sizes) {
            Case one(sizes);
            Floats gradient(one.values.size()), expected = gradient;
            std::vector<double> energies(sizes.images);
            densecrf(one.values.data(), one.mask.data(), one.image.data(), gradient.data(), energies.data(),
                     sizes, sigmas, Order::forward, -2.0f, 3);
            const auto mask = [&](std::int64_t i) {
                return one.mask[i / (sizes.channels * sizes.pixels()) * sizes.pixels() + i % sizes.pixels()];
            };
            for (std::size_t i = 0; i < expected.size(); ++i) one.values[i] *= mask(static_cast<std::int64_t>(i));
            const Floats filtered = one.filter();
            for (std::size_t i = 0; i < expected.size(); ++i)
                expected[i] = -2.0f * mask(static_cast<std::int64_t>(i)) * filtered[i];
            CHECK(distance(gradient, expected) < 1e-6);
            double total = 0;
            for (const double energy : energies) total += energy;
            CHECK(std::abs(total - dot(one.values, filtered)) <= 1e-6 * std::abs(total));
        }
    });
}

TEST(kept_lattices_give_the_same) {
    const Case one(Sizes{2, 21, 3, 17, 19});
    const Lattices kept(one.image.data(), one.sizes, sigmas, 2);
    CHECK(kept.vertices() > 0);
    Floats filtered(one.values.size());
    for (int i = 0; i < 2; ++i) {
        kept.filter(one.values.data(), filtered.data(), one.sizes.channels, Order::backward, 2);
        CHECK(filtered == one.filter(Order::backward));
    }
}

TEST(small_sigmas_need_wide_keys) {
    const Case one(Sizes{1, 3, 3, 13, 11});
    const Sigmas small{0.5, 0.3};
    for (const float value : one.filter(Order::forward, 2, small)) CHECK(std::isfinite(value));
}

TEST(what_has_no_keys_is_an_error) {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float odd : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), 1e9f})
        for (const std::int64_t place : {0, 100, 2 * 17 * 19 * 3 - 1}) {
            Case one(Sizes{2, 2, 3, 17, 19});
            one.image[place] = odd;
            bool thrown = false;
            try {
                one.filter(Order::forward, 3);
            } catch (const std::domain_error&) {
                thrown = true;
            }
            CHECK(thrown);
        }
}

TEST(exact_filter_is_the_gaussian_sum) {
    with_each_path([] {
        for (const Sizes& sizes : odd_sizes) {
            if (sizes.channels > 21) continue;
            const Case one(sizes);
            const std::int64_t pixels = sizes.pixels();
            Floats filtered(one.values.size()), expected = filtered;
            exact_filter(one.values.data(), one.image.data(), filtered.data(), sizes, sigmas, 0.0, 2);
            for (std::int64_t n = 0; n < sizes.images; ++n)
                for (std::int64_t i = 0; i < pixels; ++i) {
                    std::vector<double> sums(sizes.channels);
                    for (std::int64_t j = 0; j < pixels; ++j) {
                        const double x = i % sizes.width - j % sizes.width, y = i / sizes.width - j / sizes.width;
                        double exponent = (x * x + y * y) / (sigmas.xy * sigmas.xy);
                        for (std::int64_t c = 0; c < sizes.colours; ++c) {
                            const float* plane = one.image.data() + (n * sizes.colours + c) * pixels;
                            exponent += std::pow((double{plane[i]} - plane[j]) / sigmas.rgb, 2);
                        }
                        for (std::int64_t c = 0; c < sizes.channels; ++c)
                            sums[c] += std::exp(-0.5 * exponent) * one.values[(n * sizes.channels + c) * pixels + j];
                    }
                    for (std::int64_t c = 0; c < sizes.channels; ++c)
                        expected[(n * sizes.channels + c) * pixels + i] = static_cast<float>(sums[c]);
                }
            CHECK(distance(filtered, expected) < 1e-6);
        }
    });
}

TEST(an_unknown_path_is_an_error) {
    setenv("RLOSSCTL_SIMD", "mmx", 1);
    bool thrown = false;
    try {
        simd();
    } catch (const std::invalid_argument&) {
        thrown = true;
    }
    setenv("RLOSSCTL_SIMD", "", 1);
    CHECK(thrown);
}

TEST(parts_hand_on_exceptions_and_nest) {
    bool thrown = false;
    try {
        parallel(20, 4, [](int part) {
            if (part == 7) throw std::runtime_error("seven");
        });
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    CHECK(thrown);
    std::atomic<int> count{0};
    parallel(5, 3, [&](int) { parallel(7, 3, [&](int) { ++count; }); });
    CHECK(count == 35);
}

TEST(callers_do_not_disturb_each_other) {
    const Case one(Sizes{2, 21, 3, 17, 19}), other(Sizes{1, 3, 4, 12, 13});
    const Floats expected = one.filter(), other_expected = other.filter();
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i)
        callers.emplace_back([&, i] {
            for (int k = 0; k < 5; ++k)
                wrong += i % 2 == 0 ? one.filter(Order::forward, 3) != expected
                                    : other.filter(Order::forward, 2) != other_expected;
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(wrong == 0);
}

namespace {

// Max-marginals and their gradients of random chains.
struct Chains {
    Floats marginals, forwards, backwards, unary_slope, pairwise_slope;
    double temperature_slope = 0;

    Chains(const ChainSizes& sizes, float temperature, int threads) {
        const std::int64_t unaries = sizes.images * sizes.length * sizes.labels * sizes.width;
        const std::int64_t pairs = sizes.images * sizes.pairs() * sizes.labels * sizes.labels * sizes.width;
        const Floats unary = random_floats(unaries, -2, 2, 1), pairwise = random_floats(pairs, -2, 2, 2);
        for (Floats* floats : {&marginals, &forwards, &backwards, &unary_slope}) floats->resize(unaries);
        pairwise_slope.resize(pairs);
        chain_marginals(unary.data(), pairwise.data(), temperature, sizes, marginals.data(), forwards.data(),
                        backwards.data(), threads);
        chain_gradients(marginals.data(), unary.data(), pairwise.data(), forwards.data(), backwards.data(), temperature,
                        sizes, unary_slope.data(), pairwise_slope.data(), &temperature_slope, threads);
    }
};

const std::vector<ChainSizes> chain_sizes{{1, 5, 3, 4, 1}, {2, 7, 21, 17, 2}, {3, 2, 1, 33, 1}, {1, 3, 4, 1, 5}};

} // namespace

TEST(chains_do_not_depend_on_threads) {
    for (const ChainSizes& sizes : chain_sizes)
        for (const float temperature : {0.0f, 0.5f}) {
            const Chains one(sizes, temperature, 1), many(sizes, temperature, 4);
            CHECK(one.marginals == many.marginals && one.unary_slope == many.unary_slope);
            CHECK(one.pairwise_slope == many.pairwise_slope && one.temperature_slope == many.temperature_slope);
        }
}

TEST(chains_are_alike_on_each_path) {
    with_each_path([] {
        for (const ChainSizes& sizes : chain_sizes) {
            const Chains found(sizes, 0.5f, 2);
            const std::string path = getenv("RLOSSCTL_SIMD");
            setenv("RLOSSCTL_SIMD", "plain", 1);
            const Chains expected(sizes, 0.5f, 2);
            setenv("RLOSSCTL_SIMD", path.c_str(), 1);
            CHECK(distance(found.marginals, expected.marginals) < 1e-6);
            CHECK(distance(found.pairwise_slope, expected.pairwise_slope) < 1e-5);
        }
    });
}

TEST(trees_keep_constants_and_do_not_depend_on_threads) {
    for (const TreeSizes& sizes : {TreeSizes{3, 5, 6, 7}, TreeSizes{2, 1, 1, 9}, TreeSizes{2, 3, 8, 1}, TreeSizes{1, 2, 1, 1}}) {
        const std::int64_t pixels = sizes.images * sizes.pixels(), values = pixels * sizes.channels;
        const Floats weights = random_floats(sizes.images * sizes.edges() + 1, 1, 2, 4);
        const Floats affinity = random_floats(pixels, 0, 1, 5), slope = random_floats(values, -1, 1, 6);
        std::vector<std::int64_t> order(pixels), parent(pixels);
        spanning_trees(weights.data(), sizes, order.data(), parent.data(), 3);
        Floats filtered(values), one(values), many(values), affinity_slope(pixels), again(pixels);
        tree_filter(Floats(values, 2.0f).data(), affinity.data(), order.data(), parent.data(), sizes, filtered.data(), 2);
        for (const float value : filtered) CHECK(std::abs(value - 2) < 1e-5f);
        tree_gradients(slope.data(), slope.data(), affinity.data(), order.data(), parent.data(), sizes, one.data(),
                       affinity_slope.data(), 1);
        tree_gradients(slope.data(), slope.data(), affinity.data(), order.data(), parent.data(), sizes, many.data(),
                       again.data(), 3);
        CHECK(one == many && affinity_slope == again);
        tree_gradients(slope.data(), slope.data(), affinity.data(), order.data(), parent.data(), sizes, many.data(),
                       nullptr, 3);
        CHECK(distance(many, one) < 1e-5);
    }
}

TEST(callers_of_chains_trees_and_windows_do_not_disturb_each_other) {
    const Case one(Sizes{2, 21, 3, 17, 19});
    const Gates gates(one, 5);
    const ChainSizes chain{2, 7, 21, 17, 2};
    const TreeSizes tree{2, 3, 17, 19};
    const Floats weights = random_floats(tree.images * tree.edges(), 1, 2, 4);
    const auto parents = [&](int threads) {
        std::vector<std::int64_t> order(tree.images * tree.pixels()), parent(order.size());
        spanning_trees(weights.data(), tree, order.data(), parent.data(), threads);
        return parent;
    };
    std::vector<double> energies;
    const Floats gradient = gates.gradient(energies), marginals = Chains(chain, 0.5f, 1).marginals;
    const std::vector<std::int64_t> expected = parents(1);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 3; ++i)
        callers.emplace_back([&, i] {
            std::vector<double> found;
            for (int k = 0; k < 3; ++k) {
                wrong += gates.gradient(found, 1 + i) != gradient || found != energies;
                wrong += Chains(chain, 0.5f, 1 + i).marginals != marginals || parents(1 + i) != expected;
            }
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(wrong == 0);
}

TEST(a_window_is_gathered_alike_in_bands_and_at_once) {
    with_each_path([] { // more threads, smaller bands; a window of 130 columns is too large for kernels to be kept
        const Case one(Sizes{1, 3, 3, 37, 131});
        for (const std::int64_t radius : {3, 130}) {
            const Gates gates(one, radius);
            std::vector<double> expected, energies;
            const Floats gradient = gates.gradient(expected);
            CHECK(gates.gradient(energies, 16) == gradient && energies == expected);
        }
    });
}

#if !defined(__SANITIZE_THREAD__) // its runtime cannot start threads in the child of a process that has threads
TEST(a_forked_child_filters_too) {
    const Case one(Sizes{2, 21, 3, 17, 19});
    const Floats expected = one.filter(Order::forward, 3);
    const pid_t child = fork();
    if (child == 0) _exit(one.filter(Order::forward, 3) == expected ? 0 : 1);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

int main() {
    for (const Test& test : tests()) {
        std::printf("%s\n", test.name);
        test.run();
    }
    std::printf("%zu tests passed\n", tests().size());
}
