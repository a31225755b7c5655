// One recurrent layer over a packed batch, forward and backward: memory, blocks of steps, threads, interruption.
// Arrays belong to the caller; shapes as in kernels.hpp, states in the order of the caller's batch.
#pragma once
#include <functional>

#include "kernels.hpp"
#include "order.hpp"

namespace elman {

template <class T>
struct Layer {
    Kind kind;
    Activation activation = Activation::tanh;
    T alpha = 0, beta = 0;
    Weights<T> weights;
    const T* packed = nullptr;  // the weights packed for forward, if the caller has them already
};

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
    T* fresh;               // (N, H) or null
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
    const T* fresh;         // (N, H) with zones, LSTM and RNN
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
    T* dbn;                 // (H)
};

struct Running {
    int threads = 1;                        // at most this many
    std::function<bool()> interrupted;      // asked every few milliseconds on the calling thread
};

// False if interrupted; the results are then incomplete.
template <class T> bool forward(const Layer<T>&, const Order&, const ForwardArrays<T>&, const Running&);
template <class T> bool backward(const Layer<T>&, const Order&, const BackwardArrays<T>&, const Running&);

}  // namespace elman
