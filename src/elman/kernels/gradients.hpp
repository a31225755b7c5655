// Work over all rows of a block of steps, in no order of time.
//
//   dWx += x^T dz,  dWh += h_before^T dz,  db += sum of dz      sums (R inputs, V vectors) in registers, rows ascending
//   dx   = dz Wx^T
#pragma once
#include "backward.hpp"

namespace elman {
namespace ELMAN_ISA {

// dW[m][V][L] += sum over s of rows[s][m] * dz[s][V][L], m < width; dz moves by `stride` from one s to the next.
template <class T, int V>
void add_outer_products(const T* const* rows, index slots, index width, const T* dz, index stride, T* dW) {
    constexpr int L = Lanes<T>::count;
    for_tiles<max_rows(V)>(width, [&](index m, auto count) {
        constexpr int R = count.value;
        vec<T> acc[R][V];
        load_tile<T>(acc, dW + m * V * L, V * L);
        const T* d = dz;
        for (index s = 0; s < slots; ++s, d += stride) {
            const T* a = rows[s] + m;
            vec<T> b[V];
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) b[v] = load(d + v * L);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
                const vec<T> factor = splat(a[r]);
#pragma GCC unroll 8
                for (int v = 0; v < V; ++v) acc[r][v] = fma(factor, b[v], acc[r][v]);
            }
        }
        store_tile<T>(acc, dW + m * V * L, V * L);
    });
}

template <class T, int A> void add_rows(index slots, const T* dz, T* db) {
    constexpr int L = Lanes<T>::count;
    vec<T> acc[1][A];
    load_tile<T>(acc, db, 0);
    for (index s = 0; s < slots; ++s, dz += A * L)
#pragma GCC unroll 8
        for (int v = 0; v < A; ++v) acc[0][v] += load(dz + v * L);
    store_tile<T>(acc, db, 0);
}

template <class Cell, class T = typename Cell::T> void input_gradient(const Backward<T>& f, index s0, index s1) {
    using Shape = typename Cell::Shape;
    constexpr int L = Lanes<T>::count, A = Shape::sums, V = Shape::x_vectors;
    alignas(ELMAN_VECTOR_BYTES) T sums[block_rows * column_block * L];
    const index panels = unit_panels<Cell>(f.units);
    for_blocks(s1 - s0, block_rows, [&](index block, index rows) {
        for_tiles<column_block>(rounded_up(f.inputs, L) / L, [&](index j, auto columns) {
            constexpr int B = columns.value;
            for (index p = 0; p < panels; ++p) {
                const T* dz = f.dz + ((p * f.slots + s0 + block) * A + Shape::x_offset) * L;
                const T* weights = f.packed_x + (j * panels + p * B) * L * V * L;
                for_tiles<max_rows(B)>(rows, [&](index row, auto count) {
                    constexpr int R = count.value;
                    vec<T> acc[R][B];
                    load_tile<T>(acc, p ? sums + row * B * L : nullptr, B * L);
                    const T* a[R];
#pragma GCC unroll 16
                    for (int r = 0; r < R; ++r) a[r] = dz + (row + r) * A * L;
                    multiply<T, B, 0>(acc, a, weights, V * L);
                    store_tile<T>(acc, sums + row * B * L, B * L);
                });
            }
            for (index r = 0; r < rows; ++r)
                for (int v = 0; v < B; ++v)
                    if ((j + v) * L < f.inputs)
                        store(f.dx_rows[s0 + block + r] + (j + v) * L, load(sums + (r * B + v) * L),
                              f.inputs - (j + v) * L);
        });
    });
}

}  // namespace ELMAN_ISA
}  // namespace elman
