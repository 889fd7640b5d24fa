// Building the lattice: pixels -> vertices -> neighbours.
#pragma once

#include "embed.cuh"
#include "lattice.cuh"
#include "table.cuh"

namespace rlossctl::cuda {

// The distinct vertices of a tile. Neighbouring pixels share most of theirs, so only a small part of the look-ups
// reaches the table in global memory.
struct TileTable {
    static constexpr int capacity = 2048;
    unsigned long long keys[capacity];
    unsigned short place[capacity]; // in the tile's list, of the vertex in each slot
    unsigned short fresh[capacity]; // slots of the vertices that this tile has added to the global table
    int count, fresh_count, first_number;
};
static_assert(TileTable::capacity > max_tile_vertices);

// Lists the vertices that the tile has collected and puts them into the table of the image. The places in the
// list and the numbers of the vertices depend on which thread comes first; no result depends on them.
__device__ inline void publish_vertices(TileTable& table, const Batch& batch, const Pixel& pixel,
                                        const Lattice& lattice) {
    unsigned* list = lattice.tile_slots + tile_list(batch, pixel.tile);
    const unsigned origin = static_cast<unsigned>(pixel.image) * lattice.capacity;
    for (int at = threadIdx.x; at < TileTable::capacity; at += tile_pixels) {
        if (table.keys[at] == empty_key) continue;
        const Found found = insert_key(lattice.keys + origin, lattice.capacity, table.keys[at]);
        const int place = atomicAdd(&table.count, 1);
        table.place[at] = static_cast<unsigned short>(place);
        list[place] = origin + found.slot;
        if (found.fresh) table.fresh[atomicAdd(&table.fresh_count, 1)] = static_cast<unsigned short>(at);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        lattice.tile_counts[pixel.tile] = table.count;
        table.first_number = atomicAdd(lattice.count, table.fresh_count);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < table.fresh_count; i += tile_pixels) {
        const unsigned slot = list[table.place[table.fresh[i]]];
        lattice.numbers[slot] = table.first_number + i;
        lattice.slots[table.first_number + i] = slot;
    }
}

// One block per tile and image, which holds points if Points is set.
template <int D, bool Points>
__global__ void embed_tiles(Batch batch, Features features, const Layout* layout, const float* image,
                            Lattice lattice) {
    RLOSSCTL_SHARED(TileTable, table);
    if (!layout->valid) return;
    const Pixel pixel(batch);
    for (int at = threadIdx.x; at < TileTable::capacity; at += tile_pixels) table.keys[at] = empty_key;
    if (threadIdx.x == 0) table.count = table.fresh_count = 0;
    __syncthreads();

    Simplex<D> simplex{};
    unsigned slot[D + 1];
    if (pixel.inside) {
        float scaled[D];
        if constexpr (Points) scale_point<D>(batch, features, pixel, image, scaled);
        else scale_features<D>(batch, features, pixel, image, scaled);
        simplex = embed<D>(scaled, *layout);
        for (int r = 0; r <= D; ++r) slot[r] = insert_key(table.keys, TileTable::capacity, simplex.keys[r]).slot;
    }
    // The original fills its last group of four pixels with points of feature zero: see twin.with_phantom.
    if (batch.pixels % 4 != 0 && blockIdx.x == 0 && threadIdx.x == 0) {
        const float zero[D] = {};
        const Simplex<D> phantom = embed<D>(zero, *layout);
        for (int r = 0; r <= D; ++r) insert_key(table.keys, TileTable::capacity, phantom.keys[r]);
    }
    __syncthreads();
    publish_vertices(table, batch, pixel, lattice);

    const std::size_t entry = pixel_entry(batch, pixel.tile);
    for (int r = 0; r <= D && pixel.inside; ++r) {
        lattice.places[entry + r * tile_pixels] = table.place[slot[r]];
        lattice.weights[entry + r * tile_pixels] = simplex.weights[r];
    }
}

// A step along an axis adds D to its coordinate and takes 1 from all others: see twin.neighbours.
__global__ static void link_vertices(Batch batch, const Layout* layout, Lattice lattice) {
    if (!layout->valid) return;
    const int last = batch.edge - 1, count = *lattice.count;
    unsigned long long all = 0;
    for (int i = 0; i < last; ++i) all += 1ull << layout->shift[i];
    for (std::size_t item = first_item(); item < std::size_t(count) * batch.edge; item += item_stride()) {
        const int axis = static_cast<int>(item / count), vertex = static_cast<int>(item % count);
        const unsigned origin = lattice.slots[vertex] / lattice.capacity * lattice.capacity;
        const unsigned long long* keys = lattice.keys + origin;
        const unsigned long long key = lattice.keys[lattice.slots[vertex]];
        const unsigned long long own = axis < last ? 1ull << layout->shift[axis] : 0;
        const unsigned long long wrap = last - (all - own), step = own - 1;
        const int remainder = static_cast<int>(key & 7);
        const unsigned up = find_key(keys, lattice.capacity, key + (remainder == 0 ? wrap : step));
        const unsigned down = find_key(keys, lattice.capacity, key - (remainder == last ? wrap : step));
        int* neighbours = lattice.neighbours + 2 * axis * lattice.max_vertices + vertex;
        neighbours[0] = up == not_found ? -1 : lattice.numbers[origin + up];
        neighbours[lattice.max_vertices] = down == not_found ? -1 : lattice.numbers[origin + down];
    }
}

} // namespace rlossctl::cuda
