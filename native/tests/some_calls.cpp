// Computes the DenseCRF loss of one image CALLS times: some_calls FILE SIZE CHANNELS CALLS SIGMA_XY SIGMA_RGB.
// FILE holds the image [3, SIZE, SIZE] (float32), as instructions.py writes it.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "filter.hpp"

int main(int count, char** arguments) {
    if (count != 7) return 2;
    const std::int64_t size = std::atoll(arguments[2]), channels = std::atoll(arguments[3]);
    const rlossctl::Sizes sizes{1, channels, 3, size, size};
    std::vector<float> image(3 * sizes.pixels()), values(channels * sizes.pixels(), 1.0f / channels), gradient(values);
    const std::vector<float> mask(sizes.pixels(), 1.0f);
    std::FILE* file = std::fopen(arguments[1], "rb");
    if (file == nullptr || std::fread(image.data(), 4, image.size(), file) != image.size())
        return 2;
    std::fclose(file);
    double energy = 0;
    for (int call = 0; call < std::atoi(arguments[4]); ++call)
        rlossctl::densecrf(values.data(), mask.data(), image.data(), gradient.data(), &energy, sizes,
                           {std::atof(arguments[5]), std::atof(arguments[6])}, rlossctl::Order::forward, -2.0f, 1);
}
