// The instruction set, chosen once when the module is loaded.
#pragma once
#include <string>
#include <vector>

#include "kernels.hpp"

namespace elman {

// Sets this processor can run, the best first.
std::vector<std::string> available_isas();
// The best one, or the one named in the environment variable ELMAN_ISA; throws if that cannot run here.
const Kernels& chosen_kernels();

template <class T> CellKernels<T> cell_kernels(Kind kind, index units);
template <class T> const DenseKernels<T>& dense_kernels(index outputs);

}  // namespace elman
