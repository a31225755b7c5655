// Weights rearranged once so that the products read them in one straight line.
//
// forward    panel p:  bias [sums][L], then Wx as [I][x_vectors][L], then Wh as [H][h_vectors][L]
// backward   blocks of B vectors of the width (H or I):    [k][B][L], k = (unit vector j, gate g, lane)
//            ascending, the transposed weights
// Padded units have weight and bias 0.
#pragma once
#include "product.hpp"

namespace elman {
namespace ELMAN_ISA {

constexpr index rounded_up(index n, index to) { return (n + to - 1) / to * to; }

// One vector of a weight row: gate g of the units from `unit` on.
template <class T> ELMAN_INLINE vec<T> gate_vector(const T* row, index units, int g, index unit) {
    return unit < units ? load(row + g * units + unit, units - unit) : vec<T>{};
}

// Gates of a weight matrix in the order a panel holds them.
template <int count_> struct GateOrder {
    static constexpr int count = count_;
    int gate[count_];
};
template <int count> constexpr GateOrder<count> as_they_stand() {
    GateOrder<count> order{};
    for (int g = 0; g < count; ++g) order.gate[g] = g;
    return order;
}

// W (rows, gates*H) to [rows][unit vector][place][L] of panel p; returns the end.
template <class T, int places>
T* pack_rows(const T* W, index rows, index units, int gates, index p, int unit_vectors, const GateOrder<places>& order,
             T* out) {
    constexpr int L = Lanes<T>::count;
    for (index k = 0; k < rows; ++k, W += gates * units)
        for (int u = 0; u < unit_vectors; ++u)
            for (int g = 0; g < places; ++g, out += L)
                store(out, gate_vector(W, units, order.gate[g], (p * unit_vectors + u) * L));
    return out;
}

// W (rows, gates*H) transposed: its rows become the columns of a product, in blocks of a few vectors (column_block);
// `vectors` unit vectors deep.
template <class T, int places>
void pack_transposed(const T* W, index rows, index units, int gates, index vectors, const GateOrder<places>& order,
                     T* out) {
    constexpr int L = Lanes<T>::count;
    for_tiles<column_block>(rounded_up(rows, L) / L, [&](index block, auto count) {
        constexpr index width = count.value * L;
        T* to = out + block * vectors * places * L * L;
        // L units of all lanes at a time: what is written stays in the L1 cache until its lines are full.
        for (index j = 0; j < vectors; ++j)
            for (int g = 0; g < places; ++g, to += L * width)
                for (index lane = 0; lane < width; ++lane) {
                    const index row = block * L + lane;
                    const T* const from = W + row * gates * units + order.gate[g] * units + j * L;
                    for (index unit = 0; unit < L; ++unit)
                        to[unit * width + lane] = row < rows && j * L + unit < units ? from[unit] : T(0);
                }
    });
}

// Panels of gradients [p][rows][unit vector][place][L] back to (rows, gates*H).
template <class T, int places>
void unpack_rows(const T* from, index rows, index units, int gates, index panels, int unit_vectors,
                 const GateOrder<places>& order, T* W) {
    constexpr int L = Lanes<T>::count;
    for (index p = 0; p < panels; ++p)
        for (index k = 0; k < rows; ++k)
            for (int u = 0; u < unit_vectors; ++u)
                for (int g = 0; g < places; ++g, from += L) {
                    const index unit = (p * unit_vectors + u) * L;
                    if (unit < units)
                        store(W + k * gates * units + order.gate[g] * units + unit, load(from), units - unit);
                }
}

}  // namespace ELMAN_ISA
}  // namespace elman
