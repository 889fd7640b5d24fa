// The lattice filter as a sequence of launches.
#include "filter.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "blur.cuh"
#include "build.cuh"
#include "layout.cuh"
#include "plan.hpp"
#include "slice.cuh"
#include "splat.cuh"
#include "sums.cuh"

namespace rlossctl::cuda {

namespace {

// A kept lattice is made before its values are known. It takes as many images as a pass with this many channels;
// more channels take more memory.
constexpr std::int64_t expected_channels = 24;

Features make_features(const Batch& batch, const Sigmas& sigmas) {
    const int count = batch.colours + 2;
    Features features{};
    features.sigma_xy = sigmas.xy;
    features.sigma_rgb = sigmas.rgb;
    for (int i = 0; i < count; ++i)
        features.scale[i] = std::sqrt(2.0 / 3.0) * (count + 1) / std::sqrt((i + 1.0) * (i + 2.0));
    return features;
}

// Launches for the images of one pass: `build`, then `apply` for any values.
class Pass {
public:
    Pass(const Batch& batch, const LatticePieces& pieces, Stream stream)
        : batch_(batch), pieces_(pieces), stream_(stream),
          tiles_(static_cast<unsigned>(batch.tiles), static_cast<unsigned>(batch.images)) {}

    void build(const float* image, const Sigmas& sigmas) const {
        const Features features = make_features(batch_, sigmas);
        find_ranges_of(image, batch_.colours);
        launch(lay_out_keys, dim3(1), 1, stream_, batch_.colours, batch_.height, batch_.width, features,
               pieces_.layout);
        embed<false>(image, features);
    }

    void build_points(const float* points) const {
        const Features features = make_features(batch_, {1, 1});
        find_ranges_of(points, batch_.colours + 2);
        launch(lay_out_point_keys, dim3(1), 1, stream_, batch_.colours + 2, features, pieces_.layout);
        embed<true>(points, features);
    }

    // Outputs: `filtered`, see Outputs, and `energies` of the images; either may be null.
    void apply(const Inputs& inputs, float* filtered, double* energies, float factor, const RowPieces& rows,
               const Options& options) const {
        if (options.deterministic) splat_deterministic(inputs, rows);
        else splat(inputs, rows);
        const float4* blurred = blur(options.order, rows.rows);
        slice(inputs, blurred, Outputs{filtered, energies == nullptr ? nullptr : rows.energies, factor});
        if (energies != nullptr)
            launch(sum_energies, dim3(static_cast<unsigned>(batch_.images)), block_threads, stream_, batch_.tiles,
                   static_cast<const double*>(rows.energies), energies);
    }

private:
    template <bool Points>
    void embed(const float* image, const Features& features) const {
        const Lattice& lattice = pieces_.lattice;
        fill_bytes(lattice.keys, 0xFF, sizeof(*lattice.keys) * batch_.images * lattice.capacity, stream_);
        fill_bytes(lattice.count, 0, sizeof(*lattice.count), stream_);
        const auto embed_tiles_of = batch_.colours == 0   ? embed_tiles<2, Points>
                                    : batch_.colours == 1 ? embed_tiles<3, Points>
                                    : batch_.colours == 2 ? embed_tiles<4, Points>
                                    : batch_.colours == 3 ? embed_tiles<5, Points>
                                                          : embed_tiles<6, Points>;
        launch(embed_tiles_of, tiles_, tile_pixels, stream_, batch_, features, pieces_.layout, image, lattice);
        over_vertices(batch_.edge, link_vertices);
    }

    // How far each of the image's channels, or of the points' features, reaches.
    void find_ranges_of(const float* image, int channels) const {
        fill_bytes(pieces_.layout, 0, sizeof(*pieces_.layout), stream_);
        if (channels == 0) return;
        const std::size_t points = std::size_t(batch_.images) * batch_.pixels;
        const dim3 blocks(spread((points + 15) / 16).x, static_cast<unsigned>(channels));
        launch(find_ranges, blocks, block_threads, stream_, batch_.images, channels, batch_.pixels, image,
               pieces_.layout);
    }

    void splat(const Inputs& inputs, const RowPieces& rows) const {
        over_vertices(batch_.groups, clear_rows<float4>, rows.rows[0]);
        launch(splat_tiles<float>, tiles_, tile_pixels, stream_, batch_, pieces_.layout, inputs, pieces_.lattice,
               nullptr, rows.rows[0]);
    }

    void splat_deterministic(const Inputs& inputs, const RowPieces& rows) const {
        const dim3 planes(spread(batch_.pixels).x, static_cast<unsigned>(batch_.channels),
                          static_cast<unsigned>(batch_.images));
        fill_bytes(rows.largest, 0, sizeof(*rows.largest) * batch_.images * batch_.groups * 4, stream_);
        launch(find_largest, planes, block_threads, stream_, batch_, inputs.values, inputs.mask, rows.largest);
        auto* sums = reinterpret_cast<Integers*>(rows.rows[1]); // both spare pieces as one
        over_vertices(batch_.groups, clear_rows<Integers>, sums);
        launch(splat_tiles<long long>, tiles_, tile_pixels, stream_, batch_, pieces_.layout, inputs, pieces_.lattice,
               rows.largest, sums);
        over_vertices(batch_.groups * 4, round_sums, rows.largest, reinterpret_cast<const long long*>(sums),
                      reinterpret_cast<float*>(rows.rows[0]));
    }

    // The rows as the blur leaves them.
    const float4* blur(Order order, float4* const* rows) const {
        if (order != Order::mean) return blur_axes(order == Order::backward, rows[0], rows[1], rows[0], nullptr);
        float4* forward = blur_axes(false, rows[0], rows[1], rows[2], nullptr);
        float4* spare = forward == rows[1] ? rows[2] : rows[1];
        return blur_axes(true, rows[0], spare, rows[0], forward);
    }

    void slice(const Inputs& inputs, const float4* rows, const Outputs& outputs) const {
        const auto slice_tiles_of = batch_.edge == 3   ? slice_tiles<3>
                                    : batch_.edge == 4 ? slice_tiles<4>
                                    : batch_.edge == 5 ? slice_tiles<5>
                                    : batch_.edge == 6 ? slice_tiles<6>
                                                       : slice_tiles<7>;
        launch(slice_tiles_of, tiles_, tile_pixels, stream_, batch_, pieces_.layout, pieces_.lattice, inputs, rows,
               outputs);
    }

    // Launches a kernel that strides over at most `each` items per vertex.
    template <class... Parameters, class... Arguments>
    void over_vertices(int each, void (*kernel)(Batch, const Layout*, Lattice, Parameters...),
                       Arguments... arguments) const {
        launch(kernel, spread(pieces_.lattice.max_vertices * each), block_threads, stream_, batch_, pieces_.layout,
               pieces_.lattice, arguments...);
    }

    // From `rows` into `first`, then `second`, then `first` and so on. Returns the last one.
    float4* blur_axes(bool reverse, float4* rows, float4* first, float4* second, const float4* other) const {
        for (int i = 0; i < batch_.edge; ++i) {
            const bool last = i + 1 == batch_.edge;
            const int axis = reverse ? batch_.edge - 1 - i : i;
            over_vertices(batch_.groups, blur_axis, axis, static_cast<const float4*>(rows),
                          last ? other : static_cast<const float4*>(nullptr), first);
            rows = first;
            std::swap(first, second);
        }
        return rows;
    }

    Batch batch_;
    LatticePieces pieces_;
    Stream stream_;
    dim3 tiles_;
};

template <class T>
T* advance(T* pointer, std::size_t count) {
    return pointer == nullptr ? nullptr : pointer + count;
}

Arena open(const Memory& memory, std::size_t needed, const char* complaint) {
    if (memory.bytes < needed) throw std::invalid_argument(complaint);
    return Arena(memory.start);
}

// The memory for the images of a pass, lattice and rows.
std::size_t pass_workspace(const Batch& pass, const Options& options) {
    Arena arena(nullptr);
    take_lattice(arena, pass);
    take_rows(arena, pass, options);
    return arena.used();
}

// Builds and applies the lattices pass by pass, all in the same workspace.
void run(const float* image, const Inputs& inputs, float* filtered, double* energies, float factor, const Sizes& sizes,
         const Sigmas& sigmas, const Options& options, const Workspace& workspace) {
    const Batch largest = plan_pass(sizes, options);
    const Arena whole = open(workspace.memory, pass_workspace(largest, options), "the workspace is too small");
    const std::size_t pixels = largest.pixels;
    for (std::int64_t first = 0; first < sizes.images; first += largest.images) {
        Batch batch = largest;
        batch.images = static_cast<int>(std::min<std::int64_t>(largest.images, sizes.images - first));
        Arena arena = whole;
        const Pass pass(batch, take_lattice(arena, batch), workspace.stream);
        pass.build(image + first * batch.colours * pixels, sigmas);
        const std::size_t plane = first * batch.channels * pixels;
        pass.apply({inputs.values + plane, advance(inputs.mask, first * pixels)}, advance(filtered, plane),
                   advance(energies, first), factor, take_rows(arena, batch, options), options);
    }
}

} // namespace

std::size_t lattice_workspace(const Sizes& sizes, const Options& options) {
    return pass_workspace(plan_pass(sizes, options), options);
}

void lattice_filter(const float* values, const float* image, float* filtered, const Sizes& sizes,
                    const Sigmas& sigmas, const Options& options, const Workspace& workspace) {
    run(image, {values, nullptr}, filtered, nullptr, 1, sizes, sigmas, options, workspace);
}

void densecrf(const float* values, const float* mask, const float* image, float* gradient, double* energies,
              const Sizes& sizes, const Sigmas& sigmas, const Options& options, float factor,
              const Workspace& workspace) {
    run(image, {values, mask}, gradient, energies, factor, sizes, sigmas, options, workspace);
}

std::int64_t kept_images(const Sizes& sizes) {
    Sizes expected = sizes;
    expected.channels = expected_channels;
    return plan_pass(expected, {Order::mean, true}).images;
}

std::size_t lattice_bytes(const Sizes& sizes) {
    if (sizes.images > kept_images(sizes)) throw std::invalid_argument("too many images for one kept lattice");
    Arena arena(nullptr);
    take_lattice(arena, make_batch(sizes));
    return arena.used();
}

void build_lattice(const float* image, const Sizes& sizes, const Sigmas& sigmas, const Workspace& lattice) {
    const Batch batch = make_batch(sizes);
    Arena arena = open(lattice.memory, lattice_bytes(sizes), "the lattice's memory is too small");
    Pass(batch, take_lattice(arena, batch), lattice.stream).build(image, sigmas);
}

void build_points(const float* points, const Sizes& sizes, const Workspace& lattice) {
    const Batch batch = make_batch(sizes);
    Arena arena = open(lattice.memory, lattice_bytes(sizes), "the lattice's memory is too small");
    Pass(batch, take_lattice(arena, batch), lattice.stream).build_points(points);
}

std::size_t rows_workspace(const Sizes& sizes, const Options& options) {
    Arena arena(nullptr);
    take_rows(arena, make_batch(sizes), options);
    return arena.used();
}

void apply_lattice(const float* values, float* filtered, const Sizes& sizes, const Options& options,
                   const Memory& lattice, const Workspace& workspace) {
    const Batch batch = make_batch(sizes);
    Arena kept = open(lattice, lattice_bytes(sizes), "the lattice's memory is too small");
    Arena rows = open(workspace.memory, rows_workspace(sizes, options), "the workspace is too small");
    Pass(batch, take_lattice(kept, batch), workspace.stream)
        .apply({values, nullptr}, filtered, nullptr, 1, take_rows(rows, batch, options), options);
}

} // namespace rlossctl::cuda
