// The Python face of the kernels. Thin: arrays in, arrays out; what a user may pass is checked by the library.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "arguments.hpp"
#include "dispatch.hpp"
#include "interpreter.hpp"

namespace elman {

namespace {

// The objects of NumPy in use, fetched once when the module is loaded and never given back: the interpreter may be
// gone before this library is.
struct NumPy {
    nb::object empty, float32, float64, ndarray;
};
NumPy* numpy = nullptr;

}  // namespace

template <class T> nb::object empty(std::initializer_list<index> shape) {
    PyObject* const dtype = (sizeof(T) == 4 ? numpy->float32 : numpy->float64).ptr();
    PyObject* const made = in_interpreter([&]() -> PyObject* {
        PyObject* const tuple = PyTuple_New(shape.size());
        bool made_all = tuple;
        for (std::size_t i = 0; made_all && i < shape.size(); ++i) {
            PyObject* const size = PyLong_FromLongLong(shape.begin()[i]);
            made_all = size;
            PyTuple_SET_ITEM(tuple, i, size);
        }
        PyObject* const arguments[] = {tuple, dtype};
        PyObject* const array = made_all ? PyObject_Vectorcall(numpy->empty.ptr(), arguments, 2, nullptr) : nullptr;
        Py_XDECREF(tuple);
        return array;
    });
    if (!made) throw nb::python_error();
    return nb::steal(made);
}
template nb::object empty<float>(std::initializer_list<index>);
template nb::object empty<double>(std::initializer_list<index>);

bool is_plain_array(nb::handle object) { return object.type().is(numpy->ndarray); }

void add_dense(nb::module_& m);
void add_streams(nb::module_& m);

namespace {

// A batch, its first states, and what acts on its states besides the cell, as forward and backward both take them.
struct BatchArguments {
    Array x, lengths, h0, c0, mask, zone_h, zone_c;

    // The kernels trust the lengths: here they are held to the rows there are.
    Order order(bool reverse) const {
        const index* const steps = lengths.packed<const index>({-1});
        const index B = lengths.shape(0);
        index rows = 0;
        for (index b = 0; b < B; rows += steps[b++])
            if (steps[b] < 1 || steps[b] > x.shape(0) - rows) break;
        if (B < 1 || rows != x.shape(0))
            throw nb::value_error("lengths must be from 1 up and add up to the rows of x.");
        return Order(steps, B, reverse);
    }

    template <class T> Zones<T> zones(const CellTraits& traits, index units) const {
        if (bool(zone_c) != (zone_h && traits.cell_state))
            throw nb::value_error("The zones must be those of the states of the kind of cell.");
        const auto rows = [&](const Array& zone) { return zone.is_one_row() ? 1 : x.shape(0); };
        const auto distance = [&](const Array& zone) { return zone.is_one_row() ? 0 : units; };
        return {zone_h.packed<const T>({rows(zone_h), units}), distance(zone_h),
                zone_c.packed<const T>({rows(zone_c), units}), distance(zone_c)};
    }
};

template <class T> nb::object forward_of(const LayerArguments& in, const BatchArguments& batch, bool reverse,
                                         nb::object y, const Array& gates, const Array& inner,
                                         const Array& before_zoneout) {
    const Layer<T> layer = in.layer<T>();
    const Order order = batch.order(reverse);
    const index N = batch.x.shape(0), I = in.inputs(), H = in.units(), B = order.sequences();
    const CellTraits& traits = in.traits();
    if (gates && (!traits.keeps_gates || bool(inner) != traits.keeps_inner))
        throw nb::value_error("The arrays of the tape must be those of the kind of cell.");
    // The RNN keeps no gates that would tell whether a tape is wanted.
    const bool fresh_fits = traits.keeps_gates
                                ? bool(before_zoneout) == (traits.keeps_before_zoneout && gates && batch.zone_h)
                                : !before_zoneout || batch.zone_h;
    if (!fresh_fits) throw nb::value_error("The arrays of the tape must be those of the kind of cell.");
    if (y.is_none()) y = empty<T>({N, H});
    const nb::object h = empty<T>({B, H});
    const nb::object c = traits.cell_state ? empty<T>({B, H}) : nb::none();
    const Array y_(y, "y", true), h_(h, "h", true), c_(c, "c", true);
    const auto& [x, lengths, h0, c0, mask, zone_h, zone_c] = batch;
    const auto read = {&x, &lengths, &h0, &c0, &mask, &zone_h, &zone_c, &in.Wx, &in.Wh, &in.b, &in.vectors};
    const Result<T> y_to(y_, y_.data<T>({N, H}), read);
    const Result<T> gates_to(gates, gates.packed<T>({N, in.gates() * H}), read, {&y_});
    const Result<T> inner_to(inner, inner.packed<T>({N, H}), read, {&y_, &gates});
    const Result<T> before_zoneout_to(before_zoneout, before_zoneout.packed<T>({N, H}), read, {&y_, &gates, &inner});
    const ForwardArrays<T> arrays = {batch.x.data<const T>({N, I}),
                                     batch.x.row_stride(),
                                     batch.h0.packed<const T>({B, H}),
                                     batch.c0.packed<const T>({B, H}),
                                     batch.mask.packed<const T>({B, H}),
                                     batch.zones<T>(in.traits(), H),
                                     y_to.get(),
                                     y_to.row_stride(),
                                     h_.packed<T>({B, H}),
                                     c_.packed<T>({B, H}),
                                     gates_to.get(),
                                     inner_to.get(),
                                     before_zoneout_to.get()};
    run_unlocked([&](const Running& running) { return forward(layer, order, arrays, running); });
    for (const Result<T>* result : {&y_to, &gates_to, &inner_to, &before_zoneout_to}) result->finish();
    return nb::make_tuple(y, h, c);
}

nb::object forward_call(Kind kind, nb::handle x, nb::handle lengths, bool reverse, nb::handle Wx, nb::handle Wh,
                        nb::handle b, nb::handle vectors, nb::handle h0, nb::handle c0, nb::object y, nb::handle gates,
                        nb::handle inner, nb::handle before_zoneout, nb::handle mask, nb::handle zone_h,
                        nb::handle zone_c, const ChosenOptions* options) {
    const LayerArguments in{kind, Wx, Wh, b, vectors, options};
    const Array gates_(gates, "gates", true), inner_(inner, "inner", true),
        before_zoneout_(before_zoneout, "before_zoneout", true);
    const BatchArguments batch = {{x, "x"},       {lengths, "lengths"}, {h0, "h0"},        {c0, "c0"},
                                  {mask, "mask"}, {zone_h, "zone_h"},   {zone_c, "zone_c"}};
    return batch.x.is_float32() ? forward_of<float>(in, batch, reverse, y, gates_, inner_, before_zoneout_)
                                : forward_of<double>(in, batch, reverse, y, gates_, inner_, before_zoneout_);
}

struct TapeArguments {
    Array y, gates, inner, before_zoneout, dy, dh, dc;
};

template <class T>
nb::object backward_of(const LayerArguments& in, const BatchArguments& batch, bool reverse, const TapeArguments& tape,
                       nb::object dx) {
    const Layer<T> layer = in.layer<T>();
    const Order order = batch.order(reverse);
    const index N = batch.x.shape(0), I = in.inputs(), H = in.units(), B = order.sequences(), GH = in.gates() * H;
    const CellTraits& traits = in.traits();
    if (!tape.y || bool(tape.gates) != traits.keeps_gates || bool(tape.inner) != traits.keeps_inner ||
        bool(tape.before_zoneout) != (batch.zone_h && traits.keeps_before_zoneout))
        throw nb::value_error("The arrays of the tape must be those of the kind of cell.");
    if (dx.is_none()) dx = empty<T>({N, I});
    const nb::object dh0 = empty<T>({B, H}), dc0 = traits.cell_state ? empty<T>({B, H}) : nb::none();
    const nb::object dWx = empty<T>({I, GH}), dWh = empty<T>({H, GH}), db = empty<T>({GH});
    const index V = in.vector_count();
    const nb::object dvectors = V ? empty<T>({V * H}) : nb::none();
    const Array dx_(dx, "dx", true), dh0_(dh0, "dh0", true), dc0_(dc0, "dc0", true), dWx_(dWx, "dWx", true),
        dWh_(dWh, "dWh", true), db_(db, "db", true), dvectors_(dvectors, "dvectors", true);
    const Result<T> dx_to(dx_, dx_.data<T>({N, I}),
                          {&batch.x, &tape.y, &tape.gates, &tape.inner, &tape.before_zoneout, &tape.dy, &batch.zone_h,
                           &batch.zone_c, &in.vectors});
    const BackwardArrays<T> arrays = {batch.x.data<const T>({N, I}),
                                      batch.x.row_stride(),
                                      batch.h0.packed<const T>({B, H}),
                                      batch.c0.packed<const T>({B, H}),
                                      batch.mask.packed<const T>({B, H}),
                                      batch.zones<T>(in.traits(), H),
                                      tape.y.data<const T>({N, H}),
                                      tape.y.row_stride(),
                                      tape.gates.packed<const T>({N, GH}),
                                      tape.inner.packed<const T>({N, H}),
                                      tape.before_zoneout.packed<const T>({N, H}),
                                      tape.dy.data<const T>({N, H}),
                                      tape.dy.row_stride(),
                                      tape.dh.packed<const T>({B, H}),
                                      tape.dc.packed<const T>({B, H}),
                                      dx_to.get(),
                                      dx_to.row_stride(),
                                      dh0_.packed<T>({B, H}),
                                      dc0_.packed<T>({B, H}),
                                      dWx_.packed<T>({I, GH}),
                                      dWh_.packed<T>({H, GH}),
                                      db_.packed<T>({GH}),
                                      dvectors_.packed<T>({V * H})};
    run_unlocked([&](const Running& running) { return backward(layer, order, arrays, running); });
    dx_to.finish();
    return nb::make_tuple(dx, dh0, dc0, dWx, dWh, db, dvectors);
}

nb::object backward_call(Kind kind, nb::handle x, nb::handle lengths, bool reverse, nb::handle Wx, nb::handle Wh,
                         nb::handle b, nb::handle vectors, nb::handle h0, nb::handle c0, nb::handle y, nb::handle gates,
                         nb::handle inner, nb::handle before_zoneout, nb::handle dy, nb::handle dh, nb::handle dc,
                         nb::object dx, nb::handle mask, nb::handle zone_h, nb::handle zone_c,
                         const ChosenOptions* options) {
    const LayerArguments in{kind, Wx, Wh, b, vectors, options};
    const BatchArguments batch = {{x, "x"},       {lengths, "lengths"}, {h0, "h0"},        {c0, "c0"},
                                  {mask, "mask"}, {zone_h, "zone_h"},   {zone_c, "zone_c"}};
    const TapeArguments tape = {{y, "y"},   {gates, "gates"}, {inner, "inner"}, {before_zoneout, "before_zoneout"},
                                {dy, "dy"}, {dh, "dh"},       {dc, "dc"}};
    return batch.x.is_float32() ? backward_of<float>(in, batch, reverse, tape, dx)
                                : backward_of<double>(in, batch, reverse, tape, dx);
}

}  // namespace

}  // namespace elman

NB_MODULE(_native, m) {
    using namespace elman;
    using namespace nb::literals;

    // Networks in a notebook live until the interpreter has gone; nanobind would report them as leaks.
    nb::set_leak_warnings(false);
    const nb::module_ np = nb::module_::import_("numpy");
    numpy = new NumPy{np.attr("empty"), np.attr("dtype")("float32"), np.attr("dtype")("float64"), np.attr("ndarray")};

    nb::enum_<Kind>(m, "Kind")
        .value("rnn", Kind::rnn)
        .value("lstm", Kind::lstm)
        .value("lstm_general", Kind::lstm_general)
        .value("lstm_coupled", Kind::lstm_coupled)
        .value("gru", Kind::gru)
        .value("gru_general", Kind::gru_general)
        .value("gru_reset_before", Kind::gru_reset_before)
        .value("gru_reset_before_general", Kind::gru_reset_before_general);
    nb::enum_<Activation>(m, "Activation")
        .value("identity", Activation::identity)
        .value("relu", Activation::relu)
        .value("tanh", Activation::tanh)
        .value("sigmoid", Activation::sigmoid)
        .value("affine", Activation::affine)
        .value("leaky_relu", Activation::leaky_relu)
        .value("thresholded_relu", Activation::thresholded_relu)
        .value("scaled_tanh", Activation::scaled_tanh)
        .value("hard_sigmoid", Activation::hard_sigmoid)
        .value("elu", Activation::elu)
        .value("softsign", Activation::softsign)
        .value("softplus", Activation::softplus);

    nb::class_<ChosenOptions>(m, "Options", "Activations with two numbers each, as many as the kind has, and bounds.")
        .def(
            "__init__",
            [](ChosenOptions* made, std::vector<std::tuple<Activation, double, double>> activations, double clip,
               double cell_clip) { new (made) ChosenOptions{std::move(activations), clip, cell_clip}; },
            "activations"_a, "clip"_a, "cell_clip"_a);

    m.attr("isa") = chosen_kernels().name;
    m.attr("isas") = available_isas();
    m.def("set_threads", set_threads, "count"_a);
    m.def("get_threads", get_threads);

    m.def("forward", forward_call, "kind"_a, "x"_a, "lengths"_a, "reverse"_a, "Wx"_a, "Wh"_a, "b"_a,
          "vectors"_a.none() = nb::none(), "h0"_a.none() = nb::none(), "c0"_a.none() = nb::none(),
          "y"_a.none() = nb::none(), "gates"_a.none() = nb::none(), "inner"_a.none() = nb::none(),
          "before_zoneout"_a.none() = nb::none(), "mask"_a.none() = nb::none(), "zone_h"_a.none() = nb::none(),
          "zone_c"_a.none() = nb::none(), "options"_a.none() = nb::none(),
          "y, h, c of a packed batch; c is None where there is none. The tape goes into gates, inner and "
          "before_zoneout.");
    m.def("backward", backward_call, "kind"_a, "x"_a, "lengths"_a, "reverse"_a, "Wx"_a, "Wh"_a, "b"_a,
          "vectors"_a.none(), "h0"_a.none(), "c0"_a.none(), "y"_a, "gates"_a.none(), "inner"_a.none(),
          "before_zoneout"_a.none() = nb::none(), "dy"_a.none() = nb::none(), "dh"_a.none() = nb::none(),
          "dc"_a.none() = nb::none(), "dx"_a.none() = nb::none(), "mask"_a.none() = nb::none(),
          "zone_h"_a.none() = nb::none(), "zone_c"_a.none() = nb::none(), "options"_a.none() = nb::none(),
          "dx, dh0, dc0, dWx, dWh, db, dvectors from the tape of forward; dc0 and dvectors are None where there are "
          "none.");
    add_dense(m);
    add_streams(m);
}
