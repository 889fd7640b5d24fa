// What depends on compiler and processor, and nothing else.
#pragma once

#include <cstddef> // defines __GLIBC__ where that is the library

// Functions marked so are compiled twice, for any x86-64 and for AVX2, and chosen when the module loads.
// AVX2 without FMA: both compute the same bits.
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define RLOSSCTL_SIMD __attribute__((target_clones("avx2", "default")))
#else
#define RLOSSCTL_SIMD
#endif

#if defined(__GNUC__)
#define RLOSSCTL_PREFETCH(address) __builtin_prefetch(address)
#define RLOSSCTL_RESTRICT __restrict__
#define RLOSSCTL_INLINE __attribute__((always_inline)) inline
#else
#define RLOSSCTL_PREFETCH(address) static_cast<void>(address)
#define RLOSSCTL_RESTRICT __restrict
#define RLOSSCTL_INLINE __forceinline
#endif
