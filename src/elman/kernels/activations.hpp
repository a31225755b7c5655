// Activations that may be chosen and their derivatives from the output y, by the definitions of ONNX (RNN, GRU, LSTM).
// Where the derivative jumps it is taken from the side of ONNX's "if": relu'(0) = 0, leaky_relu'(0) = 1.
#pragma once
#include "functions.hpp"

namespace elman {
namespace ELMAN_ISA {

template <class T> struct LogConstants;
template <> struct LogConstants<float> {
    static constexpr float p[] = {0.116124609f, 0.108532305f, 0.142961824f, 0.199998531f, 0.333333337f};
};
template <> struct LogConstants<double> {
    static constexpr double p[] = {0.07616143318731823,  0.03166757128761552,  0.049710873134276813,
                                   0.052401890275299583, 0.058839998109544974, 0.066665884225774079,
                                   0.076923101287670532, 0.090909090429613001, 0.1111111111166653,
                                   0.14285714285710968,  0.20000000000000008,  0.33333333333333333};
};

// log(1 + t) = 2 atanh(s) = 2 (s + s^3 p(s^2)),  s = t / (2 + t),  for 0 <= t <= 1.  p from tools/log1p.py.
template <class T> ELMAN_INLINE vec<T> log1p(vec<T> t) {
    using C = LogConstants<T>;
    const vec<T> s = t / (t + T(2));
    const vec<T> z = s * s;
    vec<T> p = splat(C::p[0]);
#pragma GCC unroll 16
    for (unsigned i = 1; i < sizeof(C::p) / sizeof(T); ++i) p = fma(p, z, splat(C::p[i]));
    const vec<T> half = fma(s * z, p, s);
    return half + half;
}

template <class T> ELMAN_INLINE vec<T> absolute(vec<T> x) { return x < T(0) ? -x : x; }

template <class T> ELMAN_INLINE vec<T> activate(Activation kind, T alpha, T beta, vec<T> x) {
    const vec<T> zero = {};
    switch (kind) {
        case Activation::relu: return at_least(x, T(0));
        case Activation::tanh: return tanh<T>(x);
        case Activation::sigmoid: return sigmoid<T>(x);
        case Activation::affine: return fma(splat(alpha), x, splat(beta));
        case Activation::leaky_relu: return x >= zero ? x : splat(alpha) * x;
        case Activation::thresholded_relu: return x <= splat(alpha) ? zero : x;  // NaN stays
        case Activation::scaled_tanh: return alpha * tanh<T>(beta * x);
        case Activation::hard_sigmoid: return at_least(at_most(fma(splat(alpha), x, splat(beta)), T(1)), T(0));
        case Activation::elu: return x >= zero ? x : alpha * expm1_of_negative<T>(x);
        case Activation::softsign: return x / (absolute<T>(x) + T(1));
        case Activation::softplus: return at_least(x, T(0)) + log1p<T>(exp_of_negative<T>(-absolute<T>(x)));
        default: return x;
    }
}

template <class T> ELMAN_INLINE vec<T> derivative(Activation kind, T alpha, T beta, vec<T> y) {
    const vec<T> zero = {}, one = splat(T(1));
    switch (kind) {
        case Activation::relu: return y > zero ? one : zero;
        case Activation::tanh: return fma(-y, y, one);
        case Activation::sigmoid: return y * (one - y);
        case Activation::affine: return splat(alpha);
        case Activation::leaky_relu: return y >= zero ? one : splat(alpha);
        case Activation::thresholded_relu: return y != zero ? one : zero;
        case Activation::scaled_tanh: return beta * (alpha - y * y / alpha);
        case Activation::hard_sigmoid: return ((y > zero) & (y < one)) ? splat(alpha) : zero;
        case Activation::elu: return y >= zero ? one : y + alpha;
        case Activation::softsign: return (one - absolute<T>(y)) * (one - absolute<T>(y));
        case Activation::softplus: return -expm1_of_negative<T>(-y);
        default: return one;
    }
}

}  // namespace ELMAN_ISA
}  // namespace elman
