#include "plan.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace rlossctl::cuda {

namespace {

constexpr std::int64_t int_limit = std::numeric_limits<int>::max();
constexpr std::int64_t grid_limit = 65535; // blocks along y or z

std::size_t most_vertices(const Batch& batch) { // of an image
    return std::size_t(batch.pixels) * batch.edge + (batch.pixels % 4 != 0 ? batch.edge : 0);
}

} // namespace

Batch make_batch(const Sizes& sizes) {
    const bool points = sizes.points != 0;
    const std::int64_t width = points ? tile_side : sizes.width;
    const std::int64_t height = points ? (sizes.points + width - 1) / width : sizes.height;
    const std::int64_t smallest = std::min({sizes.images, sizes.channels, height, width});
    if (smallest < 1 || sizes.colours < 0 || sizes.colours > max_colours)
        throw std::invalid_argument("sizes must be positive, with 0 to 4 colours");
    // A hash table has two slots for each of up to 7 vertices of a pixel, all slots numbered in 32 bits.
    if (height > int_limit / width / 16 || sizes.images > int_limit / sizes.channels ||
        sizes.channels > int_limit / 8)
        throw std::invalid_argument("an image or a batch is too large for the CUDA kernel");
    Batch batch{};
    batch.images = static_cast<int>(sizes.images);
    batch.channels = static_cast<int>(sizes.channels);
    batch.colours = static_cast<int>(sizes.colours);
    batch.height = static_cast<int>(height);
    batch.width = static_cast<int>(width);
    batch.pixels = points ? static_cast<int>(sizes.points) : batch.height * batch.width;
    batch.tiles_x = (batch.width + tile_side - 1) / tile_side;
    batch.tiles = batch.tiles_x * ((batch.height + tile_side - 1) / tile_side);
    batch.edge = batch.colours + 3;
    batch.groups = (batch.channels + 3) / 4;
    return batch;
}

Batch plan_pass(const Sizes& sizes, const Options& options) {
    Batch batch = make_batch(sizes);
    batch.images = 1;
    Arena single(nullptr);
    take_lattice(single, batch);
    take_rows(single, batch, options);
    std::int64_t most = std::max<std::int64_t>(1, pass_bytes / single.used());
    most = std::min({most, int_limit / static_cast<std::int64_t>(2 * most_vertices(batch)), grid_limit});
    const std::int64_t passes = (sizes.images + most - 1) / most;
    batch.images = static_cast<int>((sizes.images + passes - 1) / passes); // passes of equal size
    return batch;
}

LatticePieces take_lattice(Arena& arena, const Batch& batch) {
    const std::size_t images = batch.images, tiles = images * batch.tiles, vertices = most_vertices(batch);
    LatticePieces pieces{};
    pieces.layout = arena.take<Layout>(1);
    Lattice& lattice = pieces.lattice;
    lattice.capacity = static_cast<unsigned>(2 * vertices);
    lattice.max_vertices = images * vertices;
    lattice.keys = arena.take<unsigned long long>(images * lattice.capacity);
    lattice.numbers = arena.take<int>(images * lattice.capacity);
    lattice.count = arena.take<int>(1);
    lattice.slots = arena.take<unsigned>(lattice.max_vertices);
    lattice.neighbours = arena.take<int>(2 * batch.edge * lattice.max_vertices);
    lattice.tile_counts = arena.take<int>(tiles);
    lattice.tile_slots = arena.take<unsigned>(tiles * batch.edge * (tile_pixels + 1));
    lattice.places = arena.take<unsigned short>(tiles * batch.edge * tile_pixels);
    lattice.weights = arena.take<float>(tiles * batch.edge * tile_pixels);
    return pieces;
}

RowPieces take_rows(Arena& arena, const Batch& batch, const Options& options) {
    const std::size_t images = batch.images, rows = images * most_vertices(batch) * batch.groups;
    const bool three = options.order == Order::mean || options.deterministic;
    RowPieces pieces{};
    pieces.rows[0] = arena.take<float4>(rows);
    pieces.rows[1] = arena.take<float4>(three ? 2 * rows : rows);
    pieces.rows[2] = three && pieces.rows[1] != nullptr ? pieces.rows[1] + rows : nullptr;
    pieces.largest = arena.take<unsigned>(images * batch.groups * 4);
    pieces.energies = arena.take<double>(images * batch.tiles);
    return pieces;
}

} // namespace rlossctl::cuda
