#include "team.hpp"

#include <thread>
#include <vector>

#include "flush.hpp"

namespace elman {

bool Barrier::wait(bool stop) {
    if (stop) stop_ = true;
    const int round = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
        verdict_ = stop_;
        arrived_.store(0, std::memory_order_relaxed);
        round_.store(round + 1, std::memory_order_release);
        return verdict_;
    }
    // The others are rarely far behind; but where processors are short, waiting must not keep them from running.
    for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin)
        if (spin > 2000) std::this_thread::yield();
    return verdict_;
}

void run_team(int threads, const std::function<void(int)>& work) {
    const FlushDenormals flush;
    // Nobody begins before all are there: a team one thread short would wait for it at the first barrier for ever.
    enum Gate { closed, open, cancelled };
    std::atomic<Gate> gate{closed};
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    const auto follow = [&](int rank) {
        const FlushDenormals flush;
        while (gate == closed) std::this_thread::yield();
        if (gate == open) work(rank);
    };
    const auto join = [&](Gate signal) {
        gate = signal;
        if (signal == open) work(0);
        for (std::thread& thread : others) thread.join();
    };
    try {
        for (int rank = 1; rank < threads; ++rank) others.emplace_back(follow, rank);
    } catch (...) {
        join(cancelled);
        throw;
    }
    join(open);
}

}  // namespace elman
