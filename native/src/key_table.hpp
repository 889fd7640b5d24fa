// Numbers distinct keys 1, 2, 3, ... in the order of their first appearance. 0 means "not there".
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "buffer.hpp"
#include "compiler.hpp"

namespace rlossctl {

// A key and its number in one word, if they fit (see Builder::fits), so that a table is half as large. A key is never
// 0, because the layout leaves room below each quotient. It is kept shifted, with room for the number below.
struct NarrowSlot {
    using Key = std::uint64_t;
    static Key key(std::uint64_t base, std::uint32_t tag, int tag_bits, int id_bits) {
        return base << (tag_bits + id_bits) | std::uint64_t{tag} << id_bits;
    }
    // The golden ratio spreads the regular keys of a lattice better than a random function would.
    static std::uint64_t mix(Key key) { return key * 0x9E3779B97F4A7C15u; }

    bool empty() const { return word == 0; }
    // The number if this holds the key, else `limit` or more.
    std::uint64_t number_of(Key key, std::uint64_t) const { return word ^ key; }
    // Whether this holds the key or is empty.
    bool takes(Key key, std::uint64_t limit) const { return (word == 0) | ((word ^ key) < limit); }
    Key key(std::uint64_t limit) const { return word & ~(limit - 1); }
    std::int32_t id(std::uint64_t limit) const { return static_cast<std::int32_t>(word & (limit - 1)); }
    void fill(Key key, std::int32_t id) { word = empty() ? key | static_cast<std::uint64_t>(id) : word; }

    std::uint64_t word;
};

struct WideSlot {
    struct Key {
        std::uint64_t base;
        std::uint32_t tag;
    };
    static Key key(std::uint64_t base, std::uint32_t tag, int, int) { return {base, tag}; }
    static std::uint64_t mix(Key key) { return (key.base + key.tag * 0xD6E8FEB86659FD93u) * 0x9E3779B97F4A7C15u; }

    bool empty() const { return number == 0; }
    bool holds(Key key) const { return base == key.base && tag == key.tag && !empty(); }
    std::uint64_t number_of(Key key, std::uint64_t limit) const {
        return holds(key) ? static_cast<std::uint64_t>(number) : limit;
    }
    bool takes(Key key, std::uint64_t) const { return empty() || holds(key); }
    Key key(std::uint64_t) const { return {base, tag}; }
    std::int32_t id(std::uint64_t) const { return number; }
    void fill(Key key, std::int32_t id) {
        if (empty()) base = key.base, tag = key.tag, number = id;
    }

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

    // A tag has tag_bits.
    Key key(std::uint64_t base, std::uint32_t tag, int tag_bits) const {
        return Slot::key(base, tag, tag_bits, id_bits_);
    }

    void prefetch(Key key) const { RLOSSCTL_PREFETCH(&slots_[home(key)]); }

    // Most keys are in their home slot or the next one, and no processor can predict which are not. So N keys are
    // looked up there first, without a branch, and the others afterwards one by one.
    template <int N>
    void find(const Key (&keys)[N], std::int32_t (&ids)[N]) const {
        const std::uint64_t limit = this->limit();
        std::uint32_t open = 0;
        for (int i = 0; i < N; ++i) {
            const Slot* const pair = &slots_[home(keys[i])];
            const std::uint64_t number = number_in(pair, keys[i], limit);
            ids[i] = number < limit ? static_cast<std::int32_t>(number) : 0;
            open |= static_cast<std::uint32_t>((number >= limit) & !pair[1].empty()) << i;
        }
        for (; open != 0; open &= open - 1) {
            const int i = __builtin_ctz(open);
            ids[i] = slots_[probe(keys[i], limit)].id(limit);
        }
    }

    // The same for the first `used` keys, which are added if they are new. Nor is there a branch on whether a key is
    // new: note(i, number) is called for each that might be, and its last call with a number is the right one.
    template <int N, class Note>
    void find_or_add(const Key (&keys)[N], int used, std::int32_t (&ids)[N], const Note& note) {
        const std::uint64_t limit = this->limit();
        int open[N], opens = 0;
        for (int i = 0; i < used; ++i) {
            const std::uint64_t number = number_in(&slots_[home(keys[i])], keys[i], limit);
            ids[i] = static_cast<std::int32_t>(number);
            open[opens] = i;
            opens += number >= limit;
        }
        while (load * (std::int64_t{count_} + opens) > std::int64_t{1} << bits_) grow();
        std::int32_t count = count_;
        for (int at = 0; at < opens; ++at) {
            const int i = open[at];
            Slot* slot = &slots_[home(keys[i])];
            slot += !slot->takes(keys[i], limit);
            if (!slot->takes(keys[i], limit)) slot = &slots_[probe(keys[i], limit)];
            note(i, count + 1);
            const bool fresh = slot->empty();
            slot->fill(keys[i], count + 1);
            count += fresh;
            ids[i] = slot->id(limit);
        }
        count_ = count;
    }

private:
    static constexpr int smallest = 10, load = 4; // slots for each key, at least

    std::uint64_t limit() const { return std::uint64_t{1} << id_bits_; }

    // The first of a pair of slots.
    std::size_t home(Key key) const { return static_cast<std::size_t>(Slot::mix(key) >> (65 - bits_)) << 1; }

    // `limit` or more if neither of the two slots holds the key.
    static std::uint64_t number_in(const Slot* pair, Key key, std::uint64_t limit) {
        return std::min(pair[0].number_of(key, limit), pair[1].number_of(key, limit));
    }

    // The slot of the key, or the empty one where it belongs.
    std::size_t probe(Key key, std::uint64_t limit) const {
        const std::size_t mask = (std::size_t{1} << bits_) - 1;
        std::size_t i = home(key);
        while (!slots_[i].takes(key, limit)) i = (i + 1) & mask;
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
            if (!old_[i].empty()) slots_[probe(old_[i].key(limit()), limit())] = old_[i];
    }

    Buffer<Slot> slots_, old_;
    int bits_ = smallest, id_bits_ = 0;
    std::int32_t count_ = 0;
};

} // namespace rlossctl
