// The mode of the processor's arithmetic: denormal numbers flushed to zero in the kernels, where saturated gates and
// fading states are full of them and they slow arithmetic tens of times; the caller's own mode everywhere else.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace elman {

// A mode set while this object lives.
class ProcessorMode {
public:
#if defined(__x86_64__)
    using Bits = unsigned;
    // No exceptions, to nearest; FTZ for results, DAZ for operands.
    static constexpr Bits of_kernels = 0x1f80 | 0x8040;
    static Bits current() { return _mm_getcsr(); }
    static void set(Bits bits) { _mm_setcsr(bits); }
#elif defined(__aarch64__)
    using Bits = std::uint64_t;
    static constexpr Bits of_kernels = Bits(1) << 24;
    static Bits current() {
        Bits bits;
        asm volatile("mrs %0, fpcr" : "=r"(bits));
        return bits;
    }
    static void set(Bits bits) { asm volatile("msr fpcr, %0" ::"r"(bits)); }
#else
    using Bits = int;
    static constexpr Bits of_kernels = 0;
    static Bits current() { return 0; }
    static void set(Bits) {}
#endif
    explicit ProcessorMode(Bits bits) : old_(current()) { set(bits); }
    ~ProcessorMode() { set(old_); }
    ProcessorMode(const ProcessorMode&) = delete;
    ProcessorMode& operator=(const ProcessorMode&) = delete;

private:
    const Bits old_;
};

// The mode of the kernels: the same whatever the caller's, so that results are too.
class FlushDenormals {
    const ProcessorMode mode_{ProcessorMode::of_kernels};
};

}  // namespace elman
