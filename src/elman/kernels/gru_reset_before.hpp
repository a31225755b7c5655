// GRU with the reset before the product (Cho et al. 2014, eq. 5-8), gates r, z, n.
//
//   r, z = sigmoid(x W + h U + b)       n = tanh(x Wn + b_n + (r h) Un)
//   h' = (1 - z) n + z h
//
//   dn = dh' (1 - z) (1 - n^2)      dz = dh' (h - n) z (1 - z)
//   g  = dn Un^T                    dr = g h r (1 - r)
//   dh = dh' z + g r + [dr, dz] U^T
//
// The general form: any activation for each gate, what goes into them bounded by clip.
//
// Un multiplies r h, which needs all of r: each step takes two passes over the panels, forward and backward. The
// sums of n begin with b_n + x Wn in the first pass and go on with (r h) Un in the second.
//
// The equations in Python are in src/elman/cells/gru.py; tests/test_kernels.py holds both together.
#pragma once
#include "cell.hpp"
#include "gates.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class Scalar, bool general = false> struct GruResetBefore {
    using T = Scalar;
    static constexpr int L = Lanes<T>::count;
    static constexpr int G = 3, h_gates = 2, unit_vectors = 1;
    using Shape = PanelShape<3, 3, 0, 2, 0>;        // first pass
    using Candidate = PanelShape<1, 1, 0, 1, 0>;    // second pass, no x in it
    static constexpr GateOrder<3> x_order = {{0, 1, 2}};
    static constexpr GateOrder<2> h_order = {{0, 1}};
    static constexpr GateOrder<1> candidate_order = {{2}};

    // The second pass takes no part of what whole_panel looks at, so its weights stand after all first-pass panels.
    static constexpr index packed_panel(index inputs, index units) {
        return panel_size<Shape, T>(inputs, units) + units * L;
    }
    static const T* candidate_weights(const Forward<T>& s, index p) {
        return s.packed + unit_panels<GruResetBefore>(s.units) * panel_size<Shape, T>(s.inputs, s.units) +
               p * s.units * L;
    }

    static void pack_forward(const Weights<T>& w, T* out) {
        const index panels = unit_panels<GruResetBefore>(w.units);
        for (index p = 0; p < panels; ++p) {
            for (int g = 0; g < G; ++g, out += L) store(out, gate_vector(w.b, w.units, g, p * L));
            out = pack_rows(w.Wx, w.inputs, w.units, G, p, 1, x_order, out);
            out = pack_rows(w.Wh, w.units, w.units, G, p, 1, h_order, out);
        }
        for (index p = 0; p < panels; ++p) out = pack_rows(w.Wh, w.units, w.units, G, p, 1, candidate_order, out);
    }

    // Wh transposed: of r and z, then of n.
    static void pack_backward(const Weights<T>& w, T* packed_h, T* packed_x) {
        const index vectors = padded<GruResetBefore>(w.units) / L;
        pack_transposed(w.Wh, w.units, w.units, G, vectors, h_order, packed_h);
        pack_transposed(w.Wh, w.units, w.units, G, vectors, candidate_order, packed_h + packed_candidate(w.units));
        pack_transposed(w.Wx, w.inputs, w.units, G, vectors, x_order, packed_x);
    }
    static index packed_candidate(index units) {
        const index Hp = padded<GruResetBefore>(units);
        return Hp * Hp * h_gates;
    }

    static void forward_block(const Forward<T>& s, index t, index b, index rows) {
        constexpr index zeros[block_rows] = {};
        alignas(ELMAN_VECTOR_BYTES) T sums[block_rows * Shape::sums * L];
        const index panels = unit_panels<GruResetBefore>(s.units);
        for (index p = 0; p < panels; ++p)
            whole_panel<GruResetBefore>(s, t, b, p, sums).run(rows, [&](index row, index count) {
                for (index r = row; r < row + count; ++r) gates_row(s, t, b + r, p, sums + r * Shape::sums * L);
            });
        for (index p = 0; p < panels; ++p) {
            const ForwardPanel<T, Candidate> panel = {
                candidate(s, b) + p * L, s.ldh, nullptr, zeros, 0, 0, nullptr, s.reset_h + b * s.ldh, s.ldh, s.units,
                candidate_weights(s, p), sums};
            panel.run(rows, [&](index row, index count) {
                for (index r = row; r < row + count; ++r) candidate_row(s, t, b + r, p, sums + r * L);
            });
        }
    }

    // Between the passes z and the first half of n's sums wait beside r h: reset_h is (3, B, ldh).
    static ELMAN_INLINE T* candidate(const Forward<T>& s, index b) {
        return s.reset_h + (s.batch.sequences + b) * s.ldh;
    }
    static ELMAN_INLINE T* update(const Forward<T>& s, index b) {
        return s.reset_h + (2 * s.batch.sequences + b) * s.ldh;
    }

    static ELMAN_INLINE void gates_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        const index unit = p * L, n = s.units - unit;
        const vec<T> r = gate<general, Activation::sigmoid>(s.options, 0, load(sums));
        const vec<T> z = gate<general, Activation::sigmoid>(s.options, 1, load(sums + L));
        store(s.reset_h + b * s.ldh + unit, r * load(product_before(s, t, b) + unit));
        store(candidate(s, b) + unit, load(sums + 2 * L));
        store(update(s, b) + unit, z);
        if (s.gates) {
            T* const gates = s.gates + (s.batch.first[b] + t * s.batch.direction) * G * s.units + unit;
            for (int g = 0; g < G; ++g) will_write(gates + s.batch.direction * G * s.units + g * s.units);
            store(gates, r, n);
            store(gates + s.units, z, n);
        }
    }

    static ELMAN_INLINE void candidate_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        const index unit = p * L, n_lanes = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        const vec<T> n = gate<general, Activation::tanh>(s.options, 2, load(sums));
        const vec<T> z = load(update(s, b) + unit);
        const vec<T> before = load(state_before(s, t, b) + unit);
        vec<T> h = fma(z, before, (T(1) - z) * n);
        if (is_there(s.zones.h)) h = zone_out(s.zones.h, s.zones.ldh, row, unit, n_lanes, before, h);
        T* const y = s.y + row * s.ldy + unit;
        will_write(y + s.batch.direction * s.ldy);
        put_state(s, t, b, unit, h);
        store(y, h, n_lanes);
        if (s.gates) store(s.gates + row * G * s.units + 2 * s.units + unit, n, n_lanes);
    }

    static void backward_step(const Backward<T>& s, index t, index b0, index b1, bool ends) {
        const index Hp = padded<GruResetBefore>(s.units);
        hidden_gradient<GruResetBefore>(s, t, b0, b1, ends,
                                        [&](index r, index j, vec<T> dh) { candidate_row_back(s, t, b0 + r, j, dh); });
        const RowsProduct<T> through_candidate = {
            nullptr, 0, dz_row(s, t, b0) + h_gates * Hp, s.ldz, s.packed_h + packed_candidate(s.units), Hp, Hp};
        through_candidate.run(b1 - b0, s.units,
                              [&](index r, index j, vec<T> g) { gates_row_back(s, t, b0 + r, j, g); });
    }

    static ELMAN_INLINE void candidate_row_back(const Backward<T>& s, index t, index b, index j, vec<T> dh) {
        const index unit = j * L, units = s.units, n_lanes = units - unit, dir = s.batch.direction;
        const index row = s.batch.first[b] + t * dir;
        const T* const gates = s.gates + row * G * units + unit;
        const T* const before = h_before(s, t, b) + unit;
        for (int g = 0; g < G; ++g) will_read(gates - dir * G * units + g * units);
        will_read(before - dir * s.ldy);
        if (s.dy) {
            const T* const dy = s.dy + row * s.lddy + unit;
            will_read(dy - dir * s.lddy);
            dh += load(dy, n_lanes);
        }
        const vec<T> past = zoned_past(s.zones.h, s.zones.ldh, row, unit, n_lanes, dh);
        const vec<T> one = splat(T(1));
        const vec<T> z = load(gates + units, n_lanes), n = load(gates + 2 * units, n_lanes);
        const vec<T> dn = gate_back<general, Activation::tanh>(s.options, 2, dh * (one - z), n);
        const vec<T> dz = gate_back<general, Activation::sigmoid>(s.options, 1, dh * (load(before, n_lanes) - n), z);
        const index Hp = padded<GruResetBefore>(units);
        T* const to_row = dz_row(s, t, b);
        store(to_row + (j * h_gates + 1) * L, dz);
        store(to_row + h_gates * Hp + unit, dn);
        T* const to_panel = dz_panel<GruResetBefore>(s, t, b, j);
        store(to_panel + L, dz);
        store(to_panel + 2 * L, dn);
        store(s.dh + b * Hp + unit, fma(dh, z, past));
    }

    static ELMAN_INLINE void gates_row_back(const Backward<T>& s, index t, index b, index j, vec<T> g) {
        const index unit = j * L, n_lanes = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        const vec<T> r = load(s.gates + row * G * s.units + unit, n_lanes);
        const index padded_row = b * padded<GruResetBefore>(s.units);
        vec<T> h = load(h_before(s, t, b) + unit, n_lanes), dmasked = g;
        if (is_there(s.mask)) {
            const vec<T> mask = load(s.mask + padded_row + unit);
            h = h * mask;
            dmasked = g * mask;
        }
        const vec<T> dr = gate_back<general, Activation::sigmoid>(s.options, 0, g * h, r);
        T* const dh = s.dh + padded_row + unit;
        store(dh, fma(dmasked, r, load(dh)));
        store(dz_row(s, t, b) + j * h_gates * L, dr);
        store(dz_panel<GruResetBefore>(s, t, b, j), dr);
        store(s.reset_h + (s.batch.slot[t] + b) * s.units + unit, r * h, n_lanes);
    }

    // dWh: of r and z from h, panel by panel, then of n from r h.
    static void weight_gradient(const Backward<T>& s, index p) {
        constexpr int A = Shape::sums;
        T* const dWn = s.dWh + unit_panels<GruResetBefore>(s.units) * s.units * h_gates * L + p * s.units * L;
        const T* const dz = s.dz + p * s.slots * A * L;
        add_outer_products<T, 3>(s.x_rows, s.slots, s.inputs, dz, A * L, s.dWx + p * s.inputs * 3 * L);
        add_outer_products<T, 2>(s.h_before, s.slots, s.units, dz, A * L, s.dWh + p * s.units * 2 * L);
        add_outer_products<T, 1>(s.reset_rows, s.slots, s.units, dz + 2 * L, A * L, dWn);
        add_rows<T, A>(s.slots, dz, s.db + p * A * L);
    }

    static void unpack_gradient(const Backward<T>& s, T* dWx, T* dWh, T* db, T*) {
        const index units = s.units, panels = unit_panels<GruResetBefore>(units);
        unpack_rows(s.dWx, s.inputs, units, G, panels, 1, x_order, dWx);
        unpack_rows(s.dWh, units, units, G, panels, 1, h_order, dWh);
        unpack_rows(s.dWh + panels * units * h_gates * L, units, units, G, panels, 1, candidate_order, dWh);
        for (index p = 0; p < panels; ++p)
            for (int g = 0; g < G; ++g) store(db + g * units + p * L, load(s.db + (p * G + g) * L), units - p * L);
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
