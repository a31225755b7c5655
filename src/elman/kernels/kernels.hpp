// What the compiled kernels offer to the rest of the library: plain structures and one table of functions
// for each instruction set. No code here: this header is read by units compiled for different processors.
//
// Notation   N rows of all sequences together, B sequences, T steps of the longest, I inputs, H hidden units,
//            G gates of a cell, L lanes of a vector, t step of a sequence counted in the direction of recurrence.
//
// Batch      sequence b at step t stands in row  first[b] + t * direction  of every array with N rows.
//            Sequences are sorted by length, longest first, so that step t concerns the first active[t] of them.
// Units      hidden units are taken L at a time, a "unit vector" j holds units j*L .. j*L+L-1 (the last padded
//            with zeros); a panel p holds Cell::unit_vectors of them. Hp is H rounded up to whole panels.
// Slot       work that is not bound to the order of time runs over a block of steps; slot[t] + b counts the
//            rows of a block one after another.
#pragma once
#include <cstdint>

namespace elman {

using index = std::int64_t;

// The general kinds take any activations, bounds, and peepholes; the coupled LSTM has no weights for f = 1 - i.
enum class Kind {
    rnn,
    lstm,
    lstm_general,
    lstm_coupled,
    gru,
    gru_general,
    gru_reset_before,
    gru_reset_before_general,
    count
};

enum class Activation {
    identity,
    relu,
    tanh,
    sigmoid,
    affine,
    leaky_relu,
    thresholded_relu,
    scaled_tanh,
    hard_sigmoid,
    elu,
    softsign,
    softplus,
    count
};

template <class T>
struct Gate {
    Activation activation = Activation::identity;
    T alpha = 0, beta = 0;
    T low = 0, high = 0;        // what it gives at -clip and clip, for the backward pass; NaN without clip
};

// What was chosen of a general kind, and of the RNN; the others heed none of it.
template <class T>
struct Options {
    Gate<T> gates[4];           // in the order of the weights
    Gate<T> cell;               // LSTM: what acts on c' on its way to h'
    T clip = 0, cell_clip = 0;  // bounds of what goes into the gates, and of c'; infinite without
};

struct Batch {
    index sequences;        // B
    index steps;            // T
    index direction;        // +1, or -1 when the sequences are walked from their end
    const index* first;     // (B) row of step 0
    const index* length;    // (B) descending
    const index* active;    // (T) number of sequences longer than t
    const index* slot;      // (T) first slot of step t within its block
};

// The part of the work one call does: sequences b0..b1 (one thread's share), steps t0..t1 (one block).
struct Range {
    index b0, b1, t0, t1;
};

template <class T>
struct Weights {
    index inputs, units;    // I, H
    const T* Wx;            // (I, G*H)
    const T* Wh;            // (H, G*H)
    const T* b;             // (G*H)
    const T* vectors;       // (V, H), V 1: bn of the GRU with the reset after; V G-1: peepholes of i, f, o, or null
};

// Zoneout: z of each state, s' = z s + (1 - z) s_new; null without it.
template <class T>
struct Zones {
    const T* h;                 // (N, H), or one row for all of them at distance 0
    index ldh;
    const T* c;                 // LSTM only
    index ldc;
};

template <class T>
struct Forward {
    Batch batch;
    index inputs, units;        // I, H
    const T* packed;            // weights as laid out by pack_forward
    const T* x;                 // (N, I)
    index ldx;                  // elements from one row to the next
    const T* x_product;         // [panel][slot][sums][L] bias + x Wx of the block; null: left to the time loop
    index slots;                // rows of the block
    T* h;                       // (2, B, ldh) the state before step t stands in half t % 2
    index ldh;                  // at least Hp
    const T* mask;              // (B, ldh) what h is multiplied by where it enters the products, or null
    T* masked_h;                // (2, B, ldh) h times the mask, if there is one
    Zones<T> zones;
    T* c;                       // (B, Hp) cell state, LSTM only
    T* reset_h;                 // (3, B, ldh) what waits between the two passes of GRU, reset before
    T* y;                       // (N, H)
    index ldy;
    T* gates;                   // (N, G*H) tape, or null
    T* inner;                   // (N, H) tape: LSTM the cell state, GRU (reset after) h Un + bn; or null
    T* before_zoneout;                   // (N, H) tape of zoneout: LSTM c_new, RNN h_new; or null
    Options<T> options;
    const T* vectors;           // as those of the weights
};

template <class T>
struct Backward {
    Batch batch;
    index inputs, units;        // I, H
    const T* packed_h;          // Wh transposed, as laid out by pack_backward
    const T* packed_x;          // Wx transposed
    const T* const* h_before;   // (slots) row of h before the step as the products had it, for the weight gradients
    const T* const* x_rows;     // (slots) row of x
    const T* const* c_before;   // (slots) row of c before the step and of c' after it, with peepholes
    const T* const* c_after;
    const T* y;                 // (N, H)
    index ldy;
    const T* h0;                // (B, H) in the order of the batch; distance 0 repeats one row of zeros
    index ld_h0;
    const T* c0;                // (B, H)
    index ld_c0;
    const T* gates;             // (N, G*H) tape
    const T* inner;             // (N, H) tape
    const T* before_zoneout;             // (N, H) tape of zoneout
    Zones<T> zones;
    const T* dy;                // (N, H) or null
    index lddy;
    T* dh;                      // (B, Hp) in: gradient of each last h; out: of h0; between: what passes no product
    T* dc;                      // (B, Hp) in: gradient of each last c; out: of c0
    T* dz_rows;                 // (2, B, ldz) gradients of the gates at one step, as the product with Wh takes them
    index ldz;
    T* dz;                      // [panel][slots][sums][L] the same for all steps of the block
    index slots;                // rows of the block
    T* reset_h;                 // [slots][H] r*h of the block, GRU with the reset before only
    const T* const* reset_rows; // (slots) its rows
    const T* mask;              // (B, Hp) or null
    T* masked_h;                // [slots][H] h before the steps of the block times the mask, if there is one
    T* const* dx_rows;          // (slots) row of dx
    T* dWx;                     // [panel][I][gates][L] sums so far
    T* dWh;                     // [panel][H][gates][L]
    T* db;                      // [panel][sums][L]
    T* dpeepholes;              // [panel][G-1][L]
    Options<T> options;
    const T* vectors;           // as those of the weights
};

// Numbers of elements the caller must provide, for one cell of sizes I, H.
struct Sizes {
    index lanes;                // L
    index panels;               // panels of hidden units
    index padded_units;         // Hp
    index sums;                 // vectors of dz (and of x_product) in a panel
    index gates;                // vectors of weights in a panel
    index ldh, ldz;
    index packed_forward, packed_backward_h, packed_backward_x;
};

template <class T>
struct CellKernels {
    Sizes (*sizes)(index inputs, index units);
    void (*pack_forward)(const Weights<T>&, T* packed);
    void (*pack_backward)(const Weights<T>&, T* packed_h, T* packed_x);
    // x_product of slots s0..s1; rows_of_x (slots) tells where they stand in x.
    void (*input_product)(const Forward<T>&, const index* rows_of_x, index s0, index s1, T* x_product);
    void (*forward)(const Forward<T>&, Range);
    void (*backward)(const Backward<T>&, Range);
    // Makes the options ready for `backward`.
    void (*find_bounds)(Options<T>&);
    // Leaves the gradient of h0 in dh, after the block with step 0.
    void (*initial_gradient)(const Backward<T>&, index b0, index b1);
    void (*input_gradient)(const Backward<T>&, index s0, index s1);
    // Adds the block to dWx, dWh and db of panels p0..p1.
    void (*weight_gradient)(const Backward<T>&, index p0, index p1);
    void (*unpack_gradient)(const Backward<T>&, T* dWx, T* dWh, T* db, T* dvectors);
};

// A dense layer over rows: y = act(x W + b), O outputs.
template <class T>
struct DenseForward {
    index inputs, outputs;      // I, O
    Gate<T> activation;
    const T* packed;            // b and W as laid out by pack
    const T* x;                 // (N, I)
    index ldx;
    T* y;                       // (N, O)
    index ldy;
};

// One block of rows; dW and db are summed up over blocks.
template <class T>
struct DenseBackward {
    index inputs, outputs;
    Gate<T> activation;
    const T* packed;            // W transposed, as laid out by pack_transposed
    index rows;                 // of the block
    const T* const* x_rows;     // (rows) row of x
    const T* y;                 // (rows, O)
    index ldy;
    const T* dy;                // (rows, O)
    index lddy;
    T* da;                      // (rows, ldda) gradient of what stands inside the activation
    index ldda;                 // at least O rounded up to whole vectors
    T* dx;                      // (rows, I)
    index lddx;
    T* dW;                      // (I, width) sums so far, with the outputs rounded up to whole vectors
    T* db;                      // (width)
};

struct DenseSizes {
    index width;                // O rounded up to whole vectors
    index packed, packed_transposed;
    index ldda;
    index parts;                // of the weight gradient
};

template <class T>
struct DenseKernels {
    DenseSizes (*sizes)(index inputs, index outputs);
    void (*pack)(index inputs, index outputs, const T* W, const T* b, T* packed);
    void (*pack_transposed)(index inputs, index outputs, const T* W, T* packed);
    void (*forward)(const DenseForward<T>&, index row0, index row1);
    // da and dx of rows row0..row1.
    void (*backward)(const DenseBackward<T>&, index row0, index row1);
    // Adds the block to parts p0..p1 of dW and db.
    void (*weight_gradient)(const DenseBackward<T>&, index p0, index p1);
    void (*activate)(const Gate<T>&, const T* x, T* y, index n);
};

struct Kernels {
    const char* name;
    CellKernels<float> (*float32)(Kind, index units);
    CellKernels<double> (*float64)(Kind, index units);
    DenseKernels<float> dense_float32;
    DenseKernels<double> dense_float64;
};

}  // namespace elman
