// A cell through time, backward.
//
//   dh_t = (what came past the products) + dz_(t+1) Wh^T      sums (R, B) in registers; the product times the mask,
//                                                            if there is one
//   dz_t = Cell::backward_row(dh_t)                          gradients of the pre-activations, one row at a time
//
// dz is written twice: in dz_rows, one step at a time, for the product of the step before; and in dz, panel by
// panel for all steps of a block, where the gradients of weights and inputs (gradients.hpp) read straight lines.
#pragma once
#include "forward.hpp"

namespace elman {
namespace ELMAN_ISA {

// Hidden units with their padding.
template <class Cell> constexpr index padded(index units) {
    return rounded_up(units, Lanes<typename Cell::T>::count * Cell::unit_vectors);
}

template <class T> ELMAN_INLINE T* dz_row(const Backward<T>& f, index t, index b) {
    return f.dz_rows + ((t & 1) * f.batch.sequences + b) * f.ldz;
}

// First vector of dz of unit vector j, step t, sequence b; those of the other gates stand unit_vectors further each.
template <class Cell, class T = typename Cell::T> ELMAN_INLINE T* dz_panel(const Backward<T>& f, index t, index b,
                                                                           index j) {
    constexpr int U = Cell::unit_vectors;
    return f.dz + ((j / U * f.slots + f.batch.slot[t] + b) * Cell::Shape::sums + j % U) * Lanes<T>::count;
}

template <class T> ELMAN_INLINE const T* h_before(const Backward<T>& f, index t, index b) {
    const index row = f.batch.first[b] + (t - 1) * f.batch.direction;
    return t ? f.y + row * f.ldy : f.h0 + b * f.ld_h0;
}

// Takes the part of a state's gradient that zoneout lets past the step out of it.
template <class T> ELMAN_INLINE vec<T> zoned_past(const T* zones, index ld, index row, index unit, index n, vec<T>& d) {
    if (!is_there(zones)) return vec<T>{};
    const vec<T> z = load(zones + row * ld + unit, n), past = z * d;
    d = (T(1) - z) * d;
    return past;
}

// start + a w, with a (rows, depth) and w (depth, units) packed by pack_transposed.
template <class T> struct RowsProduct {
    static constexpr int L = Lanes<T>::count;
    const T* start;     // (rows, ld_start) or null for zeros
    index ld_start;
    const T* a;         // (rows, lda)
    index lda;
    const T* w;
    index depth;        // 0: the start alone
    index block_depth;  // depth of the packed w

    // Calls done(r, j, vector) for every row r and unit vector j.
    template <class F> ELMAN_INLINE void run(index rows, index units, F done) const {
        alignas(ELMAN_VECTOR_BYTES) T sums[block_rows * column_block * L];
        for_blocks(rows, block_rows, [&](index first, index count) {
            for_tiles<column_block>(rounded_up(units, L) / L, [&](index j, auto columns) {
                constexpr int B = columns.value;
                block<B>(first, count, j, sums);
                for (index r = 0; r < count; ++r)
                    for (int v = 0; v < B; ++v) done(first + r, j + v, load(sums + (r * B + v) * L));
            });
        });
    }

private:
    template <int B> void block(index first, index rows, index j, T* sums) const {
        for_tiles<max_rows(B)>(
            rows, [&](index row, auto count) { tile<count.value, B>(first + row, j, sums + row * B * L); });
    }

    template <int R, int B> ELMAN_APART void tile(index row, index j, T* sums) const {
        vec<T> acc[R][B];
        load_tile<T>(acc, start ? start + row * ld_start + j * L : nullptr, ld_start);
        const T* rows_of_a[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) rows_of_a[r] = a + (row + r) * lda;
        multiply<T, B, 0>(acc, rows_of_a, w + j * block_depth * L, depth);
        store_tile<T>(acc, sums, B * L);
    }
};

// dh of step t for sequences b0..b1, from dz of step t + 1; without it (`ends`) what was put into dh beforehand. Calls
// done(r, j, dh) for every sequence b0 + r and unit vector j.
template <class Cell, class F, class T = typename Cell::T>
ELMAN_INLINE void hidden_gradient(const Backward<T>& f, index t, index b0, index b1, bool ends, F done) {
    const index Hp = padded<Cell>(f.units), depth = Hp * Cell::h_gates;
    const T* const past = f.dh + b0 * Hp;
    const RowsProduct<T> product = {f.mask ? nullptr : past, Hp,   dz_row(f, t + 1, b0), f.ldz, f.packed_h,
                                    ends ? 0 : depth,        depth};
    product.run(b1 - b0, f.units, [&](index r, index j, vec<T> dh) {
        const index at = r * Hp + j * Lanes<T>::count;
        if (is_there(f.mask)) dh = fma(dh, load(f.mask + b0 * Hp + at), load(past + at));
        done(r, j, dh);
    });
}

// h before step t of sequence b as the products had it, for the weight gradients.
template <class Cell, class T = typename Cell::T> void keep_masked(const Backward<T>& f, index t, index b) {
    const T* const h = h_before(f, t, b);
    const T* const mask = f.mask + b * padded<Cell>(f.units);
    T* const to = f.masked_h + (f.batch.slot[t] + b) * f.units;
    for (index unit = 0; unit < f.units; unit += Lanes<T>::count) {
        const index n = f.units - unit;
        store(to + unit, load(h + unit, n) * load(mask + unit), n);
    }
}

template <class Cell, class T = typename Cell::T> void backward(const Backward<T>& f, Range range) {
    const Batch& batch = f.batch;
    for (index t = range.t1 - 1; t >= range.t0; --t) {
        const auto clipped = [&](index b) { return b < range.b0 ? range.b0 : b < range.b1 ? b : range.b1; };
        // Sequences that end with this step have no step after it to multiply.
        const index going_on = clipped(t + 1 < batch.steps ? batch.active[t + 1] : 0);
        const index active = clipped(batch.active[t]);
        for (index b = range.b0; f.mask && b < active; ++b) keep_masked<Cell>(f, t, b);
        Cell::backward_step(f, t, range.b0, going_on, false);
        Cell::backward_step(f, t, going_on, active, true);
    }
}

template <class Cell, class T = typename Cell::T> void initial_gradient(const Backward<T>& f, index b0, index b1) {
    const index Hp = padded<Cell>(f.units);
    hidden_gradient<Cell>(f, -1, b0, b1, false,
                          [&](index r, index j, vec<T> dh) { store(f.dh + (b0 + r) * Hp + j * Lanes<T>::count, dh); });
}

}  // namespace ELMAN_ISA
}  // namespace elman
