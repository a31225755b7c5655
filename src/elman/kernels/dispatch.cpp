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

namespace {

// The set for a layer of so many units: vectors of 512 bits would be half padding where those of 256 hold them all.
// With one vector of units either set adds in the same order, so the numbers are the same.
const Kernels& kernels_for([[maybe_unused]] index units, [[maybe_unused]] index narrow_lanes) {
#if defined(__x86_64__)
    if (units <= narrow_lanes && &chosen_kernels() == &avx512::kernels) return avx2::kernels;
#endif
    return chosen_kernels();
}

}  // namespace

template <> CellKernels<float> cell_kernels(Kind kind, index units) {
    return kernels_for(units, 8).float32(kind, units);
}
template <> CellKernels<double> cell_kernels(Kind kind, index units) {
    return kernels_for(units, 4).float64(kind, units);
}
template <> const DenseKernels<float>& dense_kernels(index outputs) { return kernels_for(outputs, 8).dense_float32; }
template <> const DenseKernels<double>& dense_kernels(index outputs) { return kernels_for(outputs, 4).dense_float64; }

}  // namespace elman
