// Numbers distinct keys 1, 2, 3, ... in the order of their first appearance. 0 means "not there".
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "buffer.hpp"
#include "compiler.hpp"

namespace rlossctl {

// A key and its number in one word, if they fit (see Builder::fits), so that a table is half as large. A key is never
// 0, because the layout leaves room below each quotient.
struct NarrowSlot {
    using Key = std::uint64_t;
    static Key key(std::uint64_t base, std::uint32_t tag, int tag_bits) { return base << tag_bits | tag; }
    static std::uint64_t mix(Key key) { return key * 0xD6E8FEB86659FD93u; }

    bool empty() const { return word == 0; }
    bool holds(Key key, int id_bits) const { return word >> id_bits == key; }
    // The number if this holds the key, else 2^id_bits or more.
    std::uint64_t number_of(Key key, int id_bits) const { return word ^ (key << id_bits); }
    Key key(int id_bits) const { return word >> id_bits; }
    std::int32_t id(int id_bits) const {
        return static_cast<std::int32_t>(word & ((std::uint64_t{1} << id_bits) - 1));
    }
    void set(Key key, std::int32_t id, int id_bits) { word = key << id_bits | static_cast<std::uint64_t>(id); }

    std::uint64_t word;
};

struct WideSlot {
    struct Key {
        std::uint64_t base;
        std::uint32_t tag;
    };
    static Key key(std::uint64_t base, std::uint32_t tag, int) { return {base, tag}; }
    static std::uint64_t mix(Key key) { return (key.base + key.tag * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u; }

    bool empty() const { return number == 0; }
    bool holds(Key key, int) const { return base == key.base && tag == key.tag; }
    std::uint64_t number_of(Key key, int) const {
        return holds(key, 0) ? static_cast<std::uint64_t>(number) : ~std::uint64_t{0};
    }
    Key key(int) const { return {base, tag}; }
    std::int32_t id(int) const { return number; }
    void set(Key key, std::int32_t id, int) { base = key.base, tag = key.tag, number = id; }

    std::uint64_t base;
    std::uint32_t tag;
    std::int32_t number;
};

// Open addressing with linear probing.
template <class Slot>
class KeyTable {
public:
    using Key = typename Slot::Key;

    // Removes all keys and keeps the memory. At most `limit` keys will be added; numbers have id_bits.
    void clear(std::int64_t limit, int id_bits) {
        id_bits_ = id_bits;
        count_ = 0;
        int bits = smallest; // at most the last table's size, which is a good guess
        while (bits < bits_ && (std::int64_t{1} << bits) < load * limit) ++bits;
        resize(bits);
    }

    std::int32_t count() const { return count_; }

    void prefetch(Key key) const { RLOSSCTL_PREFETCH(&slots_[home(key)]); }

    // Most keys are in their home slot or the next one, and no processor can predict which are not. So N keys are
    // looked up there first, without a branch, and the others afterwards one by one.
    template <int N>
    void find(const Key (&keys)[N], std::int32_t (&ids)[N]) const {
        const std::uint64_t limit = std::uint64_t{1} << id_bits_;
        std::uint32_t open = 0;
        for (int i = 0; i < N; ++i) {
            const Slot* const pair = &slots_[home(keys[i])];
            const std::uint64_t number = number_in(pair, keys[i]);
            ids[i] = number < limit ? static_cast<std::int32_t>(number) : 0;
            open |= static_cast<std::uint32_t>((number >= limit) & !pair[1].empty()) << i;
        }
        for (; open != 0; open &= open - 1) {
            const int i = __builtin_ctz(open);
            ids[i] = slots_[probe(keys[i])].id(id_bits_);
        }
    }

    // Calls added(i) for each new keys[i], in order; its number is then count().
    template <int N, class Added>
    void find_or_add(const Key (&keys)[N], std::int32_t (&ids)[N], const Added& added) {
        const std::uint64_t limit = std::uint64_t{1} << id_bits_;
        std::uint32_t open = 0;
        for (int i = 0; i < N; ++i) {
            const std::uint64_t number = number_in(&slots_[home(keys[i])], keys[i]);
            ids[i] = static_cast<std::int32_t>(number);
            open |= static_cast<std::uint32_t>(number >= limit) << i;
        }
        for (; open != 0; open &= open - 1) {
            const int i = __builtin_ctz(open);
            Slot& slot = slots_[probe(keys[i])];
            if (slot.empty()) {
                slot.set(keys[i], ++count_, id_bits_);
                ids[i] = count_;
                added(i);
                if (std::int64_t{load} * count_ > std::int64_t{1} << bits_) grow();
            } else {
                ids[i] = slot.id(id_bits_);
            }
        }
    }

private:
    static constexpr int smallest = 10, load = 2; // slots for each key, at least

    // The first of a pair of slots.
    std::size_t home(Key key) const { return static_cast<std::size_t>(Slot::mix(key) >> (65 - bits_)) << 1; }

    // 2^id_bits or more if neither of the two slots holds the key.
    std::uint64_t number_in(const Slot* pair, Key key) const {
        return std::min(pair[0].number_of(key, id_bits_), pair[1].number_of(key, id_bits_));
    }

    // The slot of the key, or the empty one where it belongs.
    std::size_t probe(Key key) const {
        const std::size_t mask = (std::size_t{1} << bits_) - 1;
        std::size_t i = home(key);
        while (!slots_[i].empty() && !slots_[i].holds(key, id_bits_)) i = (i + 1) & mask;
        return i;
    }

    void resize(int bits) {
        bits_ = bits;
        const std::size_t count = std::size_t{1} << bits;
        slots_.ensure(count);
        std::fill(slots_.data(), slots_.data() + count, Slot{});
    }

    void grow() {
        const std::size_t count = std::size_t{1} << bits_;
        old_.ensure(count);
        std::copy(slots_.data(), slots_.data() + count, old_.data());
        resize(bits_ + 1);
        for (std::size_t i = 0; i < count; ++i)
            if (!old_[i].empty()) slots_[probe(old_[i].key(id_bits_))] = old_[i];
    }

    Buffer<Slot> slots_, old_;
    int bits_ = smallest, id_bits_ = 0;
    std::int32_t count_ = 0;
};

} // namespace rlossctl
