// Dense layers for Python: PackedDense (weights, packed once) and the backward pass.
#include <nanobind/stl/unique_ptr.h>

#include "arguments.hpp"
#include "dense_layer.hpp"
#include "dispatch.hpp"
#include "flush.hpp"
#include "interpreter.hpp"

namespace elman {

namespace {

// Shorter work does not wait for the interpreter's lock to be given and taken back.
constexpr double flops_worth_unlocking = 1e6, flops_of_activation = 30;

struct DenseArguments {
    Array W, b;
    Activation activation;
    double alpha, beta;

    template <class T> Dense<T> dense() const {
        const T* const weights = W.packed<const T>({-1, -1});
        if (!weights || W.shape(0) < 1 || W.shape(1) < 1) throw nb::value_error("W must have shape (inputs, outputs).");
        return {W.shape(0), W.shape(1), weights, b.packed<const T>({W.shape(1)}), {activation, T(alpha), T(beta)}};
    }
};

// One face for both dtypes.
class AnyPackedDense {
public:
    virtual ~AnyPackedDense() = default;
    virtual nb::object run(nb::handle x) const = 0;
};

template <class T>
class TypedPackedDense final : public AnyPackedDense {
public:
    explicit TypedPackedDense(const DenseArguments& in) : packed_(in.dense<T>()) {}

    nb::object run(nb::handle x) const override {
        const Array x_(x, "x");
        const index I = packed_.inputs(), O = packed_.outputs();
        switch (x_.dimensions()) {
            case 1: return run(1, x_.data<const T>({I}), I, empty<T>({O}));
            case 2: return run(x_.shape(0), x_.data<const T>({-1, I}), x_.row_stride(), empty<T>({x_.shape(0), O}));
            case 3:
                return run(x_.shape(0) * x_.shape(1), x_.data<const T>({-1, -1, I}), I,
                           empty<T>({x_.shape(0), x_.shape(1), O}));
            default: throw nb::value_error("x must have shape (inputs,), (rows, inputs) or (batch, time, inputs).");
        }
    }

private:
    nb::object run(index rows, const T* x, index ldx, nb::object y) const {
        const Array y_(y, "y", true);
        T* const to = static_cast<T*>(y_.elements());
        const auto work = [&](const Running& running) {
            return packed_.run(rows, x, ldx, to, packed_.outputs(), running);
        };
        if (rows * packed_.flops_per_row() < flops_worth_unlocking)
            work(Running{});
        else
            run_unlocked(work);
        return y;
    }

    const PackedDense<T> packed_;
};

std::unique_ptr<AnyPackedDense> pack_dense(nb::handle W, nb::handle b, Activation activation, double alpha,
                                           double beta) {
    const DenseArguments in = {{W, "W"}, {b, "b"}, activation, alpha, beta};
    if (!in.b) throw nb::value_error("b must have shape (outputs,). Got None.");
    if (in.W.is_float32()) return std::make_unique<TypedPackedDense<float>>(in);
    return std::make_unique<TypedPackedDense<double>>(in);
}

template <class T> nb::object backward_of(const DenseArguments& in, const Array& x, const Array& y, const Array& dy) {
    const Dense<T> layer = in.dense<T>();
    const index I = layer.inputs, O = layer.outputs, N = x.shape(0);
    const nb::object dx = empty<T>({N, I}), dW = empty<T>({I, O}), db = empty<T>({O});
    const Array dx_(dx, "dx", true), dW_(dW, "dW", true), db_(db, "db", true);
    const DenseArrays<T> arrays = {N,
                                   x.data<const T>({N, I}),
                                   x.row_stride(),
                                   y.data<const T>({N, O}),
                                   y.row_stride(),
                                   dy.data<const T>({N, O}),
                                   dy.row_stride(),
                                   dx_.packed<T>({N, I}),
                                   I,
                                   dW_.packed<T>({I, O}),
                                   db_.packed<T>({O})};
    run_unlocked([&](const Running& running) { return backward(layer, arrays, running); });
    return nb::make_tuple(dx, dW, db);
}

nb::object backward_call(nb::handle x, nb::handle W, nb::handle y, nb::handle dy, Activation activation, double alpha,
                         double beta) {
    const DenseArguments in = {{W, "W"}, {nb::none(), "b"}, activation, alpha, beta};
    const Array x_(x, "x"), y_(y, "y"), dy_(dy, "dy");
    if (!x_ || x_.dimensions() != 2 || !y_ || !dy_)
        throw nb::value_error("x must have shape (rows, inputs), y and dy (rows, outputs).");
    return in.W.is_float32() ? backward_of<float>(in, x_, y_, dy_) : backward_of<double>(in, x_, y_, dy_);
}

template <class T>
nb::object activate_of(const Array& x, Activation activation, double alpha, double beta) {
    const index n = x.shape(0);
    const nb::object y = empty<T>({n});
    const Array y_(y, "y", true);
    const T* const from = x.data<const T>({n});
    T* const to = y_.data<T>({n});
    const Gate<T> gate = {activation, T(alpha), T(beta)};
    const auto work = [&](const Running&) {
        const FlushDenormals mode;
        dense_kernels<T>(n).activate(gate, from, to, n);
        return true;
    };
    if (n * flops_of_activation < flops_worth_unlocking)
        work(Running{});
    else
        run_unlocked(work);
    return y;
}

nb::object activate_call(nb::handle x, Activation activation, double alpha, double beta) {
    const Array x_(x, "x");
    if (!x_ || x_.dimensions() != 1) throw nb::value_error("x must have shape (elements,).");
    return x_.is_float32() ? activate_of<float>(x_, activation, alpha, beta)
                           : activate_of<double>(x_, activation, alpha, beta);
}

}  // namespace

void add_dense(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<AnyPackedDense>(m, "PackedDense", "A dense layer with its weights packed; any threads may share it.")
        .def("__call__", &AnyPackedDense::run, "x"_a, "y (..., O) of x (..., I), of up to three axes.");
    m.def("pack_dense", pack_dense, "W"_a, "b"_a, "activation"_a, "alpha"_a, "beta"_a);
    m.def("dense_backward", backward_call, "x"_a, "W"_a, "y"_a, "dy"_a, "activation"_a, "alpha"_a, "beta"_a,
          "dx, dW, db.");
    m.def("activate", activate_call, "x"_a, "activation"_a, "alpha"_a, "beta"_a, "y (N,) of x (N,).");
}

}  // namespace elman
