#include "team.hpp"

#include <thread>
#include <vector>

#include "flush.hpp"

namespace elman {

void Barrier::wait() {
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return;
    }
    // The others are rarely far behind; but where processors are short, waiting must not keep them from running.
    for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin)
        if (spin > 2000) std::this_thread::yield();
}

void run_team(int threads, const std::function<void(int)>& work) {
    const FlushDenormals flush;
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    for (int rank = 1; rank < threads; ++rank)
        others.emplace_back([&work, rank] {
            const FlushDenormals flush;
            work(rank);
        });
    work(0);
    for (std::thread& thread : others) thread.join();
}

}  // namespace elman
