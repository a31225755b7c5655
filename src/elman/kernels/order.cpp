#include "order.hpp"

#include <algorithm>
#include <new>
#include <numeric>

namespace elman {

Order::Order(const index* lengths, index sequences, bool reverse)
    : direction_(reverse ? -1 : 1), first_(sequences), length_(sequences), original_(sequences) {
    std::iota(original_.begin(), original_.end(), 0);
    const auto longer = [&](index a, index b) { return lengths[a] > lengths[b]; };
    if (!std::is_sorted(original_.begin(), original_.end(), longer))
        std::stable_sort(original_.begin(), original_.end(), longer);
    std::vector<index> starts(sequences);
    for (index b = 1; b < sequences; ++b) starts[b] = starts[b - 1] + lengths[b - 1];
    for (index b = 0; b < sequences; ++b) {
        const index from = original_[b];
        length_[b] = lengths[from];
        first_[b] = reverse ? starts[from] + lengths[from] - 1 : starts[from];
    }
    const index steps = sequences ? length_[0] : 0;
    if (steps >= static_cast<index>(slot_.max_size())) throw std::bad_alloc();
    active_.resize(steps);
    slot_.resize(steps + 1);
    index active = sequences;
    for (index t = 0; t < steps; ++t) {
        while (length_[active - 1] <= t) --active;
        active_[t] = active;
        slot_[t + 1] = slot_[t] + active;
    }
}

index Order::block_end(index t, index rows) const {
    const auto end = std::upper_bound(slot_.begin() + t + 1, slot_.end(), slot_[t] + rows);
    return std::max<index>(t + 1, end - slot_.begin() - 1);
}

index Order::block_begin(index t, index rows) const {
    const auto begin = std::lower_bound(slot_.begin(), slot_.begin() + t, slot_[t] - rows);
    return std::min<index>(t - 1, begin - slot_.begin());
}

std::vector<index> Order::shares(int count) const {
    std::vector<index> bounds{0};
    index rows_so_far = 0;
    for (index b = 0; b < sequences(); ++b) {
        if (rows_so_far * count >= rows() * static_cast<index>(bounds.size())) bounds.push_back(b);
        rows_so_far += length_[b];
    }
    bounds.resize(count + 1, sequences());
    bounds[count] = sequences();
    return bounds;
}

}  // namespace elman
