// Working memory of one call: aligned to cache lines, not initialised unless asked.
#pragma once
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>

#include "kernels.hpp"

namespace elman {

// How many elements an array of these sizes has; no memory holds more than can be counted.
inline index elements(std::initializer_list<index> sizes) {
    index product = 1;
    for (index size : sizes)
        if (__builtin_mul_overflow(product, size, &product)) throw std::bad_alloc();
    return product;
}

template <class T>
class Memory {
public:
    Memory() = default;
    explicit Memory(index n) : data_(allocate(n)) {}
    T* get() const { return data_.get(); }
    T& operator[](index i) const { return data_.get()[i]; }

    static Memory zeros(index n) {
        Memory memory(n);
        std::memset(static_cast<void*>(memory.get()), 0, n * sizeof(T));
        return memory;
    }

private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    static T* allocate(index n) {
        constexpr index most = std::numeric_limits<index>::max() / sizeof(T) - 64;
        if (n < 0 || n > most) throw std::bad_alloc();
        const index bytes = (n * static_cast<index>(sizeof(T)) + 64) / 64 * 64;
        void* p = std::aligned_alloc(64, bytes);
        if (!p) throw std::bad_alloc();
        return static_cast<T*>(p);
    }
    std::unique_ptr<T, Free> data_;
};

}  // namespace elman
