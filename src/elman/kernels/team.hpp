// Threads of one call. They are made for the call and joined before it returns: nothing survives to trouble a fork,
// and work large enough to be shared (see work.hpp) takes many times longer than their making.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

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

// The calling thread, and others that wait for work. How many they are is known before the work is shared out: a team
// one thread short would wait for it at the first barrier for ever.
class Team {
public:
    // As many threads as asked for, or fewer where the system gives no more.
    explicit Team(int threads);
    ~Team() { release(nobody); }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return static_cast<int>(others_.size()) + 1; }
    // Calls work(rank) for rank 0..size-1 at once, rank 0 on the calling thread, all in the mode of the kernels. Once.
    void run(const std::function<void(int rank)>& work);

private:
    enum Gate { closed, open, nobody };
    void release(Gate gate);

    const std::function<void(int)>* work_ = nullptr;
    std::atomic<Gate> gate_{closed};
    std::vector<std::thread> others_;
};

}  // namespace elman
