// Sequences of a packed batch in the order the kernels walk them: longest first, and the rows of blocks of steps.
#pragma once
#include <vector>

#include "kernels.hpp"

namespace elman {

class Order {
public:
    // lengths (sequences), each at least 1; the rows of one sequence follow those of the one before it.
    Order(const index* lengths, index sequences, bool reverse);

    index sequences() const { return static_cast<index>(first_.size()); }
    index steps() const { return static_cast<index>(active_.size()); }
    index rows() const { return slot_.back(); }
    index direction() const { return direction_; }
    // Where the sequence at place b of the order stands in the caller's batch.
    index original(index b) const { return original_[b]; }
    index first(index b) const { return first_[b]; }
    index active(index t) const { return active_[t]; }
    // Rows of steps before t, over all sequences.
    index rows_before(index t) const { return slot_[t]; }

    // Step after the last one of a block that begins with t and has about `rows` rows, at least one step.
    index block_end(index t, index rows) const;
    // First step of such a block that ends before t.
    index block_begin(index t, index rows) const;

    // Sequences b0..b1 for the kernels; slots are counted from the caller's array (steps).
    Batch batch(const index* slot) const {
        return {sequences(), steps(), direction_, first_.data(), length_.data(), active_.data(), slot};
    }
    // Cuts the sequences into shares of about as many rows each; share i is bounds[i]..bounds[i+1].
    std::vector<index> shares(int count) const;

private:
    index direction_;
    std::vector<index> first_, length_, original_, active_, slot_;
};

}  // namespace elman
