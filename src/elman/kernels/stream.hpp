// A layer one step at a time: weights packed once and shared by any number of streams, each with its own state.
// A step is the same kernel as a whole sequence, so the numbers are the same to the bit.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "dispatch.hpp"
#include "flush.hpp"
#include "layer.hpp"
#include "memory.hpp"

namespace elman {

// Keeps its packed weights only: the caller's arrays may change or go.
template <class T>
class PackedLayer {
public:
    // The rates of zoneout, (H) each, or null.
    PackedLayer(const Layer<T>& layer, const T* zone_h, const T* zone_c)
        : kernels(cell_kernels<T>(layer.kind, layer.weights.units)),
          sizes(kernels.sizes(layer.weights.inputs, layer.weights.units)),
          layer_(layer),
          packed_(sizes.packed_forward),
          vectors_((2 + peepholes(layer)) * layer.weights.units) {
        kernels.pack_forward(layer.weights, packed_.get());
        const index units = layer.weights.units;
        T* end = vectors_.get();
        const auto keep = [&](const T* from, index n) -> const T* {
            if (!from || !n) return nullptr;
            end = std::copy_n(from, n, end);
            return end - n;
        };
        zones.h = keep(zone_h, units), zones.c = keep(zone_c, units);
        layer_.weights = {layer.weights.inputs,
                          units,
                          nullptr,
                          nullptr,
                          nullptr,
                          keep(layer.weights.vectors, peepholes(layer) * units)};
        layer_.packed = packed_.get();
    }
    PackedLayer(const PackedLayer&) = delete;

    const Layer<T>& layer() const { return layer_; }
    const CellKernels<T> kernels;
    const Sizes sizes;
    Zones<T> zones = {nullptr, 0, nullptr, 0};  // at distance 0: the same for every row

private:
    Layer<T> layer_;
    const Memory<T> packed_, vectors_;
};

template <class T>
class StreamState {
public:
    StreamState(std::shared_ptr<const PackedLayer<T>> packed, index batch)
        : packed_(std::move(packed)),
          h_(Memory<T>::zeros(elements({2, batch, packed_->sizes.ldh}))),
          c_(Memory<T>::zeros(has_c() ? elements({batch, packed_->sizes.padded_units}) : 0)),
          reset_h_(traits_of(packed_->layer().kind).reset_before ? elements({3, batch, packed_->sizes.ldh}) : 0),
          first_(batch),
          length_(batch, 1),
          active_{batch, batch} {
        for (index b = 0; b < batch; ++b) first_[b] = b;
        const Layer<T>& layer = packed_->layer();
        // Direction 0: every step reads row b of x and writes row b of y; only its parity is told by t.
        f_.batch = {batch, 2, 0, first_.data(), length_.data(), active_, slot_};
        f_.inputs = layer.weights.inputs, f_.units = layer.weights.units;
        f_.options = layer.options, f_.vectors = layer.weights.vectors;
        f_.packed = layer.packed;
        f_.zones = packed_->zones;
        f_.h = h_.get(), f_.ldh = packed_->sizes.ldh;
        f_.c = c_.get();
        f_.reset_h = reset_h_.get();
    }
    StreamState(const StreamState&) = delete;

    index batch() const { return f_.batch.sequences; }
    index inputs() const { return f_.inputs; }
    index units() const { return f_.units; }
    bool has_c() const { return traits_of(packed_->layer().kind).cell_state; }
    const std::shared_ptr<const PackedLayer<T>>& packed() const { return packed_; }

    // x (B, I) to y (B, H).
    void step(const T* x, index ldx, T* y, index ldy) {
        const FlushDenormals flush;
        f_.x = x, f_.ldx = ldx;
        f_.y = y, f_.ldy = ldy;
        packed_->kernels.forward(f_, {0, batch(), parity_, parity_ + 1});
        parity_ ^= 1;
    }

    // The state, as rows of the buffers.
    T* h(index b) { return h_.get() + (parity_ * batch() + b) * f_.ldh; }
    T* c(index b) { return c_.get() + b * packed_->sizes.padded_units; }

private:
    const std::shared_ptr<const PackedLayer<T>> packed_;
    const Memory<T> h_, c_, reset_h_;
    std::vector<index> first_, length_;
    index active_[2], slot_[2] = {0, 0};
    Forward<T> f_{};
    index parity_ = 0;
};

}  // namespace elman
