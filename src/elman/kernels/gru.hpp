// GRU with the reset after the product (cuDNN's variant of Cho et al. 2014), gates r, z, n.
//
//   r, z = sigmoid(x W + h U + b)       q = h Un + bn       n = tanh(x Wn + b_n + r q)
//   h' = (1 - z) n + z h
//
//   dn = dh' (1 - z) (1 - n^2)      dz = dh' (h - n) z (1 - z)      dr = dn q r (1 - r)      dq = dn r
//   dh = dh' z + [dr, dz, dq] U^T
//
// The general form: any activation for each gate, what goes into them bounded by clip.
//
// The candidate's two sums stay apart, so a panel holds q, r, z, and x Wn + b_n: h weighs on the first three, x on
// the last three.
//
// The equations in Python are in src/elman/cells/gru.py; tests/test_kernels.py holds both together.
#pragma once
#include "cell.hpp"
#include "gates.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class Scalar, bool general = false> struct Gru : OnePass<Gru<Scalar, general>, Scalar> {
    using T = Scalar;
    static constexpr int L = Lanes<T>::count;
    static constexpr int G = 3, h_gates = 3, unit_vectors = 1;
    using Shape = PanelShape<4, 3, 1, 3, 0>;
    static constexpr GateOrder<3> x_order = {{0, 1, 2}}, h_order = {{2, 0, 1}};

    static void pack_bias(const Weights<T>& w, index p, T* out) {
        store(out, gate_vector(w.vectors, w.units, 0, p * L));
        for (int g = 0; g < G; ++g) store(out + (1 + g) * L, gate_vector(w.b, w.units, g, p * L));
    }
    static void unpack_bias(const Backward<T>& s, index p, T* db, T* dbn) {
        const T* const sums = s.db + p * Shape::sums * L;
        const index unit = p * L, n = s.units - unit;
        store(dbn + unit, load(sums), n);
        for (int g = 0; g < G; ++g) store(db + g * s.units + unit, load(sums + (1 + g) * L), n);
    }

    static ELMAN_INLINE void forward_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        const index unit = p * L, units = s.units, n_lanes = units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        T* const y = s.y + row * s.ldy + unit;
        will_write(y + s.batch.direction * s.ldy);
        const vec<T> q = load(sums);
        const vec<T> r = gate<general, Activation::sigmoid>(s.options, 0, load(sums + L));
        const vec<T> z = gate<general, Activation::sigmoid>(s.options, 1, load(sums + 2 * L));
        const vec<T> n = gate<general, Activation::tanh>(s.options, 2, fma(r, q, load(sums + 3 * L)));
        const vec<T> before = load(state_before(s, t, b) + unit);
        vec<T> h = fma(z, before, (T(1) - z) * n);
        if (is_there(s.zones.h)) h = zone_out(s.zones.h, s.zones.ldh, row, unit, n_lanes, before, h);
        put_state(s, t, b, unit, h);
        store(y, h, n_lanes);
        if (s.gates) {
            T* const gates = s.gates + row * G * units + unit;
            T* const inner = s.inner + row * units + unit;
            for (int g = 0; g < G; ++g) will_write(gates + s.batch.direction * G * units + g * units);
            will_write(inner + s.batch.direction * units);
            store(gates, r, n_lanes);
            store(gates + units, z, n_lanes);
            store(gates + 2 * units, n, n_lanes);
            store(inner, q, n_lanes);
        }
    }

    static ELMAN_INLINE void backward_row(const Backward<T>& s, index t, index b, index j, vec<T> dh) {
        const index unit = j * L, units = s.units, n_lanes = units - unit, dir = s.batch.direction;
        const index row = s.batch.first[b] + t * dir;
        const T* const gates = s.gates + row * G * units + unit;
        const T* const inner = s.inner + row * units + unit;
        const T* const before = h_before(s, t, b) + unit;
        for (int g = 0; g < G; ++g) will_read(gates - dir * G * units + g * units);
        will_read(inner - dir * units);
        will_read(before - dir * s.ldy);
        if (s.dy) {
            const T* const dy = s.dy + row * s.lddy + unit;
            will_read(dy - dir * s.lddy);
            dh += load(dy, n_lanes);
        }
        const vec<T> past = zoned_past(s.zones.h, s.zones.ldh, row, unit, n_lanes, dh);
        const vec<T> one = splat(T(1));
        const vec<T> r = load(gates, n_lanes), z = load(gates + units, n_lanes), n = load(gates + 2 * units, n_lanes);
        const vec<T> dn = gate_back<general, Activation::tanh>(s.options, 2, dh * (one - z), n);
        const vec<T> dz = gate_back<general, Activation::sigmoid>(s.options, 1, dh * (load(before, n_lanes) - n), z);
        const vec<T> dr = gate_back<general, Activation::sigmoid>(s.options, 0, dn * load(inner, n_lanes), r);
        const vec<T> dq = dn * r;
        T* const to_row = dz_row(s, t, b) + j * G * L;
        store(to_row, dq);
        store(to_row + L, dr);
        store(to_row + 2 * L, dz);
        T* const to_panel = dz_panel<Gru>(s, t, b, j);
        store(to_panel, dq);
        store(to_panel + L, dr);
        store(to_panel + 2 * L, dz);
        store(to_panel + 3 * L, dn);
        store(s.dh + b * padded<Gru>(units) + unit, fma(dh, z, past));
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
