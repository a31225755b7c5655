// A cell through time, forward.
//
//   sums = b + x_t Wx + h_(t-1) Wh      (R, A) in registers, weights from panels (pack.hpp)
//   h_t  = Cell::forward_row(sums)      one row at a time, while its sums are in the L1 cache
//
// Order of the loops: steps, blocks of rows, panels of hidden units, tiles of rows.
// h is kept twice, by the parity of t, since the panels of step t all read the whole of h_(t-1).
#pragma once
#include "pack.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class Shape, class T> constexpr index panel_size(index inputs, index units) {
    return (Shape::sums + inputs * Shape::x_vectors + units * Shape::h_vectors) * Lanes<T>::count;
}

template <class Cell> constexpr index unit_panels(index units) {
    constexpr int width = Lanes<typename Cell::T>::count * Cell::unit_vectors;
    return (units + width - 1) / width;
}

// The sums of one panel for a block of rows.
template <class T, class Shape> struct ForwardPanel {
    static constexpr int L = Lanes<T>::count;
    static constexpr int A = Shape::sums;

    const T* start;         // [A][L] or [rows][A][L] where the sums begin
    index start_stride;     // 0 or A*L
    const T* x;             // x of row r: x + first[r] * ldx
    const index* first;
    index ldx;
    index inputs;           // 0 if x Wx is in the start already, or not wanted
    const T* wx;            // [inputs][x_vectors][L]
    const T* h;             // (rows, ldh)
    index ldh;
    index units;            // 0 if h Wh is not wanted
    const T* wh;            // [units][h_vectors][L]
    T* sums;                // [rows][A][L]

    // Rows row..row+R.
    template <int R> ELMAN_APART void tile(index row) const {
        vec<T> acc[R][A];
        load_tile<T>(acc, start + row * start_stride, start_stride);
        const T* a[R];
        if (inputs) {
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) a[r] = x + first[row + r] * ldx;
            multiply<T, Shape::x_vectors, Shape::x_offset>(acc, a, wx, inputs);
        }
        if (units) {
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) a[r] = h + (row + r) * ldh;
            multiply<T, Shape::h_vectors, Shape::h_offset>(acc, a, wh, units);
        }
        store_tile<T>(acc, sums + row * A * L, A * L);
    }

    // done(row, count) follows each tile.
    template <class F> ELMAN_INLINE void run(index rows, F done) const {
        for_tiles<max_rows(A)>(rows, [&](index row, auto count) {
            tile<count.value>(row);
            done(row, count.value);
        });
    }
};

// Whether a mask or zones act: told to be rare, so that code for them stands apart from the loops without.
template <class T> ELMAN_INLINE bool is_there(const T* noise) { return __builtin_expect(noise != nullptr, 0); }

// Where the state before step t of sequence b stands, and where the one after it goes.
template <class T> ELMAN_INLINE const T* state_before(const Forward<T>& f, index t, index b) {
    return f.h + ((t & 1) * f.batch.sequences + b) * f.ldh;
}
template <class T> ELMAN_INLINE T* state_after(const Forward<T>& f, index t, index b) {
    return f.h + ((~t & 1) * f.batch.sequences + b) * f.ldh;
}

// The state before step t of sequence b as it enters the products.
template <class T> ELMAN_INLINE const T* product_before(const Forward<T>& f, index t, index b) {
    return (is_there(f.mask) ? f.masked_h : f.h) + ((t & 1) * f.batch.sequences + b) * f.ldh;
}

// Puts the units from `unit` on of the state after step t of sequence b in their place.
template <class T> ELMAN_INLINE void put_state(const Forward<T>& f, index t, index b, index unit, vec<T> h) {
    store(state_after(f, t, b) + unit, h);
    if (is_there(f.mask)) {
        const index row = (~t & 1) * f.batch.sequences + b;
        store(f.masked_h + row * f.ldh + unit, h * load(f.mask + b * f.ldh + unit));
    }
}

// Zoneout of units from `unit` on in a row of all steps.
template <class T> ELMAN_INLINE vec<T> zone_out(const T* zones, index ld, index row, index unit, index n, vec<T> before,
                                                vec<T> after) {
    const vec<T> z = load(zones + row * ld + unit, n);
    return fma(z, before, (T(1) - z) * after);
}

// Panel p of the pre-activations at step t for sequences from b on, all of it: bias, x and h.
template <class Cell, class T = typename Cell::T>
ELMAN_INLINE ForwardPanel<T, typename Cell::Shape> whole_panel(const Forward<T>& f, index t, index b, index p,
                                                               T* sums) {
    using Shape = typename Cell::Shape;
    constexpr int L = Lanes<T>::count, A = Shape::sums;
    const T* const bias = f.packed + p * panel_size<Shape, T>(f.inputs, f.units);
    const T* const wx = bias + A * L;
    const T* const wh = wx + f.inputs * Shape::x_vectors * L;
    const T* const x = f.x + t * f.batch.direction * f.ldx;
    const T* const h = product_before(f, t, b);
    if (!f.x_product) return {bias, 0, x, f.batch.first + b, f.ldx, f.inputs, wx, h, f.ldh, f.units, wh, sums};
    const T* const start = f.x_product + (p * f.slots + f.batch.slot[t] + b) * A * L;
    return {start, A * L, x, f.batch.first + b, f.ldx, 0, wx, h, f.ldh, f.units, wh, sums};
}

// x_product of slots s0..s1, which stand in these rows of x.
template <class Cell, class T = typename Cell::T>
void input_product(const Forward<T>& f, const index* rows_of_x, index s0, index s1, T* x_product) {
    using Shape = typename Cell::Shape;
    constexpr int L = Lanes<T>::count, A = Shape::sums;
    for_blocks(s1 - s0, block_rows, [&](index block, index rows) {
        const index s = s0 + block;
        for (index p = 0; p < unit_panels<Cell>(f.units); ++p) {
            const T* const bias = f.packed + p * panel_size<Shape, T>(f.inputs, f.units);
            const ForwardPanel<T, Shape> panel = {bias,  0,        f.x,          rows_of_x + s,
                                                  f.ldx, f.inputs, bias + A * L, nullptr,
                                                  0,     0,        nullptr,      x_product + (p * f.slots + s) * A * L};
            panel.run(rows, [](index, index) {});
        }
    });
}

template <class Cell, class T = typename Cell::T> void forward(const Forward<T>& f, Range range) {
    for (index t = range.t0; t < range.t1; ++t) {
        const index end = f.batch.active[t] < range.b1 ? f.batch.active[t] : range.b1;
        if (end <= range.b0) return;
        for_blocks(end - range.b0, block_rows,
                   [&](index block, index rows) { Cell::forward_block(f, t, range.b0 + block, rows); });
    }
}

}  // namespace ELMAN_ISA
}  // namespace elman
