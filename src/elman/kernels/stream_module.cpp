// Streams for Python: PackedLayer (weights, packed once) and Stream (a state that walks).
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>

#include "arguments.hpp"
#include "interpreter.hpp"
#include "stream.hpp"

namespace elman {

namespace {

// One face for both dtypes.
class Stream {
public:
    virtual ~Stream() = default;
    virtual nb::object step(nb::handle x, nb::object out) = 0;
    virtual nb::object run(nb::handle x, nb::object out) = 0;
    virtual nb::object state() = 0;
    virtual void set_state(nb::handle h, nb::handle c) = 0;
    virtual void reset() = 0;
    virtual std::unique_ptr<Stream> copy() = 0;
};

template <class T>
class TypedStream final : public Stream {
public:
    TypedStream(std::shared_ptr<const PackedLayer<T>> packed, index batch) : state_(std::move(packed), batch) {}

    nb::object step(nb::handle x, nb::object out) override {
        const Array x_(x, "x");
        const index B = state_.batch(), I = state_.inputs(), H = state_.units();
        const bool one = x_.dimensions() == 1;
        const T* const from = one ? x_.data<const T>({I}) : x_.data<const T>({B, I});
        if (one && B != 1)
            throw nb::value_error("x must have shape (batch, inputs) for a stream of many. Got (inputs,).");
        if (out.is_none()) out = one ? empty<T>({H}) : empty<T>({B, H});
        const Array y(out, "out", true);
        const Result<T> to(y, one ? y.data<T>({H}) : y.data<T>({B, H}), {&x_});
        state_.step(from, x_.row_stride(), to.get(), to.row_stride());
        to.finish();
        return out;
    }

    nb::object run(nb::handle x, nb::object out) override {
        const Array x_(x, "x");
        const index B = state_.batch(), I = state_.inputs(), H = state_.units();
        const bool one = x_.dimensions() == 2;
        const T* const from = one ? x_.data<const T>({-1, I}) : x_.data<const T>({B, -1, I});
        if (one && B != 1) throw nb::value_error("x must have shape (batch, time, inputs) for a stream of many.");
        const index steps = x_.shape(one ? 0 : 1);
        if (out.is_none()) out = one ? empty<T>({steps, H}) : empty<T>({B, steps, H});
        const Array y(out, "out", true);
        const Result<T> to(y, one ? y.data<T>({steps, H}) : y.data<T>({B, steps, H}), {&x_});
        if (steps == 0) return out;
        const std::vector<index> lengths(B, steps);
        const Order order(lengths.data(), B, false);
        const Memory<T> h(B * H), c(B * H);
        save(h.get(), c.get());
        const index ldx = one ? x_.row_stride() : I, ldy = one ? to.row_stride() : H;
        run_unlocked([&](const Running& running) {
            return forward<T>(state_.packed()->layer(), order,
                              {from, ldx, h.get(), c.get(), nullptr, state_.packed()->zones, to.get(), ldy, h.get(),
                               c.get(), nullptr, nullptr, nullptr},
                              running);
        });
        restore(h.get(), c.get());
        to.finish();
        return out;
    }

    nb::object state() override {
        const index B = state_.batch(), H = state_.units();
        const nb::object h = empty<T>({B, H}), c = state_.has_c() ? empty<T>({B, H}) : nb::none();
        save(Array(h, "h", true).data<T>({B, H}), Array(c, "c", true).data<T>({B, H}));
        return state_.has_c() ? nb::make_tuple(h, c) : nb::make_tuple(h);
    }

    void set_state(nb::handle h, nb::handle c) override {
        const index B = state_.batch(), H = state_.units();
        const Array h_(h, "h"), c_(c, "c");
        const T* const from_h = h_.packed<const T>({B, H});
        const T* const from_c = c_.packed<const T>({B, H});
        if (!from_h || (state_.has_c() && !from_c)) throw nb::value_error("The state must be h, and c for an LSTM.");
        restore(from_h, from_c);
    }

    void reset() override {
        for (index b = 0; b < state_.batch(); ++b) {
            std::fill_n(state_.h(b), state_.units(), T(0));
            if (state_.has_c()) std::fill_n(state_.c(b), state_.units(), T(0));
        }
    }

    std::unique_ptr<Stream> copy() override {
        auto twin = std::make_unique<TypedStream>(state_.packed(), state_.batch());
        for (index b = 0; b < state_.batch(); ++b) {
            std::copy_n(state_.h(b), state_.units(), twin->state_.h(b));
            if (state_.has_c()) std::copy_n(state_.c(b), state_.units(), twin->state_.c(b));
        }
        return twin;
    }

private:
    // The state to and from packed (B, H).
    void save(T* h, T* c) {
        const index H = state_.units();
        for (index b = 0; b < state_.batch(); ++b) {
            std::copy_n(state_.h(b), H, h + b * H);
            if (state_.has_c()) std::copy_n(state_.c(b), H, c + b * H);
        }
    }
    void restore(const T* h, const T* c) {
        const index H = state_.units();
        for (index b = 0; b < state_.batch(); ++b) {
            std::copy_n(h + b * H, H, state_.h(b));
            if (state_.has_c()) std::copy_n(c + b * H, H, state_.c(b));
        }
    }

    StreamState<T> state_;
};

class Packed {
public:
    virtual ~Packed() = default;
    virtual std::unique_ptr<Stream> stream(index batch) = 0;
};

template <class T>
class TypedPacked final : public Packed {
public:
    TypedPacked(const LayerArguments& in, const Array& zone_h, const Array& zone_c) {
        const Layer<T> layer = in.layer<T>();
        const index H = in.units();
        if (bool(zone_c) != (zone_h && in.facts().cell_state))
            throw nb::value_error("The zones must be those of the states of the kind of cell.");
        packed_ = std::make_shared<const PackedLayer<T>>(layer, zone_h.packed<const T>({1, H}),
                                                         zone_c.packed<const T>({1, H}));
    }
    std::unique_ptr<Stream> stream(index batch) override {
        if (batch < 1) throw nb::value_error("batch must be at least 1.");
        return std::make_unique<TypedStream<T>>(packed_, batch);
    }

private:
    std::shared_ptr<const PackedLayer<T>> packed_;
};

std::unique_ptr<Packed> pack(Kind kind, nb::handle Wx, nb::handle Wh, nb::handle b, nb::handle vectors,
                             nb::handle zone_h, nb::handle zone_c, const ChosenOptions* options) {
    const LayerArguments in{kind, Wx, Wh, b, vectors, options};
    const Array zone_h_(zone_h, "zone_h"), zone_c_(zone_c, "zone_c");
    if (in.Wx.is_float32()) return std::make_unique<TypedPacked<float>>(in, zone_h_, zone_c_);
    return std::make_unique<TypedPacked<double>>(in, zone_h_, zone_c_);
}

}  // namespace

void add_streams(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Stream>(m, "Stream", "A layer one step at a time. One thread at a time may use it.")
        .def("step", &Stream::step, "x"_a, "out"_a.none() = nb::none(),
             "y (H) of x (I), or y (B, H) of x (B, I). With out= nothing is allocated.")
        .def("run", &Stream::run, "x"_a, "out"_a.none() = nb::none(),
             "y (T, H) of x (T, I), or y (B, T, H) of x (B, T, I): the same numbers as T steps.")
        .def("state", &Stream::state, "(h,) or (h, c), each (B, H), copied.")
        .def("set_state", &Stream::set_state, "h"_a, "c"_a.none() = nb::none())
        .def("reset", &Stream::reset, "State zero.")
        .def("copy", &Stream::copy, "A stream of the same weights that goes on from the same state.");
    nb::class_<Packed>(m, "Packed", "Weights of a layer packed for streams; shared by all of them.")
        .def("stream", &Packed::stream, "batch"_a = 1);
    m.def("pack", pack, "kind"_a, "Wx"_a, "Wh"_a, "b"_a, "vectors"_a.none() = nb::none(),
          "zone_h"_a.none() = nb::none(), "zone_c"_a.none() = nb::none(), "options"_a.none() = nb::none());
}

}  // namespace elman
