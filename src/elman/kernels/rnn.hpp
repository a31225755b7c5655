// Simple recurrent network (Elman 1990).
//
//   h' = act(z),  z = x Wx + h Wh + b, bounded by clip
//   dz = dh' act'(h')          the derivative from the output alone
//
// The equations in Python are in src/elman/cells/rnn.py; tests/test_kernels.py holds both together.
#pragma once
#include "cell.hpp"
#include "gates.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class Scalar, int U> struct Rnn : OnePass<Rnn<Scalar, U>, Scalar> {
    using T = Scalar;
    static constexpr int L = Lanes<T>::count;
    static constexpr int G = 1, h_gates = 1, unit_vectors = U;
    using Shape = PanelShape<U, U, 0, U, 0>;
    static constexpr GateOrder<1> x_order = {{0}}, h_order = x_order;

    static void pack_bias(const Weights<T>& w, index p, T* out) {
        for (int u = 0; u < U; ++u) store(out + u * L, gate_vector(w.b, w.units, 0, (p * U + u) * L));
    }
    static void unpack_bias(const Backward<T>& s, index p, T* db, T*) {
        for (index unit = p * U * L; unit < (p + 1) * U * L && unit < s.units; unit += L)
            store(db + unit, load(s.db + unit), s.units - unit);
    }

    static ELMAN_INLINE void forward_row(const Forward<T>& s, index t, index b, index p, const T* sums) {
        const index row = s.batch.first[b] + t * s.batch.direction;
        T* const y = s.y + row * s.ldy;
        for (index unit = p * U * L; unit < (p + 1) * U * L && unit < s.units; unit += L, sums += L) {
            will_write(y + s.batch.direction * s.ldy + unit);
            const index n = s.units - unit;
            vec<T> h = bounded_activation(s.options.gates[0], s.options.clip, load(sums));
            if (is_there(s.zones.h)) {
                if (s.before_zoneout) store(s.before_zoneout + row * s.units + unit, h, n);
                h = zone_out(s.zones.h, s.zones.ldh, row, unit, n, load(state_before(s, t, b) + unit), h);
            }
            put_state(s, t, b, unit, h);
            store(y + unit, h, n);
        }
    }

    static ELMAN_INLINE void backward_row(const Backward<T>& s, index t, index b, index j, vec<T> dh) {
        const index unit = j * L, n = s.units - unit;
        const index row = s.batch.first[b] + t * s.batch.direction;
        const T* const y = s.y + row * s.ldy + unit;
        will_read(y - s.batch.direction * s.ldy);
        if (s.dy) {
            const T* const dy = s.dy + row * s.lddy + unit;
            will_read(dy - s.batch.direction * s.lddy);
            dh += load(dy, n);
        }
        const vec<T> past = zoned_past(s.zones.h, s.zones.ldh, row, unit, n, dh);
        const T* const h = is_there(s.zones.h) ? s.before_zoneout + row * s.units + unit : y;
        const vec<T> dz = bounded_back(s.options.gates[0], dh, load(h, n));
        store(s.dh + b * padded<Rnn>(s.units) + unit, past);
        store(dz_row(s, t, b) + unit, dz);
        store(dz_panel<Rnn>(s, t, b, j), dz);
    }
};

}  // namespace ELMAN_ISA
}  // namespace elman
