// exp, tanh and sigmoid of vectors, to a few units in the last place over the whole range.
//
//   e^x = 2^k (1 + r + r^2 q(r)),   k = round(x / ln 2),   r = x - k ln 2
//   sigmoid(x) = 1 / (1 + e^-x)
//   tanh(x) = m / (m + 2),   m = e^2x - 1 = 2^k (r + r^2 q(r)) + (2^k - 1)      exact to the last digits also near 0
//
// Adding `magic` rounds to an integer and leaves that integer, already biased as an exponent, in the low bits.
// q is the Chebyshev fit of tools/coefficients.py. NaN passes through; arguments are cut where the result no
// longer changes, or, for e^-x in sigmoid, where 2^k becomes infinite.
#pragma once
#include "vec.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class T> struct ExpConstants;

template <> struct ExpConstants<float> {
    static constexpr float q[] = {1.39261836e-3f, 8.36317905e-3f, 4.16665546e-2f, 1.6666577e-1f, 0.5f};
    static constexpr float magic = 12582912.0f + 127;      // 1.5 * 2^23 + exponent bias
    static constexpr float ln2_high = 0.693359375f;        // 9 bits: k * ln2_high is exact
    static constexpr float ln2_low = -2.12194440e-4f;
    static constexpr int mantissa = 23;
    static constexpr float overflow = 88.8f;               // rounds to k = 128, where 2^k is infinite
    static constexpr float vanish = -87.0f;                // 1 + e^x is 1 long before
    static constexpr float tanh_is_one = 20.0f;            // of the doubled argument
};

template <> struct ExpConstants<double> {
    static constexpr double q[] = {2.5100385495510319e-8, 2.7620088445409748e-7,
                                   2.7557268459997065e-6, 2.4801521295954375e-5,
                                   1.9841269853063617e-4, 1.3888888917213717e-3,
                                   8.3333333333300618e-3, 4.1666666666624128e-2,
                                   1.6666666666666667e-1, 0.5};
    static constexpr double magic = 6755399441055744.0 + 1023;
    static constexpr double ln2_high = 0.693147180369123816490;   // low 21 bits zero
    static constexpr double ln2_low = 1.90821492927058770002e-10;
    static constexpr int mantissa = 52;
    static constexpr double overflow = 710.0;
    static constexpr double vanish = -700.0;
    static constexpr double tanh_is_one = 42.0;
};

// e^x as its parts: scale = 2^k, tail = r^2 q(r) + r.
template <class T> ELMAN_INLINE void exp_parts(vec<T> x, vec<T>& scale, vec<T>& tail) {
    using C = ExpConstants<T>;
    const vec<T> shifted = fma(x, splat(T(1.44269504088896340736)), splat(C::magic));
    const vec<T> k = shifted - splat(C::magic);
    vec<T> r = fma(k, splat(-C::ln2_high), x);
    r = fma(k, splat(-C::ln2_low), r);
    vec<T> q = splat(C::q[0]);
#pragma GCC unroll 16
    for (unsigned i = 1; i < sizeof(C::q) / sizeof(T); ++i) q = fma(q, r, splat(C::q[i]));
    tail = fma(r * r, q, r);
    scale = reinterpret_cast<vec<T>>(reinterpret_cast<ivec<T>>(shifted) << C::mantissa);
}

template <class T> ELMAN_INLINE vec<T> sigmoid(vec<T> x) {
    using C = ExpConstants<T>;
    vec<T> scale, tail;
    exp_parts<T>(at_least(at_most(-x, C::overflow), C::vanish), scale, tail);
    return T(1) / fma(splat(T(1)) + tail, scale, splat(T(1)));
}

template <class T> ELMAN_INLINE vec<T> tanh(vec<T> x) {
    using C = ExpConstants<T>;
    vec<T> scale, tail;
    exp_parts<T>(at_least(at_most(x + x, C::tanh_is_one), -C::tanh_is_one), scale, tail);
    const vec<T> m = fma(scale, tail, scale - T(1));
    return m / (m + T(2));
}

// For arguments that are not positive; cut where e^x no longer counts beside 1.
template <class T> ELMAN_INLINE vec<T> exp_of_negative(vec<T> x) {
    vec<T> scale, tail;
    exp_parts<T>(at_least(x, ExpConstants<T>::vanish), scale, tail);
    return fma(scale, tail, scale);
}
template <class T> ELMAN_INLINE vec<T> expm1_of_negative(vec<T> x) {
    vec<T> scale, tail;
    exp_parts<T>(at_least(x, ExpConstants<T>::vanish), scale, tail);
    return fma(scale, tail, scale - T(1));
}

}  // namespace ELMAN_ISA
}  // namespace elman
