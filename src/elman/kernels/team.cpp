#include "team.hpp"

#include <exception>

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
    // The others are rarely late; but where processors are short, waiting must not keep them from running.
    for (int spin = 0; round_.load(std::memory_order_acquire) == round; ++spin)
        if (spin > 2000) std::this_thread::yield();
    return verdict_;
}

Team::Team(int threads) {
    others_.reserve(threads - 1);
    const auto follow = [this](int rank) {
        const FlushDenormals flush;
        while (gate_ == closed) std::this_thread::yield();
        if (gate_ == open) (*work_)(rank);
    };
    try {
        for (int rank = 1; rank < threads; ++rank) others_.emplace_back(follow, rank);
    } catch (const std::exception&) {
        // A limit of threads or of memory: those that are there do the work.
    }
}

void Team::run(const std::function<void(int)>& work) {
    const FlushDenormals flush;
    work_ = &work;
    release(open);
}

void Team::release(Gate gate) {
    gate_ = gate;
    if (gate == open) (*work_)(0);
    for (std::thread& thread : others_) thread.join();
    others_.clear();
}

}  // namespace elman
