#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>

namespace elman {

namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

namespace {

std::vector<const Kernels*> available() {
    std::vector<const Kernels*> found;
#if defined(__x86_64__)
    // __builtin_cpu_supports also asks whether the operating system saves the wide registers.
    __builtin_cpu_init();
    const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        found.push_back(&avx512::kernels);
    if (fma) found.push_back(&avx2::kernels);
#endif
    found.push_back(&baseline::kernels);
    return found;
}

const Kernels& choose() {
    const char* wanted = std::getenv("ELMAN_ISA");
    if (!wanted || !*wanted) return *available().front();
    for (const Kernels* kernels : available())
        if (std::string(wanted) == kernels->name) return *kernels;
    std::string names;
    for (const std::string& name : available_isas()) names += (names.empty() ? "" : ", ") + name;
    throw std::runtime_error("ELMAN_ISA must be one of " + names + " on this processor. Got " + wanted + ".");
}

}  // namespace

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Kernels* kernels : available()) names.push_back(kernels->name);
    return names;
}

const Kernels& chosen_kernels() {
    static const Kernels& kernels = choose();
    return kernels;
}

template <> CellKernels<float> cell_kernels(Kind kind, index units) { return chosen_kernels().float32(kind, units); }
template <> CellKernels<double> cell_kernels(Kind kind, index units) { return chosen_kernels().float64(kind, units); }

}  // namespace elman
