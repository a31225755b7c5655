// The interpreter as seen from inside a call: its lock given up and taken back, signals asked for, Python run.
//
// A daemon thread may still be inside a call when the interpreter ends. It can then never run Python again: up to Python
// 3.13 what takes the lock for it ends the thread, by an unwinding of its stack that aborts the process at the first
// function that is not to throw. Here such a thread sleeps instead, as in later versions, and goes with the process. It
// sleeps where it is caught: what the frames above would give back, they would give back without the lock.
#pragma once
#include <nanobind/nanobind.h>

#include <functional>

#include "layer.hpp"

namespace elman {

[[noreturn]] void sleep_for_ever();

// Calls what may run Python, or wait for the lock. It must throw nothing, so what arrives here is that unwinding.
template <class F> auto in_interpreter(F call) {
    try {
        return call();
    } catch (...) {
        sleep_for_ever();
    }
}

// Runs work without the lock, by the number of threads set; work returns false if a signal stopped it. Signal handlers
// run in the caller's mode of arithmetic.
void run_unlocked(const std::function<bool(const Running&)>& work);

void set_threads(int count);
int get_threads();

}  // namespace elman
