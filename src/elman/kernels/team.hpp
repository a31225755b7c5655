// Threads of one call. They are made for the call and joined before it returns: nothing survives to trouble a fork,
// and work large enough to be shared (see layer.cpp) takes many times longer than their making.
#pragma once
#include <atomic>
#include <functional>

namespace elman {

// All threads of a team meet here before any goes on.
class Barrier {
public:
    explicit Barrier(int threads) : threads_(threads) {}
    // True for all of them if any came with `stop`: they leave the work together or not at all.
    bool wait(bool stop);

private:
    const int threads_;
    std::atomic<int> arrived_{0};
    std::atomic<int> round_{0};
    std::atomic<bool> stop_{false};
    bool verdict_ = false;      // written by the last to arrive, read by all before they can arrive again
};

// Calls work(rank) for rank 0..threads-1 at once, rank 0 on the calling thread, all with denormals flushed to zero.
void run_team(int threads, const std::function<void(int rank)>& work);

}  // namespace elman
