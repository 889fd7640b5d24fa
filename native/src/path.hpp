// All inner loops in one namespace. kernels_*.cpp define RLOSSCTL_PATH, the name of an instruction set, and are
// compiled for it. Nothing here may come from a header with templates or inline functions that other files also
// use: the linker keeps one copy of each, which might be a copy that not every processor can run.
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "compiler.hpp"
#include "kernels.hpp"

namespace rlossctl {
namespace RLOSSCTL_PATH {
#include "path_vector.hpp"

#include "path_embed.hpp"
#include "path_exact.hpp"
#include "path_chain.hpp"
#include "path_gated.hpp"
#include "path_best.hpp"
#include "path_points.hpp"
#include "path_rows.hpp"
#include "path_softmax.hpp"

template <int D>
constexpr LatticeKernels<D> lattice_kernels{embed_blocks<D>, embed_points<D>, splat<D>, slice<D>, exact_tile<D>};
} // namespace RLOSSCTL_PATH

#define RLOSSCTL_JOIN_(a, b) a##b
#define RLOSSCTL_JOIN(a, b) RLOSSCTL_JOIN_(a, b)
#define RLOSSCTL_TEXT_(a) #a
#define RLOSSCTL_TEXT(a) RLOSSCTL_TEXT_(a)

const Kernels RLOSSCTL_JOIN(RLOSSCTL_PATH, _kernels){
    RLOSSCTL_TEXT(RLOSSCTL_PATH),
    RLOSSCTL_PATH::wide,
    {RLOSSCTL_PATH::lattice_kernels<2>, RLOSSCTL_PATH::lattice_kernels<3>, RLOSSCTL_PATH::lattice_kernels<4>,
     RLOSSCTL_PATH::lattice_kernels<5>, RLOSSCTL_PATH::lattice_kernels<6>},
    RLOSSCTL_PATH::blur,
    RLOSSCTL_PATH::dot,
    RLOSSCTL_PATH::gated_band,
    RLOSSCTL_PATH::chain_message,
    RLOSSCTL_PATH::chain_message_slope,
    RLOSSCTL_PATH::best_row,
    RLOSSCTL_PATH::norms_row,
    RLOSSCTL_PATH::probability_row,
    RLOSSCTL_PATH::probabilities_at,
    RLOSSCTL_PATH::cover_row,
    RLOSSCTL_PATH::gain_row,
    RLOSSCTL_PATH::add_words,
    RLOSSCTL_PATH::bin_words};
} // namespace rlossctl
