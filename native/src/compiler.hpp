// What depends on the compiler, and nothing else.
#pragma once

#if defined(__GNUC__)
#define RLOSSCTL_PREFETCH(address) __builtin_prefetch(address)
#define RLOSSCTL_RESTRICT __restrict__
#define RLOSSCTL_INLINE __attribute__((always_inline)) inline
#else
#define RLOSSCTL_PREFETCH(address) static_cast<void>(address)
#define RLOSSCTL_RESTRICT __restrict
#define RLOSSCTL_INLINE __forceinline
#endif
