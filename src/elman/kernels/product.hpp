// Matrix products in register tiles.
//
//   sums(R, A) (+)= sum over k ascending of  a_r[k] * w[k](V)
//
// R rows by A vectors of L columns stay in registers while k runs. Whatever the tile, every sum is one chain of fma
// in ascending k from its starting value, so splitting k (sums stored and loaded again) or changing R leaves the bits
// alone.
#pragma once
#include "vec.hpp"

namespace elman {
namespace ELMAN_ISA {

// Rows of a tile that fill the registers with accumulators, leaving room for the vectors of w and a broadcast.
constexpr int max_rows(int vectors) {
#if defined(__AVX512F__)
    return vectors >= 4 ? 6 : vectors == 3 ? 8 : 12;
#elif defined(__aarch64__)
    return vectors >= 4 ? 6 : 8;
#elif defined(__AVX2__)
    return vectors >= 4 ? 3 : vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
#else
    return vectors >= 4 ? 2 : vectors == 3 ? 3 : vectors == 2 ? 4 : 6;
#endif
}

// Products whose columns are no gates (gradients of h and x) take up to this many vectors of them at a time.
constexpr int column_block = 4;

// Rows handled by one panel of weights before the next. Weights come from the L2 cache for each tile of rows, which
// overlaps with the arithmetic: cutting the depth into pieces that stay in L1 was measured and gains nothing.
constexpr int block_rows = 36;

// Cuts n rows into tiles of at most `most`, as equal as can be; calls f(first row, Int<rows>).
template <int most, class F> ELMAN_INLINE void for_tiles(index n, F f) {
    const index tiles = (n + most - 1) / most;
    index row = 0;
    for (index i = 0; i < tiles; ++i) {
        const index rows = (n - row + tiles - i - 1) / (tiles - i);
        auto call = [&](auto count) { f(row, count); };
        with_constant<most>(rows, call);
        row += rows;
    }
}

// Cuts n rows into blocks of at most `most`, as equal as can be; calls f(first row, rows).
template <class F> ELMAN_INLINE void for_blocks(index n, index most, F f) {
    const index blocks = (n + most - 1) / most;
    for (index i = 0; i < blocks; ++i) f(i * n / blocks, (i + 1) * n / blocks - i * n / blocks);
}

// acc[r][offset + v] += a[r][k] * w[k][v] for k < n.
template <class T, int V, int offset, int R, int A>
ELMAN_INLINE void multiply(vec<T> (&acc)[R][A], const T* const (&a)[R], const T* w, index n) {
    constexpr int L = Lanes<T>::count;
    for (index k = 0; k < n; ++k) {
        vec<T> b[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) b[v] = load(w + v * L);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const vec<T> s = splat(a[r][k]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) acc[r][offset + v] = fma(s, b[v], acc[r][offset + v]);
        }
        w += V * L;
    }
}

template <class T, int R, int A>
ELMAN_INLINE void load_tile(vec<T> (&acc)[R][A], const T* from, index row_stride) {
    constexpr int L = Lanes<T>::count;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < A; ++v) acc[r][v] = from ? load(from + r * row_stride + v * L) : vec<T>{};
}

template <class T, int R, int A>
ELMAN_INLINE void store_tile(const vec<T> (&acc)[R][A], T* to, index row_stride) {
    constexpr int L = Lanes<T>::count;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < A; ++v) store(to + r * row_stride + v * L, acc[r][v]);
}

}  // namespace ELMAN_ISA
}  // namespace elman
