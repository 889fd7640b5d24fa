// Memory that grows and is kept: only the first filter call allocates.
#pragma once

#include <cstddef>
#include <new>

namespace rlossctl {

// Uninitialised, cache-line aligned array of a trivial type. ensure() may lose the contents.
template <class T>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { release(); }

    void ensure(std::size_t count) {
        if (count <= capacity_) return;
        release();
        data_ = static_cast<T*>(::operator new(count * sizeof(T), alignment));
        capacity_ = count;
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }

private:
    static constexpr std::align_val_t alignment{64};

    void release() {
        if (data_ != nullptr) ::operator delete(data_, alignment);
        data_ = nullptr;
        capacity_ = 0;
    }

    T* data_ = nullptr;
    std::size_t capacity_ = 0;
};

} // namespace rlossctl
