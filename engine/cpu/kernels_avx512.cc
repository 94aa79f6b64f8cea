//go:build cgo && amd64

// The kernels for avx512.
#include "kernels.hpp"
#include <cmath>
#include <immintrin.h>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#define NM_ISA avx512
#define NM_TABLE kernels_avx512
#define NM_NAME "avx512"
#define FMA(a, b, c) __builtin_fma(a, b, c)
#define FMAF(a, b, c) __builtin_fmaf(a, b, c)
// A register of floats, and the rows of a tile of two registers each that leave some for the factors.
#define VECTOR 16
#define TILE_ROWS 12
#define Vector __m512
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(x) _mm512_set1_ps(x)
#define MULADD(a, b, c) _mm512_fmadd_ps(a, b, c)
// The square roots of as many floats or doubles as a register holds, in place.
#define ROOTS_F 16
#define ROOTS_D 8
#define ROOT_F(v) _mm512_storeu_ps((v), _mm512_sqrt_ps(_mm512_loadu_ps(v)))
#define ROOT_D(v) _mm512_storeu_pd((v), _mm512_sqrt_pd(_mm512_loadu_pd(v)))
// The products of the lower halves of 64-bit lanes.
#define MUL32(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#include "kernels_all.h"
