//go:build cgo

// The kernels for avx2.
#include "kernels.hpp"
#include <cmath>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#pragma GCC target("avx2,fma")
#define NM_ISA avx2
#define NM_TABLE kernels_avx2
#define NM_NAME "avx2"
#define FMA(a, b, c) __builtin_fma(a, b, c)
#include "kernels_all.h"
