// Numbers distinct keys 1, 2, 3, ... in the order of their first appearance. 0 means "not there".
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace rlossctl {

// Open addressing with linear probing, at most half full. A key is 64 bits and a 32-bit tag.
class KeyTable {
public:
    struct Slot {
        std::uint64_t key;
        std::uint32_t tag;
        std::int32_t id;
    };

    // Forgets all keys, keeps the memory.
    void clear() {
        if (slots_.empty()) resize(12);
        else std::fill(slots_.begin(), slots_.end(), Slot{});
        count_ = 0;
    }

    std::int32_t count() const { return count_; }

    void prefetch(std::uint64_t key, std::uint32_t tag = 0) const { RLOSSCTL_PREFETCH(&slots_[home(key, tag)]); }

    std::int32_t find(std::uint64_t key, std::uint32_t tag = 0) const { return slots_[probe(key, tag)].id; }

    std::int32_t find_or_add(std::uint64_t key, std::uint32_t tag = 0) {
        Slot& slot = slots_[probe(key, tag)];
        if (slot.id != 0) return slot.id;
        slot = Slot{key, tag, ++count_};
        const std::int32_t id = count_;
        if (2 * static_cast<std::size_t>(count_) > slots_.size()) grow();
        return id;
    }

private:
    std::size_t home(std::uint64_t key, std::uint32_t tag) const {
        const std::uint64_t mixed = (key + tag * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
        return static_cast<std::size_t>(mixed >> shift_);
    }

    // The slot of the key, or the empty one where it belongs.
    std::size_t probe(std::uint64_t key, std::uint32_t tag) const {
        const std::size_t mask = slots_.size() - 1;
        std::size_t i = home(key, tag);
        while (slots_[i].id != 0 && (slots_[i].key != key || slots_[i].tag != tag)) i = (i + 1) & mask;
        return i;
    }

    void resize(int bits) {
        slots_.assign(std::size_t{1} << bits, Slot{});
        shift_ = 64 - bits;
    }

    void grow() {
        std::vector<Slot> old;
        old.swap(slots_);
        resize(64 - shift_ + 1);
        for (const Slot& slot : old)
            if (slot.id != 0) slots_[probe(slot.key, slot.tag)] = slot;
    }

    std::vector<Slot> slots_;
    int shift_ = 0;
    std::int32_t count_ = 0;
};

} // namespace rlossctl
