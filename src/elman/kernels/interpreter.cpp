#include "interpreter.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "flush.hpp"

namespace elman {

namespace nb = nanobind;

namespace {

std::atomic<int> threads{1};

}  // namespace

void set_threads(int count) { threads = count < 1 ? 1 : count; }
int get_threads() { return threads; }

void sleep_for_ever() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

void run_unlocked(const std::function<bool(const Running&)>& work) {
    // Who holds the lock of an interpreter that ends already is the thread that ends it, and goes on: objects may compute
    // as they are destroyed. For all others what is left of the interpreter is not to be touched any more.
    const bool ends_it = !Py_IsInitialized();
    const auto interpreter_gone = [&] { return !ends_it && !Py_IsInitialized(); };
    const ProcessorMode::Bits callers = ProcessorMode::current();
    PyThreadState* state = PyEval_SaveThread();
    const auto interrupted = [&] {
        if (interpreter_gone()) return true;  // the threads of the team go; this one sleeps below
        const ProcessorMode as_called(callers);
        return in_interpreter([&] {
            PyEval_RestoreThread(state);
            const bool stopped = PyErr_CheckSignals() != 0;
            state = PyEval_SaveThread();
            return stopped;
        });
    };
    const auto lock_again = [&] {
        if (interpreter_gone()) sleep_for_ever();
        in_interpreter([&] { PyEval_RestoreThread(state); });
    };
    bool finished;
    try {
        finished = work(Running{threads, interrupted});
    } catch (...) {
        lock_again();
        throw;
    }
    lock_again();
    if (!finished) throw nb::python_error();
}

}  // namespace elman
