// Streams for Python: PackedLayer (weights, packed once) and Stream (a recurrent state, advanced step by step).
#include <nanobind/stl/optional.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "arguments.hpp"
#include "interpreter.hpp"
#include "stream.hpp"

namespace elman {

namespace {

// Work in one step that is worth letting other threads of Python run beside it.
constexpr double flops_unlocked = 1e7;

// One face for both dtypes. What a stream promises is written in elman/cells/stepping.py.
class Stream {
public:
    virtual ~Stream() = default;
    virtual nb::object step(nb::handle x, nb::object out) = 0;
    virtual nb::object run(nb::handle x, nb::object out) = 0;
    virtual nb::object state(nb::handle rows) = 0;
    virtual void set_state(nb::handle h, nb::handle c, nb::handle rows) = 0;
    virtual void assign(Stream& other) = 0;
};

template <class T>
class TypedStream final : public Stream {
public:
    // One sequence without an axis for the batch, or `batch` of them with it.
    TypedStream(std::shared_ptr<const PackedLayer<T>> packed, std::optional<index> batch)
        : state_(std::move(packed), batch.value_or(1)), one_(!batch) {
        const Sizes& sizes = state_.packed()->sizes;
        const index row = (state_.inputs() + state_.units()) * sizes.gates * sizes.lanes * sizes.panels;
        unlocked_ = 2.0 * row * state_.batch() > flops_unlocked;
    }

    nb::object step(nb::handle x, nb::object out) override {
        check_free();
        const Array x_ = Array::plain(x, "x");
        const index B = state_.batch(), I = state_.inputs(), H = state_.units();
        if (!(one_ ? x_.fits<T>({I}) : x_.fits<T>({B, I}))) return not_taken();
        const T* const from = static_cast<const T*>(x_.elements());
        if (out.is_none()) out = one_ ? empty<T>({H}) : empty<T>({B, H});
        const Array y = Array::plain(out, "out", true);
        if (!(one_ ? y.fits<T>({H}) : y.fits<T>({B, H}))) return not_taken();
        const Result<T> to(y, static_cast<T*>(y.elements()), {&x_});
        const auto step = [&] { state_.step(from, x_.row_stride(), to.get(), to.row_stride()); };
        if (unlocked_) {
            const InUse now(in_use_);
            run_unlocked([&](const Running&) {
                step();
                return true;
            });
        } else {
            step();
        }
        to.finish();
        return out;
    }

    nb::object run(nb::handle x, nb::object out) override {
        check_free();
        const Array x_ = Array::plain(x, "x");
        const index B = state_.batch(), I = state_.inputs(), H = state_.units();
        if (!(one_ ? x_.fits<T>({-1, I}) : x_.fits<T>({B, -1, I}))) return not_taken();
        const T* const from = static_cast<const T*>(x_.elements());
        const index steps = x_.shape(one_ ? 0 : 1);
        if (out.is_none()) out = one_ ? empty<T>({steps, H}) : empty<T>({B, steps, H});
        const Array y = Array::plain(out, "out", true);
        if (!(one_ ? y.fits<T>({steps, H}) : y.fits<T>({B, steps, H}))) return not_taken();
        const Result<T> to(y, static_cast<T*>(y.elements()), {&x_});
        if (steps == 0) return out;
        const std::vector<index> lengths(B, steps);
        const Order order(lengths.data(), B, false);
        const Memory<T> h(B * H), c(B * H);
        save(h.get(), c.get());
        const index ldx = one_ ? x_.row_stride() : I, ldy = one_ ? to.row_stride() : H;
        {
            const InUse now(in_use_);
            run_unlocked([&](const Running& running) {
                return forward<T>(state_.packed()->layer(), order,
                                  {from, ldx, h.get(), c.get(), nullptr, state_.packed()->zones, to.get(), ldy, h.get(),
                                   c.get(), nullptr, nullptr, nullptr},
                                  running);
            });
        }
        restore(h.get(), c.get());
        to.finish();
        return out;
    }

    nb::object state(nb::handle rows) override {
        check_free();
        const std::vector<index> at = indices(rows);
        const index N = at.size(), H = state_.units();
        const nb::object h = empty<T>({N, H}), c = state_.has_c() ? empty<T>({N, H}) : nb::none();
        const Array h_(h, "h", true), c_(c, "c", true);
        for (index n = 0; n < N; ++n) {
            std::copy_n(state_.h(at[n]), H, h_.data<T>({N, H}) + n * H);
            if (c_) std::copy_n(state_.c(at[n]), H, c_.data<T>({N, H}) + n * H);
        }
        return c_ ? nb::make_tuple(h, c) : nb::make_tuple(h);
    }

    void set_state(nb::handle h, nb::handle c, nb::handle rows) override {
        check_free();
        const std::vector<index> at = indices(rows);
        const index N = at.size(), H = state_.units();
        const Array h_(h, "h"), c_(c, "c");
        const auto read = [&](const Array& array) { return array.packed<const T>({array.is_one_row() ? 1 : N, H}); };
        const T *const from_h = read(h_), *const from_c = read(c_);
        if (!from_h || state_.has_c() != bool(from_c)) throw nb::value_error("The state must be h, and c for an LSTM.");
        for (index n = 0; n < N; ++n) {
            std::copy_n(from_h + (h_.is_one_row() ? 0 : n * H), H, state_.h(at[n]));
            if (from_c) std::copy_n(from_c + (c_.is_one_row() ? 0 : n * H), H, state_.c(at[n]));
        }
    }

    void assign(Stream& other) override {
        auto* const from = dynamic_cast<TypedStream*>(&other);
        if (!from || from->state_.packed() != state_.packed() || from->state_.batch() != state_.batch())
            throw nb::value_error("other must be a stream of the same layer and batch.");
        check_free();
        from->check_free();
        for (index b = 0; b < state_.batch(); ++b) {
            std::copy_n(from->state_.h(b), state_.units(), state_.h(b));
            if (state_.has_c()) std::copy_n(from->state_.c(b), state_.units(), state_.c(b));
        }
    }

private:
    // Set, with the interpreter's lock held, before that is given away in a call.
    struct InUse {
        explicit InUse(bool& flag) : flag_(flag) { flag_ = true; }
        ~InUse() { flag_ = false; }
        bool& flag_;
    };
    void check_free() const {
        if (in_use_) throw std::runtime_error("a stream must be used by one thread at a time. Got two calls at once.");
    }
    static nb::object not_taken() { return nb::borrow(Py_NotImplemented); }

    // Rows of the batch; all of them for None.
    std::vector<index> indices(nb::handle rows) const {
        const Array rows_(rows, "rows");
        std::vector<index> at(rows_ ? rows_.shape(0) : state_.batch());
        const index* const from = rows_.packed<const index>({-1});
        for (index n = 0; n < static_cast<index>(at.size()); ++n) {
            at[n] = from ? from[n] : n;
            if (at[n] < 0 || at[n] >= state_.batch()) throw nb::value_error("rows must be indices of the batch.");
        }
        return at;
    }

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
    const bool one_;
    bool unlocked_, in_use_ = false;
};

class Packed {
public:
    virtual ~Packed() = default;
    virtual std::unique_ptr<Stream> stream(std::optional<index> batch) = 0;
};

template <class T>
class TypedPacked final : public Packed {
public:
    TypedPacked(const LayerArguments& in, const Array& zone_h, const Array& zone_c) {
        const Layer<T> layer = in.layer<T>();
        const index H = in.units();
        if (bool(zone_c) != (zone_h && in.traits().cell_state))
            throw nb::value_error("The zones must be those of the states of the kind of cell.");
        packed_ = std::make_shared<const PackedLayer<T>>(layer, zone_h.packed<const T>({1, H}),
                                                         zone_c.packed<const T>({1, H}));
    }
    std::unique_ptr<Stream> stream(std::optional<index> batch) override {
        if (batch && *batch < 1) throw nb::value_error("batch must be at least 1.");
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
    nb::class_<Stream>(m, "Stream", "The state of a layer, advanced one step at a time; see elman.cells.stepping.")
        .def("step", &Stream::step, "x"_a.none(), "out"_a.none() = nb::none(),
             "y (H) of x (I), or y (B, H) of x (B, I). With out= nothing is allocated.")
        .def("run", &Stream::run, "x"_a.none(), "out"_a.none() = nb::none(),
             "y (T, H) of x (T, I), or y (B, T, H) of x (B, T, I): the same numbers as T steps.")
        .def("state", &Stream::state, "rows"_a.none() = nb::none(), "(h,) or (h, c), each (rows, H), copied.")
        .def("set_state", &Stream::set_state, "h"_a, "c"_a.none() = nb::none(), "rows"_a.none() = nb::none(),
             "Takes over (rows, H) each; (1, H) stands for every row.")
        .def("assign", &Stream::assign, "other"_a, "Takes over the state of another stream of the same layer.");
    nb::class_<Packed>(m, "Packed", "Weights of a layer packed for streams; shared by all of them.")
        .def("stream", &Packed::stream, "batch"_a.none() = nb::none());
    m.def("pack", pack, "kind"_a, "Wx"_a, "Wh"_a, "b"_a, "vectors"_a.none() = nb::none(),
          "zone_h"_a.none() = nb::none(), "zone_c"_a.none() = nb::none(), "options"_a.none() = nb::none());
}

}  // namespace elman
