// What the loops ask of a cell, and the part that cells with one product for all their gates have in common.
//
//   T, unit_vectors         scalar; vectors of hidden units in a panel
//   Shape                   how x Wx and h Wh meet in the sums of a panel
//   x_order, h_order        gate at each place of the x (h) weights; h_gates of them for h
//   pack, unpack            weights into panels, gradients out of panels
//   forward_block           step t of sequences b..b+rows
//   backward_step           step t of sequences b0..b1; `ends`: it is their last
//   weight_gradient         adds the block to dWx, dWh, db of panel p
#pragma once
#include "gradients.hpp"

namespace elman {
namespace ELMAN_ISA {

// A panel has `sums` vectors of pre-activations; x weighs on x_vectors of them from x_offset on, h likewise.
template <int sums_, int x_vectors_, int x_offset_, int h_vectors_, int h_offset_> struct PanelShape {
    static constexpr int sums = sums_;
    static constexpr int x_vectors = x_vectors_, x_offset = x_offset_;
    static constexpr int h_vectors = h_vectors_, h_offset = h_offset_;
};

// Cells add forward_row(f, t, b, p, sums) and backward_row(f, t, b, j, dh) of unit vector j, and bias.
template <class Cell, class T> struct OnePass {
    static constexpr int L = Lanes<T>::count;

    static void forward_block(const Forward<T>& f, index t, index b, index rows) {
        constexpr int A = Cell::Shape::sums;
        alignas(ELMAN_VECTOR_BYTES) T sums[block_rows * A * L];
        for (index p = 0; p < unit_panels<Cell>(f.units); ++p)
            whole_panel<Cell>(f, t, b, p, sums).run(rows, [&](index row, index count) {
                for (index r = row; r < row + count; ++r) Cell::forward_row(f, t, b + r, p, sums + r * A * L);
            });
    }

    static void backward_step(const Backward<T>& f, index t, index b0, index b1, bool ends) {
        hidden_gradient<Cell>(f, t, b0, b1, ends,
                              [&](index r, index j, vec<T> dh) { Cell::backward_row(f, t, b0 + r, j, dh); });
    }

    static void weight_gradient(const Backward<T>& f, index p) {
        using Shape = typename Cell::Shape;
        constexpr int A = Shape::sums;
        const T* const dz = f.dz + p * f.slots * A * L;
        add_outer_products<T, Shape::x_vectors>(f.x_rows, f.slots, f.inputs, dz + Shape::x_offset * L, A * L,
                                                f.dWx + p * f.inputs * Shape::x_vectors * L);
        add_outer_products<T, Shape::h_vectors>(f.h_before, f.slots, f.units, dz + Shape::h_offset * L, A * L,
                                                f.dWh + p * f.units * Shape::h_vectors * L);
        add_rows<T, A>(f.slots, dz, f.db + p * A * L);
    }

    static constexpr index packed_panel(index inputs, index units) {
        return panel_size<typename Cell::Shape, T>(inputs, units);
    }

    static void pack_forward(const Weights<T>& w, T* out) {
        for (index p = 0; p < unit_panels<Cell>(w.units); ++p) {
            Cell::pack_bias(w, p, out);
            out += Cell::Shape::sums * L;
            out = pack_rows(w.Wx, w.inputs, w.units, Cell::G, p, Cell::unit_vectors, Cell::x_order, out);
            out = pack_rows(w.Wh, w.units, w.units, Cell::G, p, Cell::unit_vectors, Cell::h_order, out);
        }
    }

    static void pack_backward(const Weights<T>& w, T* packed_h, T* packed_x) {
        const index vectors = padded<Cell>(w.units) / L;
        pack_transposed(w.Wh, w.units, w.units, Cell::G, vectors, Cell::h_order, packed_h);
        pack_transposed(w.Wx, w.inputs, w.units, Cell::G, vectors, Cell::x_order, packed_x);
    }

    static void unpack_gradient(const Backward<T>& f, T* dWx, T* dWh, T* db, T* dvectors) {
        const index panels = unit_panels<Cell>(f.units);
        unpack_rows(f.dWx, f.inputs, f.units, Cell::G, panels, Cell::unit_vectors, Cell::x_order, dWx);
        unpack_rows(f.dWh, f.units, f.units, Cell::G, panels, Cell::unit_vectors, Cell::h_order, dWh);
        for (index p = 0; p < panels; ++p) Cell::unpack_bias(f, p, db, dvectors);
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
