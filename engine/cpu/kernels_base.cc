//go:build cgo && amd64

// The kernels for sse2.
#include "kernels.hpp"
#include <cmath>
#include <immintrin.h>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")
#define NM_ISA base
#define NM_TABLE kernels_base
#define NM_NAME "sse2"
#define FMA(a, b, c) ((a) * (b) + (c))
#define FMAF(a, b, c) ((a) * (b) + (c))
// A register of floats, and the rows of a tile of two registers each that leave some for the factors.
#define VECTOR 4
#define TILE_ROWS 6
#define Vector __m128
#define LOAD(p) _mm_loadu_ps(p)
#define STORE(p, v) _mm_storeu_ps(p, v)
#define SPREAD(x) _mm_set1_ps(x)
#define MULADD(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
// The square roots of as many floats or doubles as a register holds, in place.
#define ROOTS_F 4
#define ROOTS_D 2
#define ROOT_F(v) _mm_storeu_ps((v), _mm_sqrt_ps(_mm_loadu_ps(v)))
#define ROOT_D(v) _mm_storeu_pd((v), _mm_sqrt_pd(_mm_loadu_pd(v)))
// The products of the lower halves of 64-bit lanes.
#define MUL32(a, b) _mm_mul_epu32((__m128i)(a), (__m128i)(b))
#include "kernels_all.h"
