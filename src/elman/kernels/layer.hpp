// One recurrent layer over a packed batch, forward and backward: memory, blocks of steps, threads, interruption.
// Arrays belong to the caller; shapes as in kernels.hpp, states in the order of the caller's batch.
#pragma once
#include <functional>

#include "kernels.hpp"
#include "order.hpp"

namespace elman {

// Properties of each kernel kind.
struct CellTraits {
    int gates;              // G
    int activations;        // that the options must name, the one of c' last
    bool cell_state;        // whether c stands beside h
    bool reset_before;      // whether a step takes two passes
    bool inner_bias;        // whether the vectors beside the gates are bn
    bool peepholes;         // whether they may be peepholes
    bool keeps_gates, keeps_inner, keeps_before_zoneout;     // what a tape holds; before_zoneout with zoneout only
};

inline const CellTraits& traits_of(Kind kind) {
    static constexpr CellTraits traits[] = {
        // G, activations, c, two passes, bn, peepholes, a tape's gates, inner, before_zoneout
        {1, 1, false, false, false, false, false, false, true},     // rnn
        {4, 0, true, false, false, false, true, true, true},        // lstm
        {4, 5, true, false, false, true, true, true, true},         // lstm_general
        {3, 4, true, false, false, true, true, true, true},         // lstm_coupled
        {3, 0, false, false, true, false, true, true, false},       // gru
        {3, 3, false, false, true, false, true, true, false},       // gru_general
        {3, 0, false, true, false, false, true, false, false},      // gru_reset_before
        {3, 3, false, true, false, false, true, false, false},      // gru_reset_before_general
    };
    static_assert(sizeof(traits) / sizeof(CellTraits) == static_cast<int>(Kind::count));
    return traits[static_cast<int>(kind)];
}

template <class T>
struct Layer {
    Kind kind;
    Options<T> options;
    Weights<T> weights;
    const T* packed = nullptr;  // the weights packed for forward, if the caller has them already
};

// Vectors (H) of peepholes that the layer has.
template <class T> index peepholes(const Layer<T>& layer) {
    const CellTraits& traits = traits_of(layer.kind);
    return traits.peepholes && layer.weights.vectors ? traits.gates - 1 : 0;
}

template <class T>
struct ForwardArrays {
    const T* x;             // (N, I)
    index ldx;
    const T* h0;            // (B, H) or null for zeros
    const T* c0;
    const T* mask;          // (B, H) or null: multiplies h where it enters the products
    Zones<T> zones;
    T* y;                   // (N, H)
    index ldy;
    T* h;                   // (B, H) last state of each sequence
    T* c;
    T* gates;               // (N, G*H) or null
    T* inner;               // (N, H) or null
    T* before_zoneout;               // (N, H) or null
};

template <class T>
struct BackwardArrays {
    const T* x;             // (N, I)
    index ldx;
    const T* h0;            // (B, H) or null for zeros
    const T* c0;
    const T* mask;          // (B, H) or null: multiplies h where it enters the products
    Zones<T> zones;
    const T* y;             // (N, H)
    index ldy;
    const T* gates;         // (N, G*H)
    const T* inner;         // (N, H)
    const T* before_zoneout;         // (N, H) with zones, LSTM and RNN
    const T* dy;            // (N, H) or null
    index lddy;
    const T* dh;            // (B, H) or null
    const T* dc;
    T* dx;                  // (N, I) or null if not wanted
    index lddx;
    T* dh0;                 // (B, H)
    T* dc0;
    T* dWx;                 // (I, G*H)
    T* dWh;                 // (H, G*H)
    T* db;                  // (G*H)
    T* dvectors;            // (V, H)
};

struct Running {
    int threads = 1;                        // at most this many
    std::function<bool()> interrupted;      // asked every few milliseconds on the calling thread
};

// False if interrupted; the results are then incomplete.
template <class T> bool forward(const Layer<T>&, const Order&, const ForwardArrays<T>&, const Running&);
template <class T> bool backward(const Layer<T>&, const Order&, const BackwardArrays<T>&, const Running&);

}  // namespace elman
