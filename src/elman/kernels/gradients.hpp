// Work over all rows of a block of steps, in no order of time.
//
//   dWx += x^T dz,  dWh += h_before^T dz,  db += sum of dz      sums (R inputs, V vectors) in registers, rows ascending
//   dx   = dz Wx^T
#pragma once
#include "backward.hpp"

namespace elman {
namespace ELMAN_ISA {

// R rows m of dW[m][V][L] += sum over s of rows[s][m] * dz[s][V][L]; dz moves by `stride` from one s to the next, dW by
// `row` from one m to the next.
template <class T, int R, int V>
ELMAN_APART void outer_products_tile(const T* const* rows, index slots, index m, const T* dz, index stride, T* dW,
                                     index row) {
    constexpr int L = Lanes<T>::count;
    vec<T> acc[R][V];
    load_tile<T>(acc, dW + m * row, row);
    for (index s = 0; s < slots; ++s, dz += stride) {
        const T* a = rows[s] + m;
        vec<T> b[V];
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) b[v] = load(dz + v * L);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const vec<T> factor = splat(a[r]);
#pragma GCC unroll 8
            for (int v = 0; v < V; ++v) acc[r][v] = fma(factor, b[v], acc[r][v]);
        }
    }
    store_tile<T>(acc, dW + m * row, row);
}

// The same for m0 <= m < m1.
template <class T, int V>
void add_outer_products(const T* const* rows, index slots, index m0, index m1, const T* dz, index stride, T* dW,
                        index row) {
    for_tiles<max_rows(V)>(m1 - m0, [&](index m, auto count) {
        outer_products_tile<T, count.value, V>(rows, slots, m0 + m, dz, stride, dW, row);
    });
}

// All m < width, without space between the rows of dW.
template <class T, int V>
void add_outer_products(const T* const* rows, index slots, index width, const T* dz, index stride, T* dW) {
    add_outer_products<T, V>(rows, slots, 0, width, dz, stride, dW, V * Lanes<T>::count);
}

// db[A][L] += sum over s of dz[s][A][L].
template <class T, int A> void add_rows(index slots, const T* dz, T* db, index stride = A * Lanes<T>::count) {
    constexpr int L = Lanes<T>::count;
    vec<T> acc[1][A];
    load_tile<T>(acc, db, 0);
    for (index s = 0; s < slots; ++s, dz += stride)
#pragma GCC unroll 8
        for (int v = 0; v < A; ++v) acc[0][v] += load(dz + v * L);
    store_tile<T>(acc, db, 0);
}

// Rows slot..slot+R of dx, the columns of B vectors from j on, to sums [R][B][L].
template <class Shape, int R, int B, class T>
ELMAN_APART void input_gradient_tile(const Backward<T>& f, index panels, index slot, index j, T* sums) {
    constexpr int L = Lanes<T>::count, A = Shape::sums, V = Shape::x_vectors;
    const T* w = f.packed_x + j * panels * L * V * L;
    vec<T> acc[R][B] = {};
    for (index p = 0; p < panels; ++p, w += V * L * B * L) {
        const T* const dz = f.dz + ((p * f.slots + slot) * A + Shape::x_offset) * L;
        const T* a[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) a[r] = dz + r * A * L;
        multiply<T, B, 0>(acc, a, w, V * L);
    }
    store_tile<T>(acc, sums, B * L);
}

template <class Cell, class T = typename Cell::T> void input_gradient(const Backward<T>& f, index s0, index s1) {
    constexpr int L = Lanes<T>::count;
    const index panels = unit_panels<Cell>(f.units);
    alignas(ELMAN_VECTOR_BYTES) T sums[block_rows * column_block * L];
    for_blocks(s1 - s0, block_rows, [&](index block, index rows) {
        const index slot = s0 + block;
        for_tiles<column_block>(rounded_up(f.inputs, L) / L, [&](index j, auto columns) {
            constexpr int B = columns.value;
            for_tiles<max_rows(B)>(rows, [&](index row, auto count) {
                input_gradient_tile<typename Cell::Shape, count.value, B>(f, panels, slot + row, j, sums + row * B * L);
            });
            for (index r = 0; r < rows; ++r)
                for (int v = 0; v < B; ++v) {
                    const index column = (j + v) * L;
                    store(f.dx_rows[slot + r] + column, load(sums + (r * B + v) * L), f.inputs - column);
                }
        });
    });
}

}  // namespace ELMAN_ISA
}  // namespace elman
