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

Features make_features(int count, const Options& options) {
    Features features{};
    features.sigma_xy = options.sigma_xy;
    features.sigma_rgb = options.sigma_rgb;
    for (int i = 0; i < count; ++i)
        features.scale[i] = std::sqrt(2.0 / 3.0) * (count + 1) / std::sqrt((i + 1.0) * (i + 2.0));
    return features;
}

// Launches for the images of one pass, in the order in which they run.
class Pass {
public:
    Pass(const Batch& batch, const Pieces& pieces, const Features& features, Stream stream)
        : batch_(batch), pieces_(pieces), features_(features), stream_(stream),
          tiles_(static_cast<unsigned>(batch.tiles), static_cast<unsigned>(batch.images)) {}

    void build(const float* image) const {
        const Lattice& lattice = pieces_.lattice;
        fill_bytes(lattice.keys, 0xFF, sizeof(*lattice.keys) * batch_.images * lattice.capacity, stream_);
        fill_bytes(lattice.count, 0, sizeof(*lattice.count), stream_);
        const auto embed_tiles_of = batch_.colours == 0   ? embed_tiles<2>
                                    : batch_.colours == 1 ? embed_tiles<3>
                                    : batch_.colours == 2 ? embed_tiles<4>
                                    : batch_.colours == 3 ? embed_tiles<5>
                                                          : embed_tiles<6>;
        launch(embed_tiles_of, tiles_, tile_pixels, stream_, batch_, features_, pieces_.layout, image, lattice);
        over_vertices(batch_.edge, link_vertices);
    }

    void splat(const Inputs& inputs) const {
        over_vertices(batch_.groups, clear_rows<float4>, pieces_.rows[0]);
        launch(splat_tiles<float>, tiles_, tile_pixels, stream_, batch_, pieces_.layout, inputs, pieces_.lattice,
               nullptr, pieces_.rows[0]);
    }

    void splat_deterministic(const Inputs& inputs) const {
        const dim3 planes(spread(batch_.pixels).x, static_cast<unsigned>(batch_.images * batch_.channels));
        fill_bytes(pieces_.largest, 0, sizeof(*pieces_.largest) * batch_.images * batch_.groups * 4, stream_);
        launch(find_largest, planes, block_threads, stream_, batch_, inputs.values, inputs.mask, pieces_.largest);
        auto* sums = reinterpret_cast<Integers*>(pieces_.rows[1]); // both spare pieces together
        over_vertices(batch_.groups, clear_rows<Integers>, sums);
        launch(splat_tiles<long long>, tiles_, tile_pixels, stream_, batch_, pieces_.layout, inputs, pieces_.lattice,
               pieces_.largest, sums);
        over_vertices(batch_.groups * 4, round_sums, pieces_.largest, reinterpret_cast<const long long*>(sums),
                      reinterpret_cast<float*>(pieces_.rows[0]));
    }

    // The rows as the blur leaves them.
    const float4* blur(Order order) const {
        float4* const* rows = pieces_.rows;
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

private:
    // A kernel that strides over at most `each` items per vertex.
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
    Pieces pieces_;
    Features features_;
    Stream stream_;
    dim3 tiles_;
};

void find_layout(const Sizes& sizes, const float* image, const Features& features, Layout* layout, Stream stream) {
    const Batch batch = make_batch(sizes);
    fill_bytes(layout, 0, sizeof(*layout), stream);
    if (batch.colours > 0) {
        const std::size_t points = std::size_t(batch.images) * batch.pixels;
        const dim3 channels(spread((points + 15) / 16).x, static_cast<unsigned>(batch.colours));
        launch(find_ranges, channels, block_threads, stream, batch.images, batch.colours, batch.pixels, image,
               layout);
    }
    launch(lay_out_keys, dim3(1), 1, stream, batch.colours, batch.height, batch.width, features, layout);
}

template <class T>
T* advance(T* pointer, std::size_t count) {
    return pointer == nullptr ? nullptr : pointer + count;
}

void run(const float* image, const Inputs& inputs, const Outputs& outputs, const Sizes& sizes, const Options& options,
         const Workspace& workspace) {
    const Plan plan(sizes, options.order, options.deterministic);
    if (workspace.bytes < plan.bytes()) throw std::invalid_argument("the workspace is too small");
    const Pieces pieces = plan.pieces(workspace.memory);
    const Features features = make_features(static_cast<int>(sizes.colours) + 2, options);
    find_layout(sizes, image, features, pieces.layout, workspace.stream);

    Batch batch = plan.batch();
    const std::size_t pixels = batch.pixels;
    for (std::int64_t first = 0; first < sizes.images; first += plan.batch().images) {
        batch.images = static_cast<int>(std::min<std::int64_t>(plan.batch().images, sizes.images - first));
        const Inputs in{inputs.values + first * batch.channels * pixels, advance(inputs.mask, first * pixels)};
        const Outputs out{advance(outputs.filtered, first * batch.channels * pixels),
                          outputs.energies == nullptr ? nullptr : pieces.energies, outputs.factor};
        const Pass pass(batch, pieces, features, workspace.stream);
        pass.build(image + first * batch.colours * pixels);
        if (options.deterministic) pass.splat_deterministic(in);
        else pass.splat(in);
        pass.slice(in, pass.blur(options.order), out);
        if (outputs.energies != nullptr)
            launch(sum_energies, dim3(static_cast<unsigned>(batch.images)), block_threads, workspace.stream,
                   batch.tiles, static_cast<const double*>(pieces.energies), outputs.energies + first);
    }
}

} // namespace

std::size_t lattice_workspace(const Sizes& sizes, Order order, bool deterministic) {
    return Plan(sizes, order, deterministic).bytes();
}

void lattice_filter(const float* values, const float* image, float* filtered, const Sizes& sizes,
                    const Options& options, const Workspace& workspace) {
    run(image, Inputs{values, nullptr}, Outputs{filtered, nullptr, 1}, sizes, options, workspace);
}

void densecrf(const float* values, const float* mask, const float* image, float* gradient, double* energies,
              const Sizes& sizes, const Options& options, float factor, const Workspace& workspace) {
    run(image, Inputs{values, mask}, Outputs{gradient, energies, factor}, sizes, options, workspace);
}

} // namespace rlossctl::cuda
