#include "kernels.hpp"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace rlossctl {
namespace {

#ifdef RLOSSCTL_X86
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

const Kernels* find(const char* name) {
#ifdef RLOSSCTL_X86
    static const bool avx512 = has_avx512(), avx2 = has_avx2();
    for (const auto& [kernels, runs] : {std::pair{&avx512_kernels, avx512}, std::pair{&avx2_kernels, avx2}})
        if (runs && (name == nullptr || std::strcmp(name, kernels->name) == 0)) return kernels;
#endif
    return name == nullptr || std::strcmp(name, plain_kernels.name) == 0 ? &plain_kernels : nullptr;
}

} // namespace

const Kernels& kernels() {
    const char* asked = std::getenv("RLOSSCTL_SIMD");
    const Kernels* found = find(asked == nullptr || *asked == '\0' ? nullptr : asked);
    if (found == nullptr)
        throw std::invalid_argument("RLOSSCTL_SIMD is '" + std::string(asked) + "', but the best that runs here is '" +
                                    find(nullptr)->name + "'");
    return *found;
}

const char* simd() { return kernels().name; }

} // namespace rlossctl
