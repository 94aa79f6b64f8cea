//go:build cgo

// The kernels for avx512.
#include "kernels.hpp"
#include <cmath>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define NM_ISA avx512
#define NM_TABLE kernels_avx512
#define NM_NAME "avx512"
#define FMA(a, b, c) __builtin_fma(a, b, c)
#include "kernels_all.h"
