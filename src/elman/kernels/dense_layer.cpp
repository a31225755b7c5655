#include "dense_layer.hpp"

#include <algorithm>

#include "dispatch.hpp"
#include "team.hpp"
#include "work.hpp"

namespace elman {

template <class T> PackedDense<T>::PackedDense(const Dense<T>& layer) {
    const DenseKernels<T>& kernels = dense_kernels<T>(layer.outputs);
    const DenseSizes sizes = kernels.sizes(layer.inputs, layer.outputs);
    packed_ = Memory<T>(sizes.packed);
    width_ = sizes.width;
    kernels.pack(layer.inputs, layer.outputs, layer.W, layer.b, packed_.get());
    f_ = {layer.inputs, layer.outputs, layer.activation, packed_.get(), nullptr, 0, nullptr, 0};
}

template <class T>
bool PackedDense<T>::run(index rows, const T* x, index ldx, T* y, index ldy, const Running& running) const {
    const DenseKernels<T>& kernels = dense_kernels<T>(f_.outputs);
    DenseForward<T> f = f_;
    f.x = x, f.ldx = ldx, f.y = y, f.ldy = ldy;
    const index rows_for_clock = std::max<index>(1, static_cast<index>(flops_per_block / flops_per_row()));
    Team team(threads_for(rows, flops_per_row() * rows, running));
    const int threads = team.size();
    Watch watch(running);
    team.run([&](int rank) {
        const index end = share(rows, rank + 1, threads);
        for (index row = share(rows, rank, threads); row < end && !watch.stopped(); row += rows_for_clock) {
            kernels.forward(f, row, std::min(end, row + rows_for_clock));
            if (rank == 0) watch.look();
        }
    });
    return !watch.stopped();
}

template <class T> bool backward(const Dense<T>& layer, const DenseArrays<T>& a, const Running& running) {
    const DenseKernels<T>& kernels = dense_kernels<T>(layer.outputs);
    const index I = layer.inputs, O = layer.outputs;
    const DenseSizes sizes = kernels.sizes(I, O);
    const index most_rows = std::max<index>(fewest_block_rows, block_bytes / (sizes.ldda * sizeof(T)));
    const Memory<T> packed(sizes.packed_transposed), da(std::min(most_rows, a.rows) * sizes.ldda);
    const Memory<T> dW = Memory<T>::zeros(I * sizes.width), db = Memory<T>::zeros(sizes.width);
    const Memory<const T*> x_rows(a.rows);
    kernels.pack_transposed(I, O, layer.W, packed.get());
    for (index r = 0; r < a.rows; ++r) x_rows[r] = a.x + r * a.ldx;

    Team team(threads_for(std::max(a.rows, sizes.parts), 4.0 * I * sizes.width * a.rows, running));
    const int threads = team.size();
    Barrier barrier(threads);
    Watch watch(running);
    team.run([&](int rank) {
        const auto mine = [&](index n, int part) { return share(n, rank + part, threads); };
        for (index begin = 0; begin < a.rows; begin += most_rows) {
            const index rows = std::min(most_rows, a.rows - begin);
            const DenseBackward<T> f = {I,
                                        O,
                                        layer.activation,
                                        packed.get(),
                                        rows,
                                        x_rows.get() + begin,
                                        a.y + begin * a.ldy,
                                        a.ldy,
                                        a.dy + begin * a.lddy,
                                        a.lddy,
                                        da.get(),
                                        sizes.ldda,
                                        a.dx + begin * a.lddx,
                                        a.lddx,
                                        dW.get(),
                                        db.get()};
            kernels.backward(f, mine(rows, 0), mine(rows, 1));
            if (barrier.wait(false)) return;
            kernels.weight_gradient(f, mine(sizes.parts, 0), mine(sizes.parts, 1));
            if (rank == 0) watch.look();
            if (barrier.wait(watch.stopped())) return;
        }
    });
    for (index k = 0; k < I; ++k) std::copy_n(dW.get() + k * sizes.width, O, a.dW + k * O);
    std::copy_n(db.get(), O, a.db);
    return !watch.stopped();
}

template class PackedDense<float>;
template class PackedDense<double>;
template bool backward(const Dense<float>&, const DenseArrays<float>&, const Running&);
template bool backward(const Dense<double>&, const DenseArrays<double>&, const Running&);

}  // namespace elman
