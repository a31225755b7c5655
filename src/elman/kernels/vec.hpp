// Vectors of float or double in GCC's vector extensions, at the width this unit is compiled for.
//
// Everything in the units compiled for one instruction set lives in a namespace of that set's name and uses
// nothing inline from the standard headers: the linker keeps one copy of an inline function, and if that were the
// AVX-512 one, older processors would stop on it.
//
// Contraction of a*b + c is switched off for these units (-ffp-contract=off): which products are fused is part of
// the promise that a result does not depend on the shape of the tile that computed it, so each fma is written out.
#pragma once
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels.hpp"

#if defined(__AVX512F__)
#define ELMAN_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define ELMAN_VECTOR_BYTES 32
#else
#define ELMAN_VECTOR_BYTES 16
#endif

#define ELMAN_INLINE inline __attribute__((always_inline))
// For the tiles of products: inlined beside a cell's arithmetic, the constants of that would be kept in registers and
// accumulators spilled from the innermost loop.
#define ELMAN_APART __attribute__((noinline))

namespace elman {
namespace ELMAN_ISA {

template <class T> struct IntegerOf;
template <> struct IntegerOf<float> {
    using type = std::int32_t;
};
template <> struct IntegerOf<double> {
    using type = std::int64_t;
};

template <class T>
struct Lanes {
    static constexpr int count = ELMAN_VECTOR_BYTES / sizeof(T);
    using Integer = typename IntegerOf<T>::type;
    typedef T type __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
    typedef T unaligned __attribute__((vector_size(ELMAN_VECTOR_BYTES), aligned(sizeof(T)), may_alias));
    typedef Integer integers __attribute__((vector_size(ELMAN_VECTOR_BYTES)));
};

template <class T> using vec = typename Lanes<T>::type;
template <class T> using ivec = typename Lanes<T>::integers;

// x - 0 is x for every x, also -0 and NaN, so this is a bare broadcast; 0 + x is not, for -0.
template <class T> ELMAN_INLINE vec<T> splat(T x) { return x - vec<T>{}; }

template <class T> ELMAN_INLINE vec<T> load(const T* p) {
    return *reinterpret_cast<const typename Lanes<T>::unaligned*>(p);
}
template <class T> ELMAN_INLINE void store(T* p, vec<T> v) { *reinterpret_cast<typename Lanes<T>::unaligned*>(p) = v; }

#if defined(__AVX512F__)
ELMAN_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
ELMAN_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__)
ELMAN_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
ELMAN_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return _mm256_fmadd_pd(a, b, c); }
#elif defined(__aarch64__)
ELMAN_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return vfmaq_f32(c, a, b); }
ELMAN_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return vfmaq_f64(c, a, b); }
#else
ELMAN_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return a * b + c; }
ELMAN_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return a * b + c; }
#endif

// The first n lanes, the others 0 when loaded and left alone when stored; n may exceed the width.
#if defined(__AVX512F__)
ELMAN_INLINE vec<float> load(const float* p, index n) {
    return n >= 16 ? load(p) : static_cast<vec<float>>(_mm512_maskz_loadu_ps((1u << n) - 1, p));
}
ELMAN_INLINE vec<double> load(const double* p, index n) {
    return n >= 8 ? load(p) : static_cast<vec<double>>(_mm512_maskz_loadu_pd((1u << n) - 1, p));
}
ELMAN_INLINE void store(float* p, vec<float> v, index n) {
    n >= 16 ? store(p, v) : _mm512_mask_storeu_ps(p, (1u << n) - 1, v);
}
ELMAN_INLINE void store(double* p, vec<double> v, index n) {
    n >= 8 ? store(p, v) : _mm512_mask_storeu_pd(p, (1u << n) - 1, v);
}
#elif defined(__AVX2__)
// Stored by halves: masked stores of 256 bits are slow on many processors.
alignas(64) constexpr std::int32_t lane_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
ELMAN_INLINE vec<float> load(const float* p, index n) {
    if (n >= 8) return load(p);
    return _mm256_maskload_ps(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_masks + 8 - n)));
}
ELMAN_INLINE vec<double> load(const double* p, index n) {
    if (n >= 4) return load(p);
    return _mm256_maskload_pd(p, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_masks + 8 - 2 * n)));
}
ELMAN_INLINE void store(float* p, vec<float> v, index n) {
    if (n >= 8) return store(p, v);
    __m128 rest = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
}
ELMAN_INLINE void store(double* p, vec<double> v, index n) {
    if (n >= 4) return store(p, v);
    __m128d rest = _mm256_castpd256_pd128(v);
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd(v, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, rest);
}
#else
template <class T> ELMAN_INLINE vec<T> load(const T* p, index n) {
    if (n >= Lanes<T>::count) return load(p);
    alignas(ELMAN_VECTOR_BYTES) T lanes[Lanes<T>::count] = {};
    for (index i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
}
template <class T> ELMAN_INLINE void store(T* p, vec<T> v, index n) {
    if (n >= Lanes<T>::count) return store(p, v);
    for (index i = 0; i < n; ++i) p[i] = v[i];
}
#endif

// The smaller (larger) of x and a bound. NaN stays NaN: x86's instruction, and this order of the comparison, return
// x when the two do not compare. With 512 bits GCC makes a comparison and a blend of the plain form, and warns of its
// own header where the intrinsic has no mask.
#if defined(__AVX512F__)
ELMAN_INLINE vec<float> at_most(vec<float> x, float bound) { return _mm512_maskz_min_ps(-1, splat(bound), x); }
ELMAN_INLINE vec<float> at_least(vec<float> x, float bound) { return _mm512_maskz_max_ps(-1, splat(bound), x); }
ELMAN_INLINE vec<double> at_most(vec<double> x, double bound) { return _mm512_maskz_min_pd(-1, splat(bound), x); }
ELMAN_INLINE vec<double> at_least(vec<double> x, double bound) { return _mm512_maskz_max_pd(-1, splat(bound), x); }
#else
template <class T> ELMAN_INLINE vec<T> at_most_of(vec<T> x, T bound) { return splat(bound) < x ? splat(bound) : x; }
template <class T> ELMAN_INLINE vec<T> at_least_of(vec<T> x, T bound) { return splat(bound) > x ? splat(bound) : x; }
ELMAN_INLINE vec<float> at_most(vec<float> x, float bound) { return at_most_of<float>(x, bound); }
ELMAN_INLINE vec<float> at_least(vec<float> x, float bound) { return at_least_of<float>(x, bound); }
ELMAN_INLINE vec<double> at_most(vec<double> x, double bound) { return at_most_of<double>(x, bound); }
ELMAN_INLINE vec<double> at_least(vec<double> x, double bound) { return at_least_of<double>(x, bound); }
#endif

// Rows of the next step of a sequence lie one row on, each sequence somewhere else: too many streams for the
// processor to guess, so the loops over time say what they read or write next. To the L2 cache: L1 is taken.
template <class T> ELMAN_INLINE void will_read(const T* p) { __builtin_prefetch(p, 0, 2); }
template <class T> ELMAN_INLINE void will_write(T* p) { __builtin_prefetch(p, 1, 2); }

template <int N> struct Int {
    static constexpr int value = N;
};

// Calls f with n as a constant, 1 <= n <= N.
template <int N, class F> ELMAN_INLINE void with_constant(index n, F& f) {
    if constexpr (N > 1) {
        if (n < N) return with_constant<N - 1>(n, f);
    }
    f(Int<N>{});
}

}  // namespace ELMAN_ISA
}  // namespace elman
