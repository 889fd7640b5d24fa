// The filter of points, the best class and probabilities, on every instruction set and number of threads.
#include <array>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>

#include "best.hpp"
#include "check.hpp"
#include "points.hpp"
#include "softmax.hpp"

using namespace rlossctl;

namespace {

std::vector<float> random_floats(std::int64_t count, float low, float high) {
    std::mt19937 generator(static_cast<unsigned>(count));
    std::uniform_real_distribution<float> draw(low, high);
    std::vector<float> numbers(count);
    for (float& number : numbers) number = draw(generator);
    return numbers;
}

// Those that this processor does not have are left out.
template <class Work>
void on_each_path(const Work& work) {
    for (const char* path : {"plain", "avx2", "avx512"}) {
        setenv("RLOSSCTL_SIMD", path, 1);
        try {
            simd();
        } catch (const std::invalid_argument&) {
            continue;
        }
        work();
    }
    unsetenv("RLOSSCTL_SIMD");
}

} // namespace

TEST(points_of_an_image_are_filtered_as_the_image) {
    const Sizes sizes{1, 9, 3, 7, 11};
    const std::vector<float> image = random_floats(3 * sizes.pixels(), 0, 90);
    const std::vector<float> values = random_floats(9 * sizes.pixels(), 0, 1);
    std::vector<float> points;
    for (std::int64_t p = 0; p < sizes.pixels(); ++p) {
        points.insert(points.end(), {static_cast<float>(p % 11) / 5.0f, static_cast<float>(p / 11) / 5.0f});
        for (int c = 0; c < 3; ++c) points.push_back(image[c * sizes.pixels() + p] / 20.0f);
    }
    on_each_path([&] {
        for (const Order order : {Order::forward, Order::backward, Order::mean})
            for (int threads = 1; threads < 4; ++threads) {
                std::vector<float> expected(values.size()), found(values.size());
                bilateral_filter(values.data(), image.data(), expected.data(), sizes, {5, 20}, order, threads);
                const PointLattices lattices(points.data(), 1, sizes.pixels(), 5, threads);
                lattices.filter(values.data(), found.data(), 9, order, threads);
                CHECK(found == expected && lattices.vertices() > 0);
            }
    });
}

TEST(points_that_have_no_keys_are_an_error) {
    for (const float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e9f}) {
        std::vector<float> points = random_floats(3 * 10, 0, 4);
        points[13] = odd;
        bool refused = false;
        try {
            const PointLattices lattices(points.data(), 1, 10, 3, 1);
        } catch (const std::domain_error&) {
            refused = true;
        }
        CHECK(refused);
    }
}

TEST(the_best_class_is_the_last_of_the_greatest) {
    const std::int64_t classes = 5, rows = 6, columns = 37;
    std::vector<float> scores = random_floats(classes * rows * columns, 0, 4);
    for (float& score : scores) score = static_cast<float>(static_cast<int>(score)); // with ties
    const std::vector<std::uint8_t> truth(rows * columns, 7);
    on_each_path([&] {
        for (int threads = 1; threads < 4; ++threads) {
            std::vector<std::uint8_t> labels(rows * columns);
            std::vector<std::int64_t> pairs(256 * classes);
            CHECK(best_classes({scores.data(), classes, rows, columns}, {}, rows, columns,
                               {labels.data(), truth.data(), pairs.data()}, threads));
            std::vector<std::int64_t> expected(256 * classes);
            for (std::int64_t p = 0; p < rows * columns; ++p) {
                std::int64_t best = 0;
                for (std::int64_t c = 1; c < classes; ++c)
                    if (scores[c * rows * columns + p] >= scores[best * rows * columns + p]) best = c;
                CHECK(labels[p] == best);
                ++expected[7 * classes + best];
            }
            CHECK(pairs == expected);
            std::vector<float> odd = scores;
            odd.back() = std::numeric_limits<float>::quiet_NaN();
            CHECK(!best_classes({odd.data(), classes, rows, columns}, {}, rows, columns,
                                {labels.data(), nullptr, nullptr}, threads));
        }
    });
}

TEST(probabilities_are_the_same_on_any_number_of_threads) {
    constexpr std::int64_t classes = 5, rows = 13, columns = 37, pixels = rows * columns;
    const std::vector<float> scores = random_floats(classes * pixels, -9, 9);
    on_each_path([&] {
        std::vector<float> plane(pixels), first(pixels), greatest(pixels), total(pixels);
        std::vector<std::uint8_t> masks(classes * pixels), labels(pixels), first_labels(pixels);
        const Probabilities source{{scores.data(), classes, rows, columns}, {}, rows, columns, 1.0f,
                                   greatest.data(), total.data()};
        for (int threads = 1; threads < 4; ++threads) {
            const Met met = softmax_norms(source, greatest.data(), total.data(), threads);
            CHECK(!met.odd && met.negative);
            double sum = 0;
            for (std::int64_t c = 0; c < classes; ++c) {
                probability_plane(source, c, plane.data(), threads);
                for (std::int64_t i = 0; i < pixels; ++i)
                    sum += plane[i], masks[c * pixels + i] = plane[i] > 0.3f;
            }
            CHECK(sum > pixels * (1 - 1e-6) && sum < pixels * (1 + 1e-6));
            if (threads == 1) first = plane;
            CHECK(plane == first);

            std::vector<std::int64_t> counts(2);
            std::vector<std::array<std::int64_t, 6>> sums(2);
            probability_bins(plane.data(), pixels, {23, 126, 2}, counts.data(),
                             reinterpret_cast<WordSums*>(sums.data()));
            CHECK(counts[0] + counts[1] == pixels);
            std::vector<std::array<std::int64_t, 3>> shared(classes);
            shared_sums(source, masks.data(), reinterpret_cast<std::int64_t(*)[3]>(shared.data()), threads);
            CHECK(shared[0][0] > 0 && shared[0][1] > 0);
            const std::vector<double> zeros(classes, 0.0), ones(classes, 1.0);
            mask_labels(source, masks.data(), {zeros.data(), ones.data(), zeros.data(), 0.0, false}, -1, labels.data(),
                        threads);
            if (threads == 1) first_labels = labels;
            CHECK(labels == first_labels);
        }
    });
}
