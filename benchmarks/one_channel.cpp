// The reference for filter.py: the scheme of the original DenseCRF loss, one channel at a time.
//
// Rewritten from its description, with the original's structure. Four pixels are embedded at a time. An open hash
// table of int16 keys has two slots for each vertex of each pixel, the most that could ever be needed, and is
// searched once for every pixel and vertex. The lists of vertex number and weight per pixel are read again for each
// channel, which has its own splat, double-buffered blur and slice in newly allocated memory. A value is an integer
// number of groups of four floats, known only at run time, so with one channel three lanes of each group are
// unused, and memcpy copies values in and out. The loss masks each plane into a copy, filters it and sums its
// product in float; the gradient is a separate pass. Nothing is made slower than in the original.
// filter.py compiles it with g++ -O2, like the original, and calls it through ctypes.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr int d = 5, edge = d + 1;
using Four = float __attribute__((vector_size(16)));
using FourInts = std::int32_t __attribute__((vector_size(16)));

struct Hash {
    std::vector<std::int16_t> keys;
    std::vector<int> table;

    explicit Hash(std::int64_t pixels) : table(2 * edge * pixels, -1) {}

    int count() const { return static_cast<int>(keys.size()) / d; }

    int find(const std::int16_t* key, bool add) {
        std::size_t hash = 0;
        for (int i = 0; i < d; ++i) hash = (hash + key[i]) * 1664525;
        std::size_t at = hash % table.size();
        for (; table[at] >= 0; at = at + 1 == table.size() ? 0 : at + 1)
            if (std::memcmp(&keys[table[at] * d], key, d * sizeof *key) == 0) return table[at];
        if (!add) return -1;
        table[at] = count();
        keys.insert(keys.end(), key, key + d);
        return table[at];
    }
};

struct Lattice {
    struct Neighbours {
        int before, after;
    };

    std::vector<int> vertex;
    std::vector<Neighbours> neighbours; // [edge][vertices]
    std::vector<float> weight;
    int vertices = 0;

    Lattice(const float* image, int height, int width, float sigma_xy, float sigma_rgb)
        : vertex(edge * height * width), weight(edge * height * width) {
        const int pixels = height * width;
        float scale[d];
        for (int i = 0; i < d; ++i) scale[i] = std::sqrt(2.0 / 3.0) * edge / std::sqrt((i + 1.0) * (i + 2.0));
        Hash hash(pixels);
        for (int p = 0; p < pixels; p += 4) {
            Four feature[d] = {}; // zero beyond the last pixel, as in the original
            for (int l = 0; l < 4 && p + l < pixels; ++l) {
                feature[0][l] = (p + l) % width / sigma_xy;
                feature[1][l] = (p + l) / width / sigma_xy;
                for (int c = 0; c < 3; ++c) feature[2 + c][l] = image[c * pixels + p + l] / sigma_rgb;
            }
            for (int i = 0; i < d; ++i) feature[i] *= scale[i];
            embed(feature, hash, p, pixels);
        }
        vertices = hash.count();
        neighbours.resize(edge * vertices);
        for (int j = 0; j < edge; ++j)
            for (int v = 0; v < vertices; ++v) {
                std::int16_t up[edge], down[edge]; // the last coordinate is not part of the key
                for (int i = 0; i < d; ++i) up[i] = hash.keys[v * d + i] - 1, down[i] = hash.keys[v * d + i] + 1;
                if (j < d) up[j] += edge, down[j] -= edge;
                neighbours[j * vertices + v] = {hash.find(up, false) + 1, hash.find(down, false) + 1};
            }
    }

    void embed(const Four* feature, Hash& hash, int p, int pixels) {
        constexpr float inverse = 1.0f / edge, magic = 12582912.0f; // the sum rounds to nearest
        Four elevated[edge], nearest[edge], total = {};
        FourInts rank[edge] = {}, sum = {};
        for (int i = d; i > 0; --i) {
            elevated[i] = total - static_cast<float>(i) * feature[i - 1];
            total += feature[i - 1];
        }
        elevated[0] = total;
        for (int i = 0; i < edge; ++i) {
            const Four quotient = (elevated[i] * inverse + magic) - magic;
            nearest[i] = quotient * static_cast<float>(edge);
            sum += __builtin_convertvector(quotient, FourInts);
        }
        for (int i = 0; i < edge; ++i)
            for (int j = i + 1; j < edge; ++j) {
                const FourInts less = elevated[i] - nearest[i] < elevated[j] - nearest[j];
                rank[i] -= less;
                rank[j] += 1 + less;
            }
        for (int i = 0; i < edge; ++i) {
            rank[i] += sum;
            const FourInts step = (rank[i] > d) - (rank[i] < 0);
            rank[i] += step * edge;
            nearest[i] += __builtin_convertvector(step, Four) * static_cast<float>(edge);
        }
        for (int l = 0; l < 4; ++l) {
            float bary[edge + 1] = {};
            for (int i = 0; i < edge; ++i) {
                const float v = (elevated[i][l] - nearest[i][l]) * inverse;
                bary[d - rank[i][l]] += v;
                bary[edge - rank[i][l]] -= v;
            }
            bary[0] += 1 + bary[edge];
            for (int r = 0; r < edge; ++r) {
                std::int16_t key[d];
                for (int i = 0; i < d; ++i)
                    key[i] = static_cast<std::int16_t>(nearest[i][l]) + (rank[i][l] <= d - r ? r : r - edge);
                const int id = hash.find(key, true) + 1;
                if (p + l >= pixels) continue;
                vertex[(p + l) * edge + r] = id;
                weight[(p + l) * edge + r] = bary[r];
            }
        }
    }

    // in, out: [pixels][size]. The original compiles this separately from the loss, without knowing that size is 1.
    __attribute__((noipa)) void filter(const float* in, float* out, int pixels, int size) const {
        const int groups = (size - 1) / 4 + 1;
        std::vector<Four> now((vertices + 1) * groups), next(now.size()), value(groups); // 0: missing neighbours
        for (int p = 0; p < pixels; ++p) {
            std::memcpy(value.data(), in + p * size, size * sizeof(float));
            for (int r = 0; r < edge; ++r) {
                const int at = vertex[p * edge + r] * groups;
                for (int g = 0; g < groups; ++g) now[at + g] += weight[p * edge + r] * value[g];
            }
        }
        for (int j = 0; j < edge; ++j) {
            for (int v = 0; v < vertices; ++v) {
                const Neighbours beside = neighbours[j * vertices + v];
                for (int g = 0; g < groups; ++g) {
                    const Four sum = now[beside.before * groups + g] + now[beside.after * groups + g];
                    next[(v + 1) * groups + g] = now[(v + 1) * groups + g] + 0.5f * sum;
                }
            }
            now.swap(next);
        }
        constexpr float alpha = 1.0f / (1.0f + 1.0f / (1 << d));
        for (int p = 0; p < pixels; ++p) {
            for (int g = 0; g < groups; ++g) value[g] = Four{};
            for (int r = 0; r < edge; ++r) {
                const int at = vertex[p * edge + r] * groups;
                for (int g = 0; g < groups; ++g) value[g] += weight[p * edge + r] * alpha * now[at + g];
            }
            std::memcpy(out + p * size, value.data(), size * sizeof(float));
        }
    }
};

} // namespace

// values, gradient [images][channels][pixels], mask [images][pixels]: the loss and its gradient.
extern "C" double one_channel_loss(const float* values, const float* mask, const float* image, float* gradient,
                                   int images, int channels, int height, int width, float sigma_xy, float sigma_rgb,
                                   int threads) {
    const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
    double loss = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : loss)
    for (int n = 0; n < images; ++n) {
        const Lattice lattice(image + n * 3 * pixels, height, width, sigma_xy, sigma_rgb);
        const std::unique_ptr<float[]> masked(new float[pixels]);
        for (int k = 0; k < channels; ++k) {
            const float* plane = values + (n * channels + k) * pixels;
            float* filtered = gradient + (n * channels + k) * pixels;
            for (int p = 0; p < pixels; ++p) masked[p] = plane[p] * mask[n * pixels + p];
            lattice.filter(masked.get(), filtered, static_cast<int>(pixels), 1);
            float energy = 0;
            for (int p = 0; p < pixels; ++p) energy += masked[p] * filtered[p];
            loss -= energy / images;
        }
    }
#pragma omp parallel for num_threads(threads)
    for (int n = 0; n < images; ++n)
        for (int k = 0; k < channels; ++k) {
            float* plane = gradient + (n * channels + k) * pixels;
            for (int p = 0; p < pixels; ++p) plane[p] *= mask[n * pixels + p] * (-2.0f / images);
        }
    return loss;
}

extern "C" void one_channel_filter(const float* values, const float* image, float* filtered, int images, int channels,
                                   int height, int width, float sigma_xy, float sigma_rgb, int threads) {
    const std::int64_t pixels = static_cast<std::int64_t>(height) * width;
#pragma omp parallel for num_threads(threads)
    for (int n = 0; n < images; ++n) {
        const Lattice lattice(image + n * 3 * pixels, height, width, sigma_xy, sigma_rgb);
        for (int k = 0; k < channels; ++k)
            lattice.filter(values + (n * channels + k) * pixels, filtered + (n * channels + k) * pixels,
                           static_cast<int>(pixels), 1);
    }
}
