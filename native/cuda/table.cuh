// A set of 64-bit keys with open addressing, filled by many threads at once. One compare-and-swap claims a slot, so
// nothing is locked and no key is stored twice. The caller makes sure that it does not fill up.
#pragma once

#include "platform.cuh"

namespace rlossctl::cuda {

constexpr unsigned long long empty_key = ~0ull; // as fill_bytes(0xFF) writes it; keys have at most 63 bits

__device__ __forceinline__ unsigned home_slot(unsigned long long key, unsigned capacity) {
    const unsigned long long mixed = (key * 0xD6E8FEB86659FD93ull) >> 32;
    return static_cast<unsigned>((mixed * capacity) >> 32);
}

struct Found {
    unsigned slot;
    bool fresh; // this call has added it
};

__device__ inline Found insert_key(unsigned long long* keys, unsigned capacity, unsigned long long key) {
    for (unsigned slot = home_slot(key, capacity);; slot = slot + 1 == capacity ? 0 : slot + 1) {
        unsigned long long held = load_relaxed(&keys[slot]); // most keys are already there
        if (held == empty_key) held = atomicCAS(&keys[slot], empty_key, key);
        if (held == empty_key || held == key) return {slot, held == empty_key};
    }
}

constexpr unsigned not_found = ~0u;

// Only when no thread is inserting.
__device__ inline unsigned find_key(const unsigned long long* keys, unsigned capacity, unsigned long long key) {
    for (unsigned slot = home_slot(key, capacity);; slot = slot + 1 == capacity ? 0 : slot + 1) {
        if (keys[slot] == key) return slot;
        if (keys[slot] == empty_key) return not_found;
    }
}

} // namespace rlossctl::cuda
