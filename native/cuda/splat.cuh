// Splatting: each vertex gets the weighted sum of the pixels around it.
#pragma once

#include "lattice.cuh"
#include "sums.cuh"

namespace rlossctl::cuda {

// The entries (pixel, weight) of a tile, in the order of their vertices.
struct SplatTile {
    static constexpr int entries = tile_pixels * max_edge;
    static constexpr int per_thread = 8;
    static constexpr int groups = 4; // of channels, treated together
    float weight[entries];
    unsigned char pixel[entries];
    int start[per_thread * tile_pixels]; // where the entries of each vertex begin; has room for more than the vertices
    int partial[tile_pixels];
    float4 values[tile_pixels * groups];
};
static_assert(SplatTile::per_thread * tile_pixels > max_tile_vertices && tile_pixels <= 256);

// start[i] becomes start[0] + ... + start[i].
__device__ inline void accumulate_starts(SplatTile& tile) {
    int* own = tile.start + threadIdx.x * SplatTile::per_thread;
    for (int i = 1; i < SplatTile::per_thread; ++i) own[i] += own[i - 1];
    tile.partial[threadIdx.x] = own[SplatTile::per_thread - 1];
    for (int reach = 1; reach < tile_pixels; reach *= 2) {
        __syncthreads();
        const int before = static_cast<int>(threadIdx.x) < reach ? 0 : tile.partial[threadIdx.x - reach];
        __syncthreads();
        tile.partial[threadIdx.x] += before;
    }
    __syncthreads();
    const int before = threadIdx.x == 0 ? 0 : tile.partial[threadIdx.x - 1];
    for (int i = 0; i < SplatTile::per_thread; ++i) own[i] += before;
}

// Sorts the entries by vertex: counts them, finds the ends, then fills each vertex's range from its end. Within a
// vertex the order depends on which thread comes first.
__device__ inline void sort_entries(SplatTile& tile, const Batch& batch, const Pixel& pixel, const Lattice& lattice) {
    const std::size_t entry = pixel_entry(batch, pixel.tile);
    for (int i = threadIdx.x; i < SplatTile::per_thread * tile_pixels; i += tile_pixels) tile.start[i] = 0;
    __syncthreads();
    for (int r = 0; r < batch.edge && pixel.inside; ++r)
        atomicAdd(&tile.start[lattice.places[entry + r * tile_pixels]], 1);
    __syncthreads();
    accumulate_starts(tile);
    __syncthreads();
    for (int r = 0; r < batch.edge && pixel.inside; ++r) {
        const int at = atomicAdd(&tile.start[lattice.places[entry + r * tile_pixels]], -1) - 1;
        tile.weight[at] = lattice.weights[entry + r * tile_pixels];
        tile.pixel[at] = static_cast<unsigned char>(threadIdx.x);
    }
    __syncthreads();
}

struct Inputs {
    const float* values; // [images, channels, pixels]
    const float* mask;   // [images, pixels] or null
};

__device__ inline float masked_value(const Batch& batch, const Inputs& inputs, const Pixel& pixel, int channel) {
    if (channel >= batch.channels) return 0;
    const std::size_t plane = std::size_t(pixel.image) * batch.channels + channel;
    const float value = inputs.values[plane * batch.pixels + pixel.index];
    if (inputs.mask == nullptr) return value;
    return value * inputs.mask[std::size_t(pixel.image) * batch.pixels + pixel.index];
}

// Sets the rows of all vertices to 0.
template <class Row>
__global__ void clear_rows(Batch batch, const Layout* layout, Lattice lattice, Row* rows) {
    if (!layout->valid) return;
    for (std::size_t item = first_item(); item < std::size_t(*lattice.count) * batch.groups; item += item_stride())
        rows[item] = Row{};
}

// One block per tile and image. Each vertex of the tile gathers its entries, then adds them to its row at once.
// Rows: [vertices][groups] of four channels. `largest`: see find_largest, only for integers.
template <class Sum>
__global__ void splat_tiles(Batch batch, const Layout* layout, Inputs inputs, Lattice lattice,
                            const unsigned* largest, typename Adder<Sum>::Row* rows) {
    RLOSSCTL_SHARED(SplatTile, tile);
    if (!layout->valid) return;
    const Pixel pixel(batch);
    sort_entries(tile, batch, pixel, lattice);
    const unsigned* list = lattice.tile_slots + tile_list(batch, pixel.tile);
    const int vertices = lattice.tile_counts[pixel.tile];

    const int chunks = (batch.groups + SplatTile::groups - 1) / SplatTile::groups;
    const int width = (batch.groups + chunks - 1) / chunks; // of a chunk, in groups
    for (int first = 0; first < batch.groups; first += width) {
        const int used = min(width, batch.groups - first);
        for (int g = 0; g < used; ++g) {
            const int c = (first + g) * 4;
            float4 value{0, 0, 0, 0};
            if (pixel.inside)
                value = {masked_value(batch, inputs, pixel, c), masked_value(batch, inputs, pixel, c + 1),
                         masked_value(batch, inputs, pixel, c + 2), masked_value(batch, inputs, pixel, c + 3)};
            tile.values[threadIdx.x * used + g] = value;
        }
        __syncthreads();
        for (int item = threadIdx.x; item < vertices * used; item += tile_pixels) {
            const int vertex = item / used, g = item % used;
            float4 scale{1, 1, 1, 1};
            if (largest != nullptr) {
                const unsigned* bits = largest + (std::size_t(pixel.image) * batch.groups + first + g) * 4;
                scale = {Adder<Sum>::scale(bits[0], batch.pixels), Adder<Sum>::scale(bits[1], batch.pixels),
                         Adder<Sum>::scale(bits[2], batch.pixels), Adder<Sum>::scale(bits[3], batch.pixels)};
            }
            typename Adder<Sum>::Row sum{};
            for (int e = tile.start[vertex]; e < tile.start[vertex + 1]; ++e)
                Adder<Sum>::add(sum, tile.weight[e], tile.values[tile.pixel[e] * used + g], scale);
            const std::size_t number = lattice.numbers[list[vertex]];
            Adder<Sum>::publish(&rows[number * batch.groups + first + g], sum);
        }
        __syncthreads();
    }
}

} // namespace rlossctl::cuda
