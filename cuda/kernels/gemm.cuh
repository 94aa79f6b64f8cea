// The matrix product that MatMul and the convolutions share: C (m x n) = A (m x k) * B (k x n) in tiles of shared memory. A tile's operands come from
// loaders, its results go to a store; so a convolution is a product whose loader reads the input through the window's taps (implicit im2col).
//
// 256 threads, 16 x 16, compute a tile of BM x BN; every thread TM x TN of it in registers. BM*BK = BN*BK = 1024, so that every thread brings four
// elements of A and four of B for each step along k. The next step's elements are fetched into registers while this one's are multiplied.
//
// Where m*n is small and k long, the terms are split over blocks (gridDim.y). Each leaves its sums in memory, and the block of a tile that comes last
// adds them up in the order of the splits: the same bits every time, and no second launch.
#pragma once

#include "epilogue.cuh"
#include "walk.cuh"

#define NM_GEMM_THREADS 256

struct nm_splits {
    float *partial;      // by split, tile, element, thread
    uint32_t *counters;  // one for every tile
    int32_t terms;       // of one split, a multiple of 32
};

template <int BM, int BN, int BK> struct nm_tile {
    static const int M = BM, N = BN, K = BK, TM = BM / 16, TN = BN / 16;
};

// The index of a thread's i-th row or column in a tile of B: groups of up to four side by side, the groups of all threads side by side.
template <int B> __device__ __forceinline__ int nm_place(int thread, int i) {
    const int T = B / 16, G = T < 4 ? T : 4;
    return i / G * (16 * G) + thread * G + i % G;
}

// nm_rows_k loads elements (row, k) that lie side by side along k: row*stride + k.
template <int R, int BK> struct nm_rows_k {
    const float *at;
    int64_t stride;
    int row, rows, k4;
    bool vector;  // stride and start are multiples of four
    float v[4];
    __device__ __forceinline__ void begin(const float *x, int64_t by, int first, int count, bool even) {
        int t = threadIdx.x;
        at = x, stride = by, row = first + t / (BK / 4), rows = count, k4 = t % (BK / 4) * 4, vector = even;
    }
    __device__ __forceinline__ void fetch(int k, int end) {
        k += k4;
        const float *p = at + row * stride + k;
        if (row < rows && vector && k + 4 <= end) {
            float4 q = *reinterpret_cast<const float4 *>(p);
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
            return;
        }
        for (int j = 0; j < 4; j++) v[j] = row < rows && k + j < end ? p[j] : 0.0f;
    }
    __device__ __forceinline__ void put(float (*s)[R + 4]) {
        int r = threadIdx.x / (BK / 4);
        for (int j = 0; j < 4; j++) s[k4 + j][r] = v[j];
    }
};

// nm_rows_r loads elements (row, k) that lie side by side along the rows: k*stride + row.
template <int R, int BK> struct nm_rows_r {
    const float *at;
    int64_t stride;
    int row, rows, k0;
    bool vector;
    float v[4];
    __device__ __forceinline__ void begin(const float *x, int64_t by, int first, int count, bool even) {
        int t = threadIdx.x;
        at = x, stride = by, row = first + t % (R / 4) * 4, rows = count, k0 = t / (R / 4), vector = even;
    }
    __device__ __forceinline__ void fetch(int k, int end) {
        k += k0;
        const float *p = at + k * stride + row;
        if (k < end && vector && row + 4 <= rows) {
            float4 q = *reinterpret_cast<const float4 *>(p);
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
            return;
        }
        for (int j = 0; j < 4; j++) v[j] = k < end && row + j < rows ? p[j] : 0.0f;
    }
    __device__ __forceinline__ void put(float (*s)[R + 4]) {
        float *to = &s[k0][threadIdx.x % (R / 4) * 4];
        *reinterpret_cast<float4 *>(to) = make_float4(v[0], v[1], v[2], v[3]);
    }
};


// nm_take reads a thread's part of a row of shared memory, sixteen bytes at once.
template <int B> __device__ __forceinline__ void nm_take(float (&x)[B / 16], const float *row, int thread) {
    if (B / 16 < 4) {
#pragma unroll
        for (int i = 0; i < B / 16; i++) x[i] = row[nm_place<B>(thread, i)];
        return;
    }
#pragma unroll
    for (int i = 0; i + 3 < B / 16; i += 4) {
        float4 q = *reinterpret_cast<const float4 *>(row + nm_place<B>(thread, i));
        x[i] = q.x, x[i + 1] = q.y, x[i + 2] = q.z, x[i + 3] = q.w;
    }
}

// nm_multiply adds the terms [lo, hi) to acc.
template <class T, class A, class B>
__device__ __forceinline__ void nm_multiply(A &a, B &b, int lo, int hi, float (&acc)[T::TM][T::TN]) {
    __shared__ __align__(16) float sa[2][T::K][T::M + 4];
    __shared__ __align__(16) float sb[2][T::K][T::N + 4];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16, at = 0;
    if (lo >= hi) return;
    a.fetch(lo, hi);
    b.fetch(lo, hi);
    a.put(sa[0]);
    b.put(sb[0]);
    __syncthreads();
    for (int k = lo; k < hi; k += T::K) {
        bool more = k + T::K < hi;
        if (more) {
            a.fetch(k + T::K, hi);
            b.fetch(k + T::K, hi);
        }
#pragma unroll
        for (int j = 0; j < T::K; j++) {
            float x[T::TM], y[T::TN];
            nm_take<T::M>(x, sa[at][j], ty);
            nm_take<T::N>(y, sb[at][j], tx);
#pragma unroll
            for (int i = 0; i < T::TM; i++)
#pragma unroll
                for (int l = 0; l < T::TN; l++) acc[i][l] = fmaf(x[i], y[l], acc[i][l]);
        }
        if (more) {
            at ^= 1;
            a.put(sa[at]);
            b.put(sb[at]);
            __syncthreads();
        }
    }
}

// nm_gemm computes a tile: its terms, the splits' sums, and the store of what is complete.
template <class T, class A, class B, class C>
__device__ __forceinline__ void nm_gemm(A &a, B &b, const C &c, int k, const nm_splits &s, int64_t tile, int64_t tiles) {
    float acc[T::TM][T::TN] = {};
    int lo = blockIdx.y * s.terms, hi = min(k, lo + s.terms);
    if (gridDim.y == 1) hi = k, lo = 0;
    nm_multiply<T>(a, b, lo, hi, acc);
    const int each = T::TM * T::TN;
    if (gridDim.y > 1) {
        float *mine = s.partial + (blockIdx.y * tiles + tile) * each * NM_GEMM_THREADS + threadIdx.x;
        for (int i = 0; i < each; i++) mine[i * NM_GEMM_THREADS] = acc[i / T::TN][i % T::TN];
        if (!nm_last(s.counters + tile, gridDim.y)) return;
        for (int i = 0; i < each; i++) {
            const float *p = s.partial + (tile * each + i) * NM_GEMM_THREADS + threadIdx.x;
            float sum = 0;
            for (uint32_t y = 0; y < gridDim.y; y++) sum += p[y * tiles * each * NM_GEMM_THREADS];
            acc[i / T::TN][i % T::TN] = sum;
        }
    }
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int G = T::TN < 4 ? T::TN : 4;
#pragma unroll
    for (int i = 0; i < T::TM; i++)
#pragma unroll
        for (int l = 0; l < T::TN; l += G) c.template store<G>(nm_place<T::M>(ty, i), nm_place<T::N>(tx, l), &acc[i][l]);
}

// nm_store writes G sums that belong side by side. at is where they go, bias what is added.
template <int G>
__device__ __forceinline__ void nm_store(float *y, const nm_epilogue &e, const float *sum, int64_t at, int count, bool vector, const float *bias,
                                         int bias_step) {
    float v[G];
    for (int j = 0; j < G; j++) {
        v[j] = sum[j];
        if (j < count && bias != nullptr) v[j] += bias[j * bias_step];
        if (j < count && e.function != NM_COPY) v[j] = nm_finish(e, v[j], at + j);
    }
    if (G == 4 && vector && count >= 4) {
        *reinterpret_cast<float4 *>(y + at) = make_float4(v[0], v[1 % G], v[2 % G], v[3 % G]);
        return;
    }
    for (int j = 0; j < G; j++)
        if (j < count) y[at + j] = v[j];
}
