// The matrix product that MatMul and the convolutions share: C (m x n) = A (m x k) * B (k x n) in tiles of shared memory. A tile's operands come from
// loaders, its results go to a store; so a convolution is a product whose loader reads the input through the window's taps (implicit im2col).
//
// 256 threads compute a tile of BM x BN. A loader's rows times its terms are 1024, so that every thread brings four elements of A and four of B, or a few
// times four, for each step along k. The next step's elements are fetched into registers while this one's are multiplied.
//
// Where m*n is small and k long, the terms are split over blocks (gridDim.y). Each leaves its sums in memory, and the block of a tile that comes last
// adds them up in the order of the splits: the same bits every time, and no second launch.
#pragma once

#include "epilogue.cuh"
#include "walk.cuh"

#define NM_GEMM_THREADS 256

// The bounds of a kernel of tiles: two blocks to a multiprocessor, so that one multiplies while the other waits; that is 128 registers a thread.
#ifdef NM_EMULATED
#define NM_GEMM_BOUNDS NM_GEMM_THREADS
#else
#define NM_GEMM_BOUNDS NM_GEMM_THREADS, 2
#endif

struct nm_splits {
    float *partial;      // by split, tile, element, thread
    uint32_t *counters;  // one for every tile
    int32_t terms;       // of one split, a multiple of 32
};

// nm_panel is an operand's tile in shared memory, term by term; PAD keeps neighbouring terms' rows in different banks.
template <int R, int BK, int PAD> struct __align__(16) nm_panel {
    float e[BK][R + PAD];
    __device__ __forceinline__ void put(int k, int r, float v) { e[k][r] = v; }
    __device__ __forceinline__ void put4(int k, int r, const float (&v)[4]) {
        *reinterpret_cast<float4 *>(&e[k][r]) = make_float4(v[0], v[1], v[2], v[3]);
    }
};

// The index of a thread's i-th row or column in a tile of B: groups of up to four side by side, the groups of all threads side by side.
template <int B> __device__ __forceinline__ int nm_place(int thread, int i) {
    const int T = B / 16, G = T < 4 ? T : 4;
    return i / G * (16 * G) + thread * G + i % G;
}

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

// nm_tile is a tile whose products and sums are float32: every thread has TM x TN of it. A tile type says what of it a thread computes: Each results, in
// groups of Side that lie side by side, and where they are.
template <int BM, int BN, int BK> struct nm_tile {
    static const int M = BM, N = BN, K = BK, Load = BK;
    static const int TM = BM / 16, TN = BN / 16, Each = TM * TN, Side = TN < 4 ? TN : 4;
    typedef nm_panel<M, K, 4> A;
    typedef nm_panel<N, K, 4> B;
    static __device__ __forceinline__ float factor(float v) { return v; }
    static __device__ __forceinline__ int row(int e) { return nm_place<M>(threadIdx.x / 16, e / TN); }
    static __device__ __forceinline__ int column(int e) { return nm_place<N>(threadIdx.x % 16, e % TN); }
    static __device__ __forceinline__ void multiply(const A &a, const B &b, float (&acc)[Each]) {
        int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
        for (int j = 0; j < K; j++) {
            float x[TM], y[TN];
            nm_take<M>(x, a.e[j], ty);
            nm_take<N>(y, b.e[j], tx);
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int l = 0; l < TN; l++) acc[i * TN + l] = fmaf(x[i], y[l], acc[i * TN + l]);
        }
    }
};

// nm_rows_k loads elements (row, k) that lie side by side along k: row*stride + k. A loader brings four elements of a thread to each of R rows x BK terms.
template <int R, int BK> struct nm_rows_k {
    const float *at;
    int64_t stride;
    int row, rows, k4;
    int one;      // a row of ones, or -1
    bool vector;  // stride and start are multiples of four
    __device__ __forceinline__ void begin(const float *x, int64_t by, int first, int count, bool even, int ones) {
        int t = threadIdx.x;
        at = x, stride = by, row = first + t / (BK / 4), rows = count, k4 = t % (BK / 4) * 4, vector = even, one = ones;
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        k += k4;
        const float *p = at + row * stride + k;
        if (row < rows && vector && k + 4 <= end) {
            float4 q = *reinterpret_cast<const float4 *>(p);
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
            return;
        }
        for (int j = 0; j < 4; j++) v[j] = k + j >= end ? 0.0f : row < rows ? p[j] : row == one ? 1.0f : 0.0f;
    }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        int r = threadIdx.x / (BK / 4);
        for (int j = 0; j < 4; j++) s.put(k + k4 + j, r, v[j]);
    }
};

// nm_rows_r loads elements (row, k) that lie side by side along the rows: k*stride + row.
template <int R, int BK> struct nm_rows_r {
    const float *at;
    int64_t stride;
    int row, rows, k0;
    int one;
    bool vector;
    __device__ __forceinline__ void begin(const float *x, int64_t by, int first, int count, bool even, int ones) {
        int t = threadIdx.x;
        at = x, stride = by, row = first + t % (R / 4) * 4, rows = count, k0 = t / (R / 4), vector = even, one = ones;
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        k += k0;
        const float *p = at + k * stride + row;
        if (k < end && vector && row + 4 <= rows) {
            float4 q = *reinterpret_cast<const float4 *>(p);
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
            return;
        }
        for (int j = 0; j < 4; j++) v[j] = k >= end ? 0.0f : row + j < rows ? p[j] : row + j == one ? 1.0f : 0.0f;
    }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        s.put4(k + k0, threadIdx.x % (R / 4) * 4, v);
    }
};

// nm_bring fetches the next terms into registers, nm_lay puts them into shared memory, rounded to what the tile multiplies.
template <class T, class L> __device__ __forceinline__ void nm_bring(const L &l, int k, int end, float (&v)[T::K / T::Load][4]) {
#pragma unroll
    for (int i = 0; i < T::K / T::Load; i++) l.fetch(k + i * T::Load, end, v[i]);
}

template <class T, class L, class S> __device__ __forceinline__ void nm_lay(const L &l, S &s, float (&v)[T::K / T::Load][4]) {
#pragma unroll
    for (int i = 0; i < T::K / T::Load; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) v[i][j] = T::factor(v[i][j]);
        l.put(s, i * T::Load, v[i]);
    }
}

// nm_multiply adds the terms [lo, hi) to acc.
template <class T, class A, class B>
__device__ __forceinline__ void nm_multiply(const A &a, const B &b, int lo, int hi, float (&acc)[T::Each]) {
    __shared__ typename T::A sa[2];
    __shared__ typename T::B sb[2];
    float va[T::K / T::Load][4], vb[T::K / T::Load][4];
    int at = 0;
    if (lo >= hi) return;
    nm_bring<T>(a, lo, hi, va);
    nm_bring<T>(b, lo, hi, vb);
    nm_lay<T>(a, sa[0], va);
    nm_lay<T>(b, sb[0], vb);
    __syncthreads();
    for (int k = lo; k < hi; k += T::K) {
        bool more = k + T::K < hi;
        if (more) {
            nm_bring<T>(a, k + T::K, hi, va);
            nm_bring<T>(b, k + T::K, hi, vb);
        }
        T::multiply(sa[at], sb[at], acc);
        if (more) {
            at ^= 1;
            nm_lay<T>(a, sa[at], va);
            nm_lay<T>(b, sb[at], vb);
            __syncthreads();
        }
    }
}

// nm_gemm computes a tile: its terms, the splits' sums, and the store of what is complete.
template <class T, class A, class B, class C>
__device__ __forceinline__ void nm_gemm(const A &a, const B &b, const C &c, int k, const nm_splits &s, int64_t tile, int64_t tiles) {
    float acc[T::Each] = {};
    int lo = blockIdx.y * s.terms, hi = min(k, lo + s.terms);
    if (gridDim.y == 1) hi = k, lo = 0;
    nm_multiply<T>(a, b, lo, hi, acc);
    if (gridDim.y > 1) {
        float *mine = s.partial + (blockIdx.y * tiles + tile) * T::Each * NM_GEMM_THREADS + threadIdx.x;
#pragma unroll
        for (int i = 0; i < T::Each; i++) mine[i * NM_GEMM_THREADS] = acc[i];
        if (!nm_last(s.counters + tile, gridDim.y)) return;
#pragma unroll
        for (int i = 0; i < T::Each; i++) {
            const float *p = s.partial + (tile * T::Each + i) * NM_GEMM_THREADS + threadIdx.x;
            float sum = 0;
            for (uint32_t y = 0; y < gridDim.y; y++) sum += p[y * tiles * T::Each * NM_GEMM_THREADS];
            acc[i] = sum;
        }
    }
#pragma unroll
    for (int i = 0; i < T::Each; i += T::Side) c.template store<T::Side>(T::row(i), T::column(i), &acc[i]);
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
    if (G == 2 && vector && count >= 2) {
        *reinterpret_cast<float2 *>(y + at) = make_float2(v[0], v[1 % G]);
        return;
    }
    if (G == 4 && vector && count >= 4) {
        *reinterpret_cast<float4 *>(y + at) = make_float4(v[0], v[1 % G], v[2 % G], v[3 % G]);
        return;
    }
    for (int j = 0; j < G; j++)
        if (j < count) y[at + j] = v[j];
}
