// A dense layer over rows.
//
//   y  = act(x W + b)                     sums (R, B) in registers, inputs ascending from b on
//   da = dy act'(y),   dx = da W^T        outputs ascending
//   dW = x^T da,   db = sum of da         rows ascending
#pragma once
#include "gates.hpp"
#include "gradients.hpp"

namespace elman {
namespace ELMAN_ISA {

constexpr index input_part = 24;    // inputs in a part of the weight gradient: whole tiles, whatever their height

template <class T> index output_vectors(index outputs) {
    return rounded_up(outputs, Lanes<T>::count) / Lanes<T>::count;
}

template <class T> DenseSizes dense_sizes(index inputs, index outputs) {
    constexpr int L = Lanes<T>::count;
    const index vectors = output_vectors<T>(outputs), width = vectors * L;
    const index tiles = (vectors + column_block - 1) / column_block;
    // As in Sizes, a vector more keeps rows out of each other's sets of the cache.
    return {width, width * (inputs + 1), rounded_up(inputs, L) * width, width + L,
            tiles * ((inputs + input_part - 1) / input_part)};
}

// b [width], then W in blocks of a few vectors of columns (column_block): [k][B][L].
template <class T> void dense_pack(index inputs, index outputs, const T* W, const T* b, T* packed) {
    constexpr int L = Lanes<T>::count;
    const index vectors = output_vectors<T>(outputs);
    for (index j = 0; j < vectors; ++j, packed += L) store(packed, load(b + j * L, outputs - j * L));
    for_tiles<column_block>(vectors, [&](index j, auto count) {
        for (index k = 0; k < inputs; ++k)
            for (index v = j; v < j + count.value; ++v, packed += L)
                store(packed, load(W + k * outputs + v * L, outputs - v * L));
    });
}

template <class T> void dense_pack_transposed(index inputs, index outputs, const T* W, T* packed) {
    pack_transposed(W, inputs, outputs, 1, output_vectors<T>(outputs), as_they_stand<1>(), packed);
}

template <class T> void dense_forward(const DenseForward<T>& f, index row0, index row1) {
    constexpr int L = Lanes<T>::count;
    const T* const w = f.packed + output_vectors<T>(f.outputs) * L;
    const RowsProduct<T> product = {f.packed, 0, f.x + row0 * f.ldx, f.ldx, w, f.inputs, f.inputs};
    product.run(row1 - row0, f.outputs, [&](index r, index j, vec<T> a) {
        if (f.activation.activation != Activation::identity) a = activate_apart(f.activation, a);
        store(f.y + (row0 + r) * f.ldy + j * L, a, f.outputs - j * L);
    });
}

template <class T> void dense_backward(const DenseBackward<T>& f, index row0, index row1) {
    constexpr int L = Lanes<T>::count;
    const index width = output_vectors<T>(f.outputs) * L;
    for (index r = row0; r < row1; ++r)
        for (index unit = 0; unit < width; unit += L) {
            const index n = f.outputs - unit;
            vec<T> da = load(f.dy + r * f.lddy + unit, n);
            if (f.activation.activation != Activation::identity)
                da *= derivative_apart(f.activation, load(f.y + r * f.ldy + unit, n));
            store(f.da + r * f.ldda + unit, da);
        }
    const RowsProduct<T> product = {nullptr, 0, f.da + row0 * f.ldda, f.ldda, f.packed, f.outputs, width};
    product.run(row1 - row0, f.inputs,
                [&](index r, index j, vec<T> dx) { store(f.dx + (row0 + r) * f.lddx + j * L, dx, f.inputs - j * L); });
}

// A part is a few vectors of outputs by a few inputs; db goes with the first inputs.
template <class T> void dense_weight_gradient(const DenseBackward<T>& f, index p0, index p1) {
    constexpr int L = Lanes<T>::count;
    const index vectors = output_vectors<T>(f.outputs);
    index p = 0;
    for_tiles<column_block>(vectors, [&](index j, auto count) {
        constexpr int V = count.value;
        const T* const da = f.da + j * L;
        for (index m = 0; m < f.inputs; m += input_part, ++p) {
            if (p < p0 || p >= p1) continue;
            const index end = f.inputs - m < input_part ? f.inputs : m + input_part;
            add_outer_products<T, V>(f.x_rows, f.rows, m, end, da, f.ldda, f.dW + j * L, vectors * L);
            if (m == 0) add_rows<T, V>(f.rows, da, f.db + j * L, f.ldda);
        }
    });
}

// The activation alone, of n elements.
template <class T> void activate_all(const Gate<T>& gate, const T* x, T* y, index n) {
    constexpr int L = Lanes<T>::count;
    for (index j = 0; j < n; j += L) store(y + j, activate_apart(gate, load(x + j, n - j)), n - j);
}

template <class T> constexpr DenseKernels<T> dense_kernels() {
    return {dense_sizes<T>,           dense_pack<T>,  dense_pack_transposed<T>, dense_forward<T>, dense_backward<T>,
            dense_weight_gradient<T>, activate_all<T>};
}

}  // namespace ELMAN_ISA
}  // namespace elman
