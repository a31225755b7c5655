// How the work of one call is cut: into blocks, shares of threads, and pieces between two looks for an interruption.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>

#include "layer.hpp"

namespace elman {

constexpr index kilobyte = 1024;
// A block's gradients are written, then read by the weight gradients: they should still be in the L2 cache.
constexpr index block_bytes = 512 * kilobyte;
// Fewer rows than these and loading and storing the sums of the weight gradients would show.
constexpr index fewest_block_rows = 512;
// Work a thread is worth starting for.
constexpr double flops_per_thread = 2e7;
// Flops between two looks at the clock.
constexpr double flops_per_block = 1e8;

// Threads for so many flops in `pieces` that cannot be shared.
inline int threads_for(index pieces, double flops, const Running& running) {
    const double most = std::min<double>(pieces, flops / flops_per_thread);
    return std::max(1, std::min(running.threads, static_cast<int>(most)));
}

// Where the share of a thread begins; it ends where that of the next one begins.
inline index share(index n, int rank, int ranks) { return n * rank / ranks; }

// Asks for an interruption no more often than every few milliseconds.
class Watch {
public:
    explicit Watch(const Running& running) : running_(running) {}
    // On the calling thread only.
    void look() {
        const auto now = std::chrono::steady_clock::now();
        if (!running_.interrupted || now - last_ < std::chrono::milliseconds(5)) return;
        last_ = now;
        if (running_.interrupted()) stopped_ = true;
    }
    bool stopped() const { return stopped_; }

private:
    const Running& running_;
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
    std::atomic<bool> stopped_{false};
};

}  // namespace elman
