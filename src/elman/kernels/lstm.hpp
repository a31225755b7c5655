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
//
// The general form: any activation for each gate and for c' on its way to h', z bounded by clip, c' by cell_clip (0 is
// the gradient of what is cut off). Peepholes (Gers & Schmidhuber 2000) add to z of i, f and o, which adds to dc, dc':
//
//   z_i += pi c    z_f += pf c    z_o += po c'       dc += pi dz_i + pf dz_f    dc' += po dz_o
//
// Coupled: f = 1 - i, three gates i, g, o with weights; di = dc' (g - c).
//
// The equations in Python are in src/elman/cells/lstm.py and lstm_variants.py; tests/test_kernels.py holds both to
// each other.
#pragma once
#include "cell.hpp"
#include "gates.hpp"

namespace elman {
namespace ELMAN_ISA {

enum class LstmForm { usual, general, coupled };

template <class Scalar, LstmForm form = LstmForm::usual> struct Lstm : OnePass<Lstm<Scalar, form>, Scalar> {
    using T = Scalar;
    static constexpr bool coupled = form == LstmForm::coupled, general = form != LstmForm::usual;
    static constexpr int L = Lanes<T>::count;
    static constexpr int G = coupled ? 3 : 4, h_gates = G, unit_vectors = 1;
    static constexpr int I = 0, F = 1, C = G - 2, O = G - 1;   // places of the gates i, f, g, o
    static constexpr int P = G - 1;                             // peepholes, in the order of their gates
    using Shape = PanelShape<G, G, 0, G, 0>;
    static constexpr GateOrder<G> x_order = as_they_stand<G>(), h_order = x_order;

    static void pack_bias(const Weights<T>& w, index p, T* out) {
        for (int g = 0; g < G; ++g) store(out + g * L, gate_vector(w.b, w.units, g, p * L));
    }
    static void unpack_bias(const Backward<T>& s, index p, T* db, T* dvectors) {
        const index unit = p * L, n = s.units - unit;
        for (int g = 0; g < G; ++g) store(db + g * s.units + unit, load(s.db + (p * G + g) * L), n);
        for (int k = 0; k < P && s.vectors; ++k)
            store(dvectors + k * s.units + unit, load(s.dpeepholes + (p * P + k) * L), n);
    }

    // What goes into the gate of peephole k, seeing c.
    static ELMAN_INLINE vec<T> seen(const Forward<T>& s, int k, index unit, vec<T> c, vec<T> z) {
        if constexpr (general)
            if (s.vectors) z = fma(load(s.vectors + k * s.units + unit, s.units - unit), c, z);
        return z;
    }
    static ELMAN_INLINE vec<T> peephole_back(const Backward<T>& s, int k, index unit, vec<T> dz, vec<T> dc) {
        if constexpr (general)
            if (s.vectors) dc = fma(load(s.vectors + k * s.units + unit, s.units - unit), dz, dc);
        return dc;
    }

    static ELMAN_INLINE void forward_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        constexpr Activation sigmoid = Activation::sigmoid, tanh = Activation::tanh;
        const index unit = p * L, n = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        T* const cell = s.c + b * rounded_up(s.units, L) + unit;
        will_write(s.y + (row + s.batch.direction) * s.ldy + unit);
        const vec<T> before = load(cell);
        const vec<T> i = gate<general, sigmoid>(s.options, I, seen(s, 0, unit, before, load(sums)));
        const vec<T> f = forget(s, unit, before, i, sums);
        const vec<T> g = gate<general, tanh>(s.options, C, load(sums + C * L));
        vec<T> c = fma(f, before, i * g);
        if constexpr (general) c = bounded<T>(c, s.options.cell_clip);
        const vec<T> o = gate<general, sigmoid>(s.options, O, seen(s, P - 1, unit, c, load(sums + O * L)));
        vec<T> h = o * to_output(s.options, c);
        if (is_there(s.zones.h)) {
            if (s.before_zoneout) store(s.before_zoneout + row * s.units + unit, c, n);
            c = zone_out(s.zones.c, s.zones.ldc, row, unit, n, before, c);
            h = zone_out(s.zones.h, s.zones.ldh, row, unit, n, load(state_before(s, t, b) + unit), h);
        }
        store(cell, c);
        put_state(s, t, b, unit, h);
        store(s.y + row * s.ldy + unit, h, n);
        if (s.gates) {
            T* const gates = s.gates + row * G * s.units + unit;
            store(gates + I * s.units, i, n);
            if constexpr (!coupled) store(gates + F * s.units, f, n);
            store(gates + C * s.units, g, n);
            store(gates + O * s.units, o, n);
            store(s.inner + row * s.units + unit, c, n);
            const index next = s.batch.direction * G * s.units;
            for (int gate = 0; gate < G; ++gate) will_write(gates + next + gate * s.units);
            will_write(s.inner + (row + s.batch.direction) * s.units + unit);
        }
    }

    static ELMAN_INLINE vec<T> forget(const Forward<T>& s, index unit, vec<T> c, vec<T> i, const T* sums) {
        if constexpr (coupled) return T(1) - i;
        return gate<general, Activation::sigmoid>(s.options, F, seen(s, F, unit, c, load(sums + F * L)));
    }

    static ELMAN_INLINE vec<T> to_output(const Options<T>& options, vec<T> c) {
        if constexpr (general) return activate_apart(options.cell, c);
        return tanh<T>(c);
    }
    static ELMAN_INLINE vec<T> to_output_back(const Options<T>& options, vec<T> y) {
        if constexpr (general) return derivative_apart(options.cell, y);
        return fma(-y, y, splat(T(1)));
    }

    static ELMAN_INLINE void backward_row(const Backward<T>& s, index t, index b, index j, vec<T> dh) {
        constexpr Activation sigmoid = Activation::sigmoid, tanh = Activation::tanh;
        const index unit = j * L, n = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        const T* const gates = s.gates + row * G * s.units + unit;
        const T* const before = t ? s.inner + (row - s.batch.direction) * s.units : s.c0 + b * s.ld_c0;
        const vec<T> one = splat(T(1));
        const vec<T> i = load(gates, n), f = coupled ? one - i : load(gates + F * s.units, n);
        const vec<T> g = load(gates + C * s.units, n), o = load(gates + O * s.units, n);
        const vec<T> c_new = load((is_there(s.zones.h) ? s.before_zoneout : s.inner) + row * s.units + unit, n);
        const vec<T> output = to_output(s.options, c_new);
        T* const cell = s.dc + b * rounded_up(s.units, L) + unit;
        const index next = s.batch.direction;
        for (int gate = 0; gate < G; ++gate) will_read(gates - next * G * s.units + gate * s.units);
        will_read(before - next * s.units + unit);
        if (s.dy) will_read(s.dy + (row - next) * s.lddy + unit);
        if (s.dy) dh += load(s.dy + row * s.lddy + unit, n);
        vec<T> dc = load(cell);
        const vec<T> past_h = zoned_past(s.zones.h, s.zones.ldh, row, unit, n, dh);
        const vec<T> past_c = zoned_past(s.zones.c, s.zones.ldc, row, unit, n, dc);
        dc = fma(dh * o, to_output_back(s.options, output), dc);
        vec<T> dz[G];
        dz[O] = gate_back<general, sigmoid>(s.options, O, dh * output, o);
        if constexpr (general) {
            dc = peephole_back(s, P - 1, unit, dz[O], dc);
            dc = absolute<T>(c_new) == splat(s.options.cell_clip) ? vec<T>{} : dc;
        }
        const vec<T> c = load(before + unit, n);
        dz[I] = gate_back<general, sigmoid>(s.options, I, dc * (coupled ? g - c : g), i);
        if constexpr (!coupled) dz[F] = gate_back<general, sigmoid>(s.options, F, dc * c, f);
        dz[C] = gate_back<general, tanh>(s.options, C, dc * i, g);
        vec<T> dbefore = peephole_back(s, 0, unit, dz[I], fma(dc, f, past_c));
        if constexpr (!coupled) dbefore = peephole_back(s, F, unit, dz[F], dbefore);
        store(cell, dbefore);
        store(s.dh + b * rounded_up(s.units, L) + unit, past_h);
        T* const to_row = dz_row(s, t, b) + j * G * L;
        T* const to_panel = dz_panel<Lstm>(s, t, b, j);
#pragma GCC unroll 4
        for (int gate = 0; gate < G; ++gate) {
            store(to_row + gate * L, dz[gate]);
            store(to_panel + gate * L, dz[gate]);
        }
    }

    static void weight_gradient(const Backward<T>& s, index p) {
        OnePass<Lstm, T>::weight_gradient(s, p);
        if constexpr (general)
            if (s.vectors) peephole_gradient(s, p);
    }

    // dpi += c dz_i,  dpf += c dz_f,  dpo += c' dz_o      sums in registers, rows ascending
    static void peephole_gradient(const Backward<T>& s, index p) {
        const index unit = p * L, n = s.units - unit;
        const T* dz = s.dz + p * s.slots * G * L;
        T* const to = s.dpeepholes + p * P * L;
        vec<T> acc[1][P];
        load_tile<T>(acc, to, 0);
        for (index slot = 0; slot < s.slots; ++slot, dz += G * L) {
            const vec<T> c = load(s.c_before[slot] + unit, n);
            for (int k = 0; k < P - 1; ++k) acc[0][k] = fma(c, load(dz + k * L), acc[0][k]);
            acc[0][P - 1] = fma(load(s.c_after[slot] + unit, n), load(dz + O * L), acc[0][P - 1]);
        }
        store_tile<T>(acc, to, 0);
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
