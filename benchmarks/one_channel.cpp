// The yardstick of filter.py: the scheme of the original DenseCRF loss, one channel at a time.
//
// Written anew from its description, after the structure of the original: a lattice of int16 keys in an
// open hash table with one look-up per pixel and vertex, lists of vertex number and weight per pixel, and for
// each channel its own splat, double-buffered blur and slice over these lists. As in the original a value is
// a whole number of groups of four floats, found out while it runs, so that with one channel three lanes of
// each group are unused, and values are copied in and out by memcpy. Unlike it, pixels are embedded one by one.
// It is kinder than the original in small things (buffers, hashing), so a ratio to it is no ratio to the original.
// filter.py compiles it with g++ -O2, as the original is, and calls it through ctypes.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int d = 5, edge = d + 1;
using Four = float __attribute__((vector_size(16)));

struct Hash {
    std::vector<std::int16_t> keys;
    std::vector<int> table = std::vector<int>(1 << 15, -1);

    static std::size_t mix(const std::int16_t* key) {
        std::size_t h = 0;
        for (int i = 0; i < d; ++i) h = (h + key[i]) * 1664525;
        return h;
    }
    int count() const { return static_cast<int>(keys.size()) / d; }

    int find(const std::int16_t* key, bool add) {
        if (add && 2 * count() >= static_cast<int>(table.size())) {
            table.assign(table.size() * 2, -1);
            for (int id = 0; id < count(); ++id) table[slot(&keys[id * d])] = id;
        }
        const std::size_t at = slot(key);
        if (table[at] < 0 && add) {
            table[at] = count();
            keys.insert(keys.end(), key, key + d);
        }
        return table[at];
    }
    std::size_t slot(const std::int16_t* key) const {
        std::size_t at = mix(key) % table.size();
        while (table[at] >= 0 && std::memcmp(&keys[table[at] * d], key, d * sizeof *key) != 0)
            at = at + 1 == table.size() ? 0 : at + 1;
        return at;
    }
};

struct Lattice {
    std::vector<int> vertex, before[edge], after[edge];
    std::vector<float> weight;
    int vertices = 0;

    Lattice(const float* image, int height, int width, float sigma_xy, float sigma_rgb) {
        const int pixels = height * width;
        vertex.resize(edge * pixels);
        weight.resize(edge * pixels);
        float scale[d];
        for (int i = 0; i < d; ++i) scale[i] = std::sqrt(2.0 / 3.0) * edge / std::sqrt((i + 1.0) * (i + 2.0));
        Hash hash;
        for (int p = 0; p < pixels; ++p) {
            float feature[d] = {p % width / sigma_xy, p / width / sigma_xy};
            for (int c = 0; c < 3; ++c) feature[2 + c] = image[c * pixels + p] / sigma_rgb;
            for (int i = 0; i < d; ++i) feature[i] *= scale[i];
            embed(feature, hash, p);
        }
        vertices = hash.count();
        for (int j = 0; j < edge; ++j)
            for (int v = 0; v < vertices; ++v) {
                std::int16_t up[edge], down[edge]; // the last coordinate is not part of the key
                for (int i = 0; i < d; ++i) up[i] = hash.keys[v * d + i] - 1, down[i] = hash.keys[v * d + i] + 1;
                if (j < d) up[j] += edge, down[j] -= edge;
                before[j].push_back(hash.find(up, false) + 1);
                after[j].push_back(hash.find(down, false) + 1);
            }
    }

    void embed(const float* feature, Hash& hash, int p) {
        float elevated[edge], nearest[edge], bary[edge + 1] = {};
        int rank[edge] = {}, sum = 0;
        float total = 0;
        for (int i = d; i > 0; --i) {
            elevated[i] = total - i * feature[i - 1];
            total += feature[i - 1];
        }
        elevated[0] = total;
        for (int i = 0; i < edge; ++i) {
            nearest[i] = std::nearbyint(elevated[i] / edge) * edge;
            sum += static_cast<int>(nearest[i]) / edge;
        }
        for (int i = 0; i < edge; ++i)
            for (int j = i + 1; j < edge; ++j)
                elevated[i] - nearest[i] < elevated[j] - nearest[j] ? ++rank[i] : ++rank[j];
        for (int i = 0; i < edge; ++i) {
            rank[i] += sum;
            if (rank[i] < 0) rank[i] += edge, nearest[i] += edge;
            else if (rank[i] > d) rank[i] -= edge, nearest[i] -= edge;
            const float v = (elevated[i] - nearest[i]) / edge;
            bary[d - rank[i]] += v;
            bary[edge - rank[i]] -= v;
        }
        bary[0] += 1 + bary[edge];
        for (int r = 0; r < edge; ++r) {
            std::int16_t key[d];
            for (int i = 0; i < d; ++i) key[i] = static_cast<int>(nearest[i]) + (rank[i] <= d - r ? r : r - edge);
            vertex[p * edge + r] = hash.find(key, true) + 1;
            weight[p * edge + r] = bary[r];
        }
    }

    // in, out: [pixels][size]
    void filter(const float* in, float* out, int pixels, int size) const {
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
            for (int v = 0; v < vertices; ++v)
                for (int g = 0; g < groups; ++g) {
                    const Four beside = now[before[j][v] * groups + g] + now[after[j][v] * groups + g];
                    next[(v + 1) * groups + g] = now[(v + 1) * groups + g] + 0.5f * beside;
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
