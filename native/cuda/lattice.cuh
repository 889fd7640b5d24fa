// The contents of the workspace in one pass over some images of the batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "filter.hpp"
#include "platform.cuh"

namespace rlossctl::cuda {

constexpr int tile_side = 16, tile_pixels = tile_side * tile_side; // one thread per pixel of a tile
static_assert(tile_pixels == block_threads);

constexpr int max_edge = max_features + 1; // vertices of a simplex
// The most vertices that a tile can touch, with one more simplex for the phantom point (see embed_tiles).
constexpr int max_tile_vertices = (tile_pixels + 1) * max_edge;

// Sizes of the images that are filtered together, as the kernels use them. Points are an image as wide as a tile, whose
// last row may be shorter.
struct Batch {
    int images, channels, colours, height, width;
    int pixels;  // of an image
    int tiles_x; // tiles in a row of tiles
    int tiles;   // of an image
    int edge;    // vertices of a simplex: colours + 3
    int groups;  // of four channels, the last one filled up with zeros
};

// From pixels to features; see twin.features and packing.scales.
struct Features {
    double scale[max_features];
    double sigma_xy, sigma_rgb;
};

// The place of each quotient in a 64-bit key; see packing.py.
struct Layout {
    unsigned highest[max_features], lowest[max_features]; // see layout.cuh
    int low[max_features], shift[max_features];
    int valid; // 0: the keys cannot distinguish the vertices, and all outputs of the pass are NaN
};

struct Lattice {
    // The hash table: `capacity` slots for each image.
    unsigned long long* keys;
    int* numbers; // of the vertex in each slot, counted across all images
    unsigned capacity;
    // The vertices.
    int* count;
    unsigned* slots;          // of each vertex
    int* neighbours;          // [edge][2][max_vertices], -1 if there is none
    std::size_t max_vertices; // of all images together
    // The tiles, [images][tiles][...]; a pixel names its vertices by their places in the tile's list.
    int* tile_counts;
    unsigned* tile_slots;     // [edge * (tile_pixels + 1)] slots of the tile's vertices
    unsigned short* places;   // [edge][tile_pixels]
    float* weights;           // [edge][tile_pixels]
};

// The pixel of this thread in a tile of the block's image, by default the block's own tile; the grid is
// (tiles, images).
struct Pixel {
    std::size_t tile; // counted across all images
    int image, x, y, index;
    bool inside;

    __device__ explicit Pixel(const Batch& batch) : Pixel(batch, static_cast<int>(blockIdx.x)) {}

    __device__ Pixel(const Batch& batch, int number)
        : tile(std::size_t{blockIdx.y} * batch.tiles + number), image(static_cast<int>(blockIdx.y)),
          x(number % batch.tiles_x * tile_side + static_cast<int>(threadIdx.x) % tile_side),
          y(number / batch.tiles_x * tile_side + static_cast<int>(threadIdx.x) / tile_side),
          index(y * batch.width + x), inside(x < batch.width && y < batch.height && index < batch.pixels) {}
};

// Where the entries of this thread's pixel start in `places` and `weights`; vertices are tile_pixels apart.
__device__ __forceinline__ std::size_t pixel_entry(const Batch& batch, std::size_t tile) {
    return tile * batch.edge * tile_pixels + threadIdx.x;
}

__device__ __forceinline__ std::size_t tile_list(const Batch& batch, std::size_t tile) {
    return tile * batch.edge * (tile_pixels + 1);
}

} // namespace rlossctl::cuda
