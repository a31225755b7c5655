// Denormal numbers flushed to zero while this object lives: saturated gates and fading states are full of them, and
// they slow arithmetic tens of times.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace elman {

class FlushDenormals {
public:
    FlushDenormals() : old_(mode()) { set_mode(old_ | flush); }
    ~FlushDenormals() { set_mode(old_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
#if defined(__x86_64__)
    using Mode = unsigned;
    static constexpr Mode flush = 0x8040;  // FTZ for results, DAZ for operands
    static Mode mode() { return _mm_getcsr(); }
    static void set_mode(Mode m) { _mm_setcsr(m); }
#elif defined(__aarch64__)
    using Mode = std::uint64_t;
    static constexpr Mode flush = Mode(1) << 24;
    static Mode mode() {
        Mode m;
        asm volatile("mrs %0, fpcr" : "=r"(m));
        return m;
    }
    static void set_mode(Mode m) { asm volatile("msr fpcr, %0" ::"r"(m)); }
#else
    using Mode = int;
    static constexpr Mode flush = 0;
    static Mode mode() { return 0; }
    static void set_mode(Mode) {}
#endif
    const Mode old_;
};

}  // namespace elman
