//go:build cgo && amd64

// The kernels for avx2.
#include "kernels.hpp"
#include <cmath>
#include <immintrin.h>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#pragma GCC target("avx2,fma")
#define NM_ISA avx2
#define NM_TABLE kernels_avx2
#define NM_NAME "avx2"
#define FMA(a, b, c) __builtin_fma(a, b, c)
#define FMAF(a, b, c) __builtin_fmaf(a, b, c)
// A register of floats, and the rows of a tile of two registers each that leave some for the factors.
#define VECTOR 8
#define TILE_ROWS 6
#define Vector __m256
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(x) _mm256_set1_ps(x)
#define MULADD(a, b, c) _mm256_fmadd_ps(a, b, c)
// The square roots of as many floats or doubles as a register holds, in place.
#define ROOTS_F 8
#define ROOTS_D 4
#define ROOT_F(v) _mm256_storeu_ps((v), _mm256_sqrt_ps(_mm256_loadu_ps(v)))
#define ROOT_D(v) _mm256_storeu_pd((v), _mm256_sqrt_pd(_mm256_loadu_pd(v)))
// The products of the lower halves of 64-bit lanes.
#define MUL32(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))
#include "kernels_all.h"
