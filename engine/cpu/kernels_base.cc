//go:build cgo

// The kernels for sse2.
#include "kernels.hpp"
#include <cmath>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#define NM_ISA base
#define NM_TABLE kernels_base
#define NM_NAME "sse2"
#define FMA(a, b, c) ((a) * (b) + (c))
#include "kernels_all.h"
