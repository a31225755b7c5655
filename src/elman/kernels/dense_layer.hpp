// A dense layer over any number of rows: memory, threads, interruption. Arrays belong to the caller.
#pragma once
#include "layer.hpp"
#include "memory.hpp"

namespace elman {

template <class T>
struct Dense {
    index inputs, outputs;  // I, O
    const T* W;             // (I, O)
    const T* b;             // (O)
    Gate<T> activation;
};

// Keeps its packed weights only: the caller's arrays may change or go.
template <class T>
class PackedDense {
public:
    explicit PackedDense(const Dense<T>& layer);
    index inputs() const { return f_.inputs; }
    index outputs() const { return f_.outputs; }
    double flops_per_row() const { return 2.0 * f_.inputs * width_; }

    // y (N, O) of x (N, I); false if interrupted.
    bool run(index rows, const T* x, index ldx, T* y, index ldy, const Running& running) const;

private:
    Memory<T> packed_;
    index width_;
    DenseForward<T> f_;
};

template <class T>
struct DenseArrays {
    index rows;             // N
    const T* x;             // (N, I)
    index ldx;
    const T* y;             // (N, O)
    index ldy;
    const T* dy;            // (N, O)
    index lddy;
    T* dx;                  // (N, I)
    index lddx;
    T* dW;                  // (I, O)
    T* db;                  // (O)
};

// False if interrupted; the results are then incomplete.
template <class T> bool backward(const Dense<T>&, const DenseArrays<T>&, const Running&);

}  // namespace elman
