// What a gate makes of what goes into it, and the gradient back through it: by the activation that the equations name,
// known when this is compiled, or (`general`) by the one chosen, between the bounds of clip.
#pragma once
#include "activations.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class T> ELMAN_INLINE vec<T> activate(const Gate<T>& gate, vec<T> a) {
    return activate<T>(gate.activation, gate.alpha, gate.beta, a);
}

template <class T> ELMAN_INLINE vec<T> derivative(const Gate<T>& gate, vec<T> y) {
    return derivative<T>(gate.activation, gate.alpha, gate.beta, y);
}

template <class T> ELMAN_INLINE vec<T> bounded(vec<T> a, T bound) { return at_least(at_most(a, bound), -bound); }

template <class T> ELMAN_INLINE vec<T> bounded_activation(const Gate<T>& gate, T clip, vec<T> a) {
    if (__builtin_expect(clip < T(__builtin_inf()), 0)) a = bounded<T>(a, clip);
    return activate(gate, a);
}

// The gradient of what goes into a gate, from that of its output y: 0 where y tells that clip cut it off.
template <class T> ELMAN_INLINE vec<T> bounded_back(const Gate<T>& gate, vec<T> dy, vec<T> y) {
    const vec<T> da = dy * derivative(gate, y);
    if (__builtin_expect(gate.low != gate.low, 1)) return da;
    return ((y == splat(gate.low)) | (y == splat(gate.high))) ? vec<T>{} : da;
}

// Apart: a cell has several gates, and each would hold the whole table.
template <class T> ELMAN_APART vec<T> activate_apart(const Gate<T>& gate, vec<T> a) { return activate(gate, a); }
template <class T> ELMAN_APART vec<T> derivative_apart(const Gate<T>& gate, vec<T> y) { return derivative(gate, y); }
template <class T> ELMAN_APART vec<T> bounded_apart(const Gate<T>& gate, T clip, vec<T> a) {
    return bounded_activation(gate, clip, a);
}
template <class T> ELMAN_APART vec<T> bounded_back_apart(const Gate<T>& gate, vec<T> dy, vec<T> y) {
    return bounded_back(gate, dy, y);
}

// The gate at a place of the weights; `usual`, sigmoid or tanh, is that of the equations.
template <bool general, Activation usual, class T>
ELMAN_INLINE vec<T> gate(const Options<T>& options, int place, vec<T> a) {
    if constexpr (general) return bounded_apart(options.gates[place], options.clip, a);
    if constexpr (usual == Activation::tanh) return tanh<T>(a);
    return sigmoid<T>(a);
}

template <bool general, Activation usual, class T>
ELMAN_INLINE vec<T> gate_back(const Options<T>& options, int place, vec<T> dy, vec<T> y) {
    if constexpr (general) return bounded_back_apart(options.gates[place], dy, y);
    const vec<T> one = splat(T(1));
    if constexpr (usual == Activation::tanh) return dy * fma(-y, y, one);
    return dy * y * (one - y);
}

// Where nothing is bounded, no output tells of a bound: NaN is equal to nothing.
template <class T> void find_bounds(Options<T>& options) {
    const T none = T(__builtin_nan("")), infinity = T(__builtin_inf());
    for (Gate<T>& gate : options.gates) {
        gate.low = gate.high = none;
        if (options.clip < infinity) {
            gate.low = activate_apart(gate, splat(-options.clip))[0];
            gate.high = activate_apart(gate, splat(options.clip))[0];
        }
    }
    if (!(options.cell_clip < infinity)) options.cell_clip = none;
}

}  // namespace ELMAN_ISA
}  // namespace elman
