// The lattice of one image: built once, then splat, blur and slice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "embed.hpp"
#include "filter.hpp"
#include "key_table.hpp"

namespace rlossctl {

constexpr int group = 8; // floats; rows of channels are padded to a multiple of it

// D features per pixel. One object per thread, used for one image after another, keeps its memory.
template <int D>
class Lattice {
public:
    // values, filtered: [channels, pixels] planes of one image; image: [D - 2, height, width].
    void filter(const float* values, const float* image, float* filtered, const KeyLayout& layout,
                const Sizes& sizes, double sigma_xy, double sigma_rgb, int threads);

private:
    static constexpr int E = D + 1;

    struct Simplex {
        std::uint64_t base;
        std::uint32_t order;
        std::int32_t vertices[E];
    };

    void locate_pixels(const float* image, const KeyLayout& layout, const Sizes& sizes, double sigma_xy,
                       double sigma_rgb, int threads);
    void number_simplices(const KeyLayout& layout);
    void number_vertices(const KeyLayout& layout);
    void link_vertices(const KeyLayout& layout, int threads);
    void splat_and_blur(const float* values, int threads);
    void slice(float* filtered, int threads);

    std::int64_t pixels_ = 0, blocks_ = 0, channels_ = 0, stride_ = 0;
    Buffer<float> position_;          // scaled features x of each column, then y of each row
    Buffer<Block<D>> block_;
    KeyTable simplex_table_, vertex_table_;
    std::vector<Simplex> simplices_;  // [0] is unused: numbers start at 1
    std::vector<std::uint64_t> keys_; // of the vertices; [0] is unused
    Buffer<std::int32_t> up_;         // [E][vertices + 1] number of the next vertex along each axis, or 0
    Buffer<unsigned char> inner_;     // [E][vertices + 1] 1 where a vertex precedes along the axis
    Buffer<float> rows_;              // [vertices + 1][stride]; row 0 stays zero
};

} // namespace rlossctl
