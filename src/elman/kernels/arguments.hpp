// Arguments of a layer as Python passes them, and running kernels without the interpreter's lock.
#pragma once
#include <functional>

#include "arrays.hpp"
#include "layer.hpp"

namespace elman {

struct LayerArguments {
    Kind kind;
    Array Wx, Wh, b, bn;
    Activation activation;
    double alpha, beta;

    LayerArguments(Kind kind, nb::handle Wx, nb::handle Wh, nb::handle b, nb::handle bn, Activation activation,
                   double alpha, double beta)
        : kind(kind),
          Wx(Wx, "Wx"),
          Wh(Wh, "Wh"),
          b(b, "b"),
          bn(bn, "bn"),
          activation(activation),
          alpha(alpha),
          beta(beta) {}

    index inputs() const { return Wx.shape(0); }
    index units() const { return Wh.shape(0); }
    index gates() const { return Wh.dimensions() == 2 && units() > 0 ? Wh.shape(1) / units() : 0; }

    template <class T> Layer<T> layer() const {
        const index I = inputs(), H = units(), GH = gates() * H;
        const int wanted = kind == Kind::lstm ? 4 : kind == Kind::rnn ? 1 : 3;
        if (I < 1 || H < 1 || gates() != wanted || !b || bool(bn) != (kind == Kind::gru))
            throw nb::value_error("The weights must be those of the kind of cell.");
        Layer<T> layer;
        layer.kind = kind;
        layer.activation = activation, layer.alpha = T(alpha), layer.beta = T(beta);
        layer.weights = {I,
                         H,
                         Wx.packed<const T>({I, GH}),
                         Wh.packed<const T>({H, GH}),
                         b.packed<const T>({GH}),
                         bn.packed<const T>({H})};
        return layer;
    }
};

// Runs work without the lock, by the number of threads set; work returns false if a signal stopped it.
void run_unlocked(const std::function<bool(const Running&)>& work);

}  // namespace elman
