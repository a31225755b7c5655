// Arguments of a layer as Python passes them.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "arrays.hpp"
#include "layer.hpp"

namespace elman {

// What was chosen of a cell: an activation with its two numbers for each gate (then that of c'), and the bounds.
struct ChosenOptions {
    std::vector<std::tuple<Activation, double, double>> activations;
    double clip = std::numeric_limits<double>::infinity(), cell_clip = clip;

    template <class T> Options<T> options(const CellTraits& traits) const {
        if (static_cast<int>(activations.size()) != traits.activations)
            throw nb::value_error("The options must be those of the kind of cell.");
        Options<T> made;
        for (int i = 0; i < traits.activations; ++i) {
            const auto& [activation, alpha, beta] = activations[i];
            (i < traits.gates ? made.gates[i] : made.cell) = {activation, T(alpha), T(beta)};
        }
        made.clip = bound<T>(clip), made.cell_clip = bound<T>(cell_clip);
        return made;
    }

private:
    // A bound too large for T still keeps out infinity.
    template <class T> static T bound(double clip) {
        return T(std::isinf(clip) ? clip : std::min(clip, double(std::numeric_limits<T>::max())));
    }
};

// Never destroyed: a thread may still be inside a call while the process ends.
inline const ChosenOptions& nothing_chosen = *new ChosenOptions;

struct LayerArguments {
    Kind kind;
    Array Wx, Wh, b, vectors;
    const ChosenOptions& chosen;

    LayerArguments(Kind kind, nb::handle Wx, nb::handle Wh, nb::handle b, nb::handle vectors,
                   const ChosenOptions* chosen)
        : kind(kind),
          Wx(Wx, "Wx"),
          Wh(Wh, "Wh"),
          b(b, "b"),
          vectors(vectors, "vectors"),
          chosen(chosen ? *chosen : nothing_chosen) {}

    index inputs() const { return Wx.shape(0); }
    index units() const { return Wh.shape(0); }
    index gates() const { return traits().gates; }
    const CellTraits& traits() const { return traits_of(kind); }
    // Vectors (H) beside the gates: bn, or the peepholes, one after another.
    index vector_count() const { return traits().inner_bias ? 1 : vectors ? traits().gates - 1 : 0; }

    template <class T> Layer<T> layer() const {
        const index I = inputs(), H = units(), GH = gates() * H;
        const bool vectors_fit = vectors ? traits().inner_bias || traits().peepholes : !traits().inner_bias;
        if (I < 1 || H < 1 || !b || !vectors_fit)
            throw nb::value_error("The weights must be those of the kind of cell.");
        Layer<T> layer;
        layer.kind = kind;
        layer.options = chosen.options<T>(traits());
        layer.weights = {I,
                         H,
                         Wx.packed<const T>({I, GH}),
                         Wh.packed<const T>({H, GH}),
                         b.packed<const T>({GH}),
                         vectors.packed<const T>({vector_count() * H})};
        return layer;
    }
};

}  // namespace elman
