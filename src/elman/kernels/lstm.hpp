// LSTM, gates i, f, g, o (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).
//
//   i, f, o = sigmoid(z),  g = tanh(z)          z = x Wx + h Wh + b
//   c' = f c + i g
//   h' = o tanh(c')
//
//   do = dh' tanh(c')        dc' += dh' o (1 - tanh(c')^2)
//   di = dc' g    df = dc' c    dg = dc' i      dc = dc' f
//   (with zoneout what goes past the step is taken out of dh' and dc' first)
//   dz = di i (1 - i),  df f (1 - f),  dg (1 - g^2),  do o (1 - o)
#pragma once
#include "cell.hpp"
#include "functions.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class Scalar> struct Lstm : OnePass<Lstm<Scalar>, Scalar> {
    using T = Scalar;
    static constexpr int L = Lanes<T>::count;
    static constexpr int G = 4, h_gates = 4, unit_vectors = 1;
    using Shape = PanelShape<4, 4, 0, 4, 0>;
    static constexpr GateOrder<4> x_order = {{0, 1, 2, 3}}, h_order = x_order;

    static void pack_bias(const Weights<T>& w, index p, T* out) {
        for (int g = 0; g < G; ++g) store(out + g * L, gate_vector(w.b, w.units, g, p * L));
    }
    static void unpack_bias(const T* sums, index p, index units, T* db, T*) {
        for (int g = 0; g < G; ++g) store(db + g * units + p * L, load(sums + g * L), units - p * L);
    }

    static ELMAN_INLINE void forward_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        const index unit = p * L, n = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        T* const cell = s.c + b * rounded_up(s.units, L) + unit;
        will_write(s.y + (row + s.batch.direction) * s.ldy + unit);
        const vec<T> i = sigmoid<T>(load(sums));
        const vec<T> f = sigmoid<T>(load(sums + L));
        const vec<T> g = tanh<T>(load(sums + 2 * L));
        const vec<T> o = sigmoid<T>(load(sums + 3 * L));
        vec<T> c = fma(f, load(cell), i * g);
        vec<T> h = o * tanh<T>(c);
        if (is_there(s.zones.h)) {
            if (s.fresh) store(s.fresh + row * s.units + unit, c, n);
            c = zone_out(s.zones.c, s.zones.ldc, row, unit, n, load(cell), c);
            h = zone_out(s.zones.h, s.zones.ldh, row, unit, n, load(state_before(s, t, b) + unit), h);
        }
        store(cell, c);
        put_state(s, t, b, unit, h);
        store(s.y + row * s.ldy + unit, h, n);
        if (s.gates) {
            T* const gates = s.gates + row * G * s.units + unit;
            store(gates, i, n);
            store(gates + s.units, f, n);
            store(gates + 2 * s.units, g, n);
            store(gates + 3 * s.units, o, n);
            store(s.inner + row * s.units + unit, c, n);
            const index next = s.batch.direction * G * s.units;
            for (int gate = 0; gate < G; ++gate) will_write(gates + next + gate * s.units);
            will_write(s.inner + (row + s.batch.direction) * s.units + unit);
        }
    }

    static ELMAN_INLINE void backward_row(const Backward<T>& s, index t, index b, index j, vec<T> dh) {
        const index unit = j * L, n = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        const T* const gates = s.gates + row * G * s.units + unit;
        const T* const before = t ? s.inner + (row - s.batch.direction) * s.units : s.c0 + b * s.ld_c0;
        const vec<T> i = load(gates, n), f = load(gates + s.units, n);
        const vec<T> g = load(gates + 2 * s.units, n), o = load(gates + 3 * s.units, n);
        const vec<T> tanh_c = tanh<T>(load((is_there(s.zones.h) ? s.fresh : s.inner) + row * s.units + unit, n));
        T* const cell = s.dc + b * rounded_up(s.units, L) + unit;
        const index next = s.batch.direction;
        for (int gate = 0; gate < G; ++gate) will_read(gates - next * G * s.units + gate * s.units);
        will_read(before - next * s.units + unit);
        if (s.dy) will_read(s.dy + (row - next) * s.lddy + unit);
        if (s.dy) dh += load(s.dy + row * s.lddy + unit, n);
        const vec<T> one = splat(T(1));
        vec<T> dc = load(cell);
        const vec<T> past_h = zoned_past(s.zones.h, s.zones.ldh, row, unit, n, dh);
        const vec<T> past_c = zoned_past(s.zones.c, s.zones.ldc, row, unit, n, dc);
        dc = fma(dh * o, fma(-tanh_c, tanh_c, one), dc);
        const vec<T> dz[G] = {dc * g * i * (one - i), dc * load(before + unit, n) * f * (one - f),
                              dc * i * fma(-g, g, one), dh * tanh_c * o * (one - o)};
        store(cell, fma(dc, f, past_c));
        store(s.dh + b * rounded_up(s.units, L) + unit, past_h);
        T* const to_row = dz_row(s, t, b) + j * G * L;
        T* const to_panel = dz_panel<Lstm>(s, t, b, j);
#pragma GCC unroll 4
        for (int gate = 0; gate < G; ++gate) {
            store(to_row + gate * L, dz[gate]);
            store(to_panel + gate * L, dz[gate]);
        }
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
