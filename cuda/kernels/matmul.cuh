// MatMul: all transpositions, stacks of matrices with broadcasting, bias and an elementwise function behind it.
#pragma once

#include "gemm.cuh"

struct nm_product {
    const float *a, *b;
    float *c;
    float *sums;             // of b's columns, as the product with a row of ones behind those of a; or null
    const int64_t *offsets;  // of the matrices of a stack: of a, then of b; null where there is one
    int32_t m, n, k, stack;
    int32_t lda, ldb, ldc;
    int32_t even;  // bits 0, 1, 2: a, b, c lie at multiples of four elements
    nm_divisor tiles_n, tiles;  // tiles of a row of tiles, and of a matrix
    nm_epilogue epilogue;
    nm_splits splits;
};

template <class T> struct nm_product_store {
    const nm_product &p;
    int64_t first;
    int m0, n0;
    template <int G> __device__ __forceinline__ void store(int i, int l, const float *sum) const {
        int row = m0 + i, column = n0 + l;
        if (row == p.m && p.sums != nullptr) {
            for (int j = 0; j < G; j++)
                if (column + j < p.n) p.sums[column + j] = sum[j];
        }
        if (row >= p.m || column >= p.n) return;
        const float *bias = p.epilogue.bias != nullptr ? p.epilogue.bias + column : nullptr;
        nm_store<G>(p.c, p.epilogue, sum, first + (int64_t)row * p.ldc + column, p.n - column, (p.even & 4) != 0, bias, 1);
    }
};

template <class T, template <int, int> class A, template <int, int> class B> __device__ __forceinline__ void nm_matmul(const nm_product &p) {
    uint32_t matrix = nm_div(blockIdx.x, p.tiles), tile = blockIdx.x - matrix * p.tiles.d, row = nm_div(tile, p.tiles_n);
    int m0 = row * T::M, n0 = (tile - row * p.tiles_n.d) * T::N;
    int64_t at_a = 0, at_b = 0;
    if (p.offsets != nullptr) at_a = p.offsets[matrix], at_b = p.offsets[p.stack + matrix];
    A<T::M, T::Load> a;
    B<T::N, T::Load> b;
    a.begin(p.a + at_a, p.lda, m0, p.m, (p.even & 1) != 0, p.sums != nullptr ? p.m : -1);
    b.begin(p.b + at_b, p.ldb, n0, p.n, (p.even & 2) != 0, -1);
    nm_product_store<T> c = {p, (int64_t)matrix * p.m * p.ldc, m0, n0};
    nm_gemm<T>(a, b, c, p.k, p.splits, blockIdx.x, gridDim.x);
}

// matmul_xy: x and y say for a and b whether they are (n) as multiplied or (t) transposed; named by tile and precision. Grid (tiles of all matrices,
// splits).
#define NM_MATMUL_1(name, A, B, ...) \
    NM_KERNEL(name, NM_GEMM_BOUNDS, const nm_product p) { nm_matmul<__VA_ARGS__, A, B>(p); }
#define NM_MATMUL(name, ...)                                            \
    NM_MATMUL_1(matmul_nn_##name, nm_rows_k, nm_rows_r, __VA_ARGS__)    \
    NM_MATMUL_1(matmul_nt_##name, nm_rows_k, nm_rows_k, __VA_ARGS__)    \
    NM_MATMUL_1(matmul_tn_##name, nm_rows_r, nm_rows_r, __VA_ARGS__)    \
    NM_MATMUL_1(matmul_tt_##name, nm_rows_r, nm_rows_k, __VA_ARGS__)
