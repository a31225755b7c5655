#include "layer.hpp"

#include <algorithm>

#include "dispatch.hpp"
#include "flush.hpp"
#include "memory.hpp"
#include "team.hpp"
#include "work.hpp"

namespace elman {

namespace {

template <class T> double flops_per_row(const Layer<T>& layer, const Sizes& sizes) {
    return 2.0 * (layer.weights.inputs + layer.weights.units) * sizes.gates * sizes.lanes * sizes.panels;
}

int team_size(const Order& order, double flops, const Running& running) {
    return threads_for(order.sequences(), flops, running);
}

// States (B, H) of the caller, or zeros, to rows of `stride` in the order of the batch, and back.
template <class T> void gather(const Order& order, const T* state, index units, T* rows, index stride) {
    for (index b = 0; b < order.sequences(); ++b) {
        T* row = rows + b * stride;
        if (state)
            std::copy_n(state + order.original(b) * units, units, row);
        else
            std::fill_n(row, units, T(0));
    }
}
template <class T> void scatter(const Order& order, const T* rows, index stride, index units, T* state) {
    for (index b = 0; b < order.sequences(); ++b)
        std::copy_n(rows + b * stride, units, state + order.original(b) * units);
}

// Whether x Wx is better multiplied for a block of steps at once than row by row inside the loop over time: when the
// loop has few rows to use a weight for, or when it has to fetch the weights from beyond the L2 cache at each step.
template <class T> bool product_ahead(const Layer<T>& layer, const Order& order, const Sizes& sizes) {
    const index x_weights = layer.weights.inputs * sizes.gates * sizes.lanes * sizes.panels * index(sizeof(T));
    const index all_weights = sizes.packed_forward * index(sizeof(T));
    const bool few_rows = order.rows() < 4 * order.steps() && layer.weights.inputs >= 16;
    return order.steps() > 1 && (few_rows || (all_weights > 768 * kilobyte && x_weights > 128 * kilobyte));
}

}  // namespace

template <class T>
bool forward(const Layer<T>& layer, const Order& order, const ForwardArrays<T>& a, const Running& running) {
    const FlushDenormals flush;
    const CellKernels<T> kernels = cell_kernels<T>(layer.kind, layer.weights.units);
    const CellTraits& traits = traits_of(layer.kind);
    const index inputs = layer.weights.inputs, units = layer.weights.units;
    const Sizes sizes = kernels.sizes(inputs, units);
    const index B = order.sequences();
    const bool ahead = product_ahead(layer, order, sizes);
    const index product_row = sizes.sums * sizes.lanes * sizes.panels;
    const index rows_for_clock = static_cast<index>(flops_per_block / flops_per_row(layer, sizes));
    const index block_rows =
        ahead ? std::min<index>(rows_for_clock, 2 * block_bytes / (product_row * sizeof(T))) : rows_for_clock;

    std::vector<index> ends{0};
    while (ends.back() < order.steps()) ends.push_back(order.block_end(ends.back(), block_rows));
    index most_rows = 0;
    std::vector<index> slot(order.steps());
    for (std::size_t i = 1; i < ends.size(); ++i) {
        const index begin = order.rows_before(ends[i - 1]);
        for (index t = ends[i - 1]; t < ends[i]; ++t) slot[t] = order.rows_before(t) - begin;
        most_rows = std::max(most_rows, order.rows_before(ends[i]) - begin);
    }

    const Memory<T> packed = layer.packed ? Memory<T>() : Memory<T>(sizes.packed_forward);
    if (!layer.packed) kernels.pack_forward(layer.weights, packed.get());
    const Memory<T> h(2 * B * sizes.ldh);
    const Memory<T> mask = a.mask ? Memory<T>::zeros(B * sizes.ldh) : Memory<T>();
    const Memory<T> masked_h = a.mask ? Memory<T>(2 * B * sizes.ldh) : Memory<T>();
    const Memory<T> c = traits.cell_state ? Memory<T>::zeros(B * sizes.padded_units) : Memory<T>();
    const Memory<T> reset_h = traits.reset_before ? Memory<T>(3 * B * sizes.ldh) : Memory<T>();
    const Memory<T> x_product = ahead ? Memory<T>(most_rows * product_row) : Memory<T>();
    std::vector<index> rows_of_x;
    if (ahead)
        for (index t = 0; t < order.steps(); ++t)
            for (index b = 0; b < order.active(t); ++b) rows_of_x.push_back(order.first(b) + t * order.direction());
    gather(order, a.h0, units, h.get(), sizes.ldh);
    if (c.get() && a.c0) gather(order, a.c0, units, c.get(), sizes.padded_units);
    if (a.mask) {
        gather(order, a.mask, units, mask.get(), sizes.ldh);
        for (index b = 0; b < B; ++b)
            for (index j = b * sizes.ldh; j < b * sizes.ldh + units; ++j) masked_h[j] = h[j] * mask[j];
    }

    Forward<T> f{};
    f.batch = order.batch(slot.data());
    f.inputs = inputs, f.units = units;
    f.options = layer.options, f.vectors = layer.weights.vectors;
    f.packed = layer.packed ? layer.packed : packed.get();
    f.x = a.x, f.ldx = a.ldx;
    f.x_product = x_product.get();
    f.h = h.get(), f.ldh = sizes.ldh;
    f.mask = mask.get(), f.masked_h = masked_h.get();
    f.zones = a.zones, f.before_zoneout = a.before_zoneout;
    f.c = c.get();
    f.reset_h = reset_h.get();
    f.y = a.y, f.ldy = a.ldy;
    f.gates = a.gates, f.inner = a.inner;

    Team team(team_size(order, flops_per_row(layer, sizes) * order.rows(), running));
    const int threads = team.size();
    const std::vector<index> bounds = order.shares(threads);
    Barrier barrier(threads);
    Watch watch(running);
    team.run([&](int rank) {
        Forward<T> mine = f;
        for (std::size_t i = 1; i < ends.size(); ++i) {
            const index begin = order.rows_before(ends[i - 1]);
            mine.slots = order.rows_before(ends[i]) - begin;
            if (ahead) {
                kernels.input_product(mine, rows_of_x.data() + begin, share(mine.slots, rank, threads),
                                      share(mine.slots, rank + 1, threads), x_product.get());
                barrier.wait(false);
            }
            kernels.forward(mine, {bounds[rank], bounds[rank + 1], ends[i - 1], ends[i]});
            if (rank == 0) watch.look();
            // Where nothing is shared nobody waits, and each may stop where it is.
            if (ahead ? barrier.wait(watch.stopped()) : watch.stopped()) return;
        }
    });

    for (index b = 0; b < B; ++b) {
        const index length = f.batch.length[b];
        std::copy_n(h.get() + ((length & 1) * B + b) * sizes.ldh, units, a.h + order.original(b) * units);
    }
    if (c.get()) scatter(order, c.get(), sizes.padded_units, units, a.c);
    return !watch.stopped();
}

template <class T>
bool backward(const Layer<T>& layer, const Order& order, const BackwardArrays<T>& a, const Running& running) {
    const FlushDenormals flush;
    const CellKernels<T> kernels = cell_kernels<T>(layer.kind, layer.weights.units);
    const CellTraits& traits = traits_of(layer.kind);
    const index inputs = layer.weights.inputs, units = layer.weights.units;
    const Sizes sizes = kernels.sizes(inputs, units);
    const index B = order.sequences(), rows = order.rows(), dir = order.direction();
    const index Hp = sizes.padded_units;
    const index dz_row = sizes.sums * sizes.lanes * sizes.panels;
    const index block_rows = std::max<index>(fewest_block_rows, block_bytes / (dz_row * sizeof(T)));
    const index rows_for_clock = static_cast<index>(flops_per_block / flops_per_row(layer, sizes));

    // Blocks from the last step to the first; slots count rows from a block's last step on, so that sums over rows
    // run in one order however the blocks are cut.
    std::vector<index> begins{order.steps()};
    while (begins.back() > 0) begins.push_back(order.block_begin(begins.back(), block_rows));
    index most_rows = 0;
    std::vector<index> slot(order.steps());
    for (std::size_t i = 1; i < begins.size(); ++i) {
        const index end = order.rows_before(begins[i - 1]);
        for (index t = begins[i]; t < begins[i - 1]; ++t) slot[t] = end - order.rows_before(t + 1);
        most_rows = std::max(most_rows, end - order.rows_before(begins[i]));
    }

    const Memory<T> packed_h(sizes.packed_backward_h), packed_x(sizes.packed_backward_x);
    kernels.pack_backward(layer.weights, packed_h.get(), packed_x.get());
    const Memory<T> zero_row = Memory<T>::zeros(units);
    const Memory<T> h0 = a.h0 ? Memory<T>(B * units) : Memory<T>();
    const Memory<T> c0 = a.c0 ? Memory<T>(B * units) : Memory<T>();
    if (a.h0) gather(order, a.h0, units, h0.get(), units);
    if (a.c0) gather(order, a.c0, units, c0.get(), units);
    const Memory<T> dh = Memory<T>::zeros(B * Hp), dc = Memory<T>::zeros(B * Hp);
    if (a.dh) gather(order, a.dh, units, dh.get(), Hp);
    if (a.dc) gather(order, a.dc, units, dc.get(), Hp);
    const Memory<T> mask = a.mask ? Memory<T>::zeros(B * Hp) : Memory<T>();
    if (a.mask) gather(order, a.mask, units, mask.get(), Hp);
    const Memory<T> dz_rows = Memory<T>::zeros(2 * B * sizes.ldz);
    const Memory<T> dz = Memory<T>::zeros(most_rows * dz_row);
    const Memory<T> reset_h = traits.reset_before ? Memory<T>(most_rows * units) : Memory<T>();
    const Memory<T> masked_h = a.mask ? Memory<T>(most_rows * units) : Memory<T>();
    const index panel_row = sizes.gates * sizes.lanes * sizes.panels;
    const Memory<T> dWx = Memory<T>::zeros(inputs * panel_row), dWh = Memory<T>::zeros(units * panel_row);
    const Memory<T> db = Memory<T>::zeros(dz_row);
    const bool peeping = peepholes(layer) > 0;
    const Memory<T> dpeepholes = peeping ? Memory<T>::zeros(peepholes(layer) * Hp) : Memory<T>();

    const Memory<const T*> x_rows(rows), h_before(rows), reset_rows(reset_h.get() ? most_rows : 0);
    for (index s = 0; reset_h.get() && s < most_rows; ++s) reset_rows[s] = reset_h.get() + s * units;
    const Memory<const T*> masked_rows(a.mask ? most_rows : 0);
    for (index s = 0; a.mask && s < most_rows; ++s) masked_rows[s] = masked_h.get() + s * units;
    const Memory<const T*> c_rows = peeping ? Memory<const T*>(2 * rows) : Memory<const T*>();
    const T** const c_before = c_rows.get();
    const T** const c_after = peeping ? c_before + rows : nullptr;
    const Memory<T*> dx_rows(rows);
    index s = 0;
    for (index t = order.steps() - 1; t >= 0; --t)
        for (index b = 0; b < order.active(t); ++b, ++s) {
            const index row = order.first(b) + t * dir;
            x_rows[s] = a.x + row * a.ldx;
            dx_rows[s] = a.dx + row * a.lddx;
            h_before[s] = t ? a.y + (row - dir) * a.ldy : a.h0 ? h0.get() + b * units : zero_row.get();
            if (!peeping) continue;
            c_before[s] = t ? a.inner + (row - dir) * units : a.c0 ? c0.get() + b * units : zero_row.get();
            c_after[s] = (a.before_zoneout ? a.before_zoneout : a.inner) + row * units;
        }

    Backward<T> f{};
    f.batch = order.batch(slot.data());
    f.inputs = inputs, f.units = units;
    f.options = layer.options, f.vectors = layer.weights.vectors;
    f.packed_h = packed_h.get(), f.packed_x = packed_x.get();
    f.y = a.y, f.ldy = a.ldy;
    f.h0 = a.h0 ? h0.get() : zero_row.get(), f.ld_h0 = a.h0 ? units : 0;
    f.c0 = a.c0 ? c0.get() : zero_row.get(), f.ld_c0 = a.c0 ? units : 0;
    f.gates = a.gates, f.inner = a.inner;
    f.dy = a.dy, f.lddy = a.lddy;
    f.dh = dh.get(), f.dc = dc.get();
    f.dz_rows = dz_rows.get(), f.ldz = sizes.ldz;
    f.dz = dz.get();
    f.reset_h = reset_h.get(), f.reset_rows = reset_rows.get();
    f.mask = mask.get(), f.masked_h = masked_h.get();
    f.zones = a.zones, f.before_zoneout = a.before_zoneout;
    f.dWx = dWx.get(), f.dWh = dWh.get(), f.db = db.get(), f.dpeepholes = dpeepholes.get();

    Team team(team_size(order, 3 * flops_per_row(layer, sizes) * rows, running));
    const int threads = team.size();
    const std::vector<index> bounds = order.shares(threads);
    Barrier barrier(threads);
    Watch watch(running);
    team.run([&](int rank) {
        Backward<T> mine = f;
        kernels.find_bounds(mine.options);
        const index b0 = bounds[rank], b1 = bounds[rank + 1];
        const auto look = [&] {
            if (rank == 0) watch.look();
            return watch.stopped();
        };
        for (std::size_t i = 1; i < begins.size(); ++i) {
            const index before = rows - order.rows_before(begins[i - 1]);
            mine.slots = order.rows_before(begins[i - 1]) - order.rows_before(begins[i]);
            mine.x_rows = x_rows.get() + before;
            mine.h_before = a.mask ? masked_rows.get() : h_before.get() + before;
            mine.dx_rows = dx_rows.get() + before;
            if (peeping) mine.c_before = c_before + before, mine.c_after = c_after + before;
            for (index end = begins[i - 1]; end > begins[i] && !look();) {
                const index begin = std::max(begins[i], order.block_begin(end, rows_for_clock));
                kernels.backward(mine, {b0, b1, begin, end});
                end = begin;
            }
            if (barrier.wait(watch.stopped())) return;
            for (index p = share(sizes.panels, rank, threads); p < share(sizes.panels, rank + 1, threads) && !look();
                 ++p)
                kernels.weight_gradient(mine, p, p + 1);
            if (a.dx)
                kernels.input_gradient(mine, share(mine.slots, rank, threads), share(mine.slots, rank + 1, threads));
            if (barrier.wait(watch.stopped())) return;
        }
        kernels.initial_gradient(mine, b0, b1);
    });
    if (watch.stopped()) return false;

    scatter(order, dh.get(), Hp, units, a.dh0);
    if (a.dc0) scatter(order, dc.get(), Hp, units, a.dc0);
    kernels.unpack_gradient(f, a.dWx, a.dWh, a.db, a.dvectors);
    return true;
}

template bool forward(const Layer<float>&, const Order&, const ForwardArrays<float>&, const Running&);
template bool forward(const Layer<double>&, const Order&, const ForwardArrays<double>&, const Running&);
template bool backward(const Layer<float>&, const Order&, const BackwardArrays<float>&, const Running&);
template bool backward(const Layer<double>&, const Order&, const BackwardArrays<double>&, const Running&);

}  // namespace elman
