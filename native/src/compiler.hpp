// Everything that depends on the compiler.
#pragma once

#if !defined(__GNUC__)
#error "rlossctl's kernels need GCC or Clang, for their vector types"
#endif

#define RLOSSCTL_PREFETCH(address) __builtin_prefetch(address)
#define RLOSSCTL_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#define RLOSSCTL_INLINE __attribute__((always_inline)) inline
