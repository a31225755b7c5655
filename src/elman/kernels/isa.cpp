// All kernels for one instruction set: compiled once for each, ELMAN_ISA naming the namespace (CMakeLists.txt).
#include "dense.hpp"
#include "gru.hpp"
#include "gru_reset_before.hpp"
#include "lstm.hpp"
#include "rnn.hpp"

#define ELMAN_STRING(x) #x
#define ELMAN_NAME(x) ELMAN_STRING(x)

namespace elman {
namespace ELMAN_ISA {

template <class Cell> Sizes sizes(index inputs, index units) {
    using T = typename Cell::T;
    using Shape = typename Cell::Shape;
    constexpr int L = Lanes<T>::count;
    const index panels = unit_panels<Cell>(units), Hp = padded<Cell>(units);
    Sizes s;
    s.lanes = L;
    s.panels = panels;
    s.padded_units = Hp;
    s.sums = Shape::sums;
    s.gates = Cell::unit_vectors * Cell::G;
    // One vector more than needed, so that a power of two does not put all rows into the same sets of the cache.
    s.ldh = Hp + L;
    s.ldz = Hp * Cell::G + L;
    s.packed_forward = panels * Cell::packed_panel(inputs, units);
    s.packed_backward_h = rounded_up(units, L) * Hp * Cell::G;
    s.packed_backward_x = rounded_up(inputs, L) * Hp * Cell::G;
    return s;
}

template <class Cell, class T = typename Cell::T> void weight_gradient(const Backward<T>& f, index p0, index p1) {
    for (index p = p0; p < p1; ++p) Cell::weight_gradient(f, p);
}

template <class Cell> constexpr CellKernels<typename Cell::T> kernels_of() {
    return {sizes<Cell>,          Cell::pack_forward,    Cell::pack_backward,           input_product<Cell>,
            forward<Cell>,        backward<Cell>,        find_bounds<typename Cell::T>, initial_gradient<Cell>,
            input_gradient<Cell>, weight_gradient<Cell>, Cell::unpack_gradient};
}

// Unit vectors in a panel of the RNN: as few as possible of padding, then as many as possible, up to 4.
constexpr int rnn_unit_vectors(index vectors) {
    int best = 4;
    for (int u = 3; u > 0; --u)
        if (rounded_up(vectors, u) < rounded_up(vectors, best)) best = u;
    return best;
}

template <class T> CellKernels<T> choose(Kind kind, index units) {
    switch (kind) {
        case Kind::lstm: return kernels_of<Lstm<T>>();
        case Kind::lstm_general: return kernels_of<Lstm<T, LstmForm::general>>();
        case Kind::lstm_coupled: return kernels_of<Lstm<T, LstmForm::coupled>>();
        case Kind::gru: return kernels_of<Gru<T>>();
        case Kind::gru_general: return kernels_of<Gru<T, true>>();
        case Kind::gru_reset_before: return kernels_of<GruResetBefore<T>>();
        case Kind::gru_reset_before_general: return kernels_of<GruResetBefore<T, true>>();
        default: break;
    }
    switch (rnn_unit_vectors((units - 1) / Lanes<T>::count + 1)) {
        case 1: return kernels_of<Rnn<T, 1>>();
        case 2: return kernels_of<Rnn<T, 2>>();
        case 3: return kernels_of<Rnn<T, 3>>();
        default: return kernels_of<Rnn<T, 4>>();
    }
}

extern const Kernels kernels;
const Kernels kernels = {ELMAN_NAME(ELMAN_ISA), choose<float>, choose<double>, dense_kernels<float>(),
                         dense_kernels<double>()};

}  // namespace ELMAN_ISA
}  // namespace elman
