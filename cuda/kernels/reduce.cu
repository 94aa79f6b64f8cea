// Reductions: sums, means, extrema and products over any axes, positions of largest elements, and moments. The order in which elements are added up
// depends on shapes and grid alone.
#include "chain.cuh"
#include "epilogue.cuh"

enum nm_fold { NM_FOLD_SUM, NM_FOLD_MEAN, NM_FOLD_MAX, NM_FOLD_MIN, NM_FOLD_PROD };

struct nm_reduction {
    nm_walk kept, gone;  // over the outputs, and over the elements of one
    nm_strides kept_at, gone_at;
    const float *x;
    float *y;
    float *partial;      // splits x outputs, where a reduction is split
    uint32_t *counters;  // one for every gridDim.x
    int32_t function;
    nm_epilogue epilogue;
    nm_chain before;     // what makes the elements of x, which is then null; without instructions: x is read
};

struct nm_maximum {
    __device__ __forceinline__ float operator()(float a, float b) const { return nm_max(a, b); }
};
struct nm_minimum {
    __device__ __forceinline__ float operator()(float a, float b) const { return nm_min(a, b); }
};
// Products are kept in float64: on the way to a result that float32 can hold they may leave its range.
struct nm_times {
    __device__ __forceinline__ double operator()(double a, double b) const { return a * b; }
};

__device__ __forceinline__ float nm_element(const nm_reduction &p, int64_t i) {
    return p.before.count == 0 ? p.x[i] : nm_chain_value(p.before, (uint32_t)i);
}

// nm_gone folds the elements [first, hi) of the output whose elements begin at a place, every step-th.
template <class T, class F>
__device__ __forceinline__ T nm_gone(const nm_reduction &p, int32_t from, F f, T acc, uint32_t first, uint32_t hi, uint32_t step) {
    if (p.gone.axes == 1 && p.before.count == 0) {
        int32_t by = p.gone_at.by[0];
        const float *x = p.x + from;
#pragma unroll 4
        for (uint32_t i = first; i < hi; i += step) acc = f(acc, (T)x[(int64_t)i * by]);
        return acc;
    }
    for (uint32_t i = first; i < hi; i += step) acc = f(acc, (T)nm_element(p, from + nm_offset(p.gone, p.gone_at, i)));
    return acc;
}

__device__ __forceinline__ float nm_folded(const nm_reduction &p, double v) { return (float)v; }
__device__ __forceinline__ float nm_folded(const nm_reduction &p, float v) {
    return p.function == NM_FOLD_MEAN ? v / (float)p.gone.n : v;
}

template <class T> __device__ __forceinline__ void nm_result(const nm_reduction &p, uint32_t o, T v) {
    float y = nm_folded(p, v);
    p.y[o] = p.epilogue.function == NM_COPY ? y : nm_finish(p.epilogue, y, o);
}

// The part of an output that a split takes.
__device__ __forceinline__ void nm_split(uint32_t n, uint32_t &lo, uint32_t &hi) {
    uint32_t each = (n + gridDim.y - 1) / gridDim.y;
    lo = min(n, blockIdx.y * each);
    hi = min(n, lo + each);
}

// nm_join adds up what the splits have left of outputs [first, first + count).
template <class T, class F> __device__ __forceinline__ void nm_join(const nm_reduction &p, F f, T neutral, uint32_t first, uint32_t count) {
    if (!nm_last(p.counters + blockIdx.x, gridDim.y)) return;
    uint32_t thread = threadIdx.y * blockDim.x + threadIdx.x, outputs = p.kept.n;
    if (thread >= count || first + thread >= outputs) return;
    T acc = neutral;
    for (uint32_t s = 0; s < gridDim.y; s++) acc = f(acc, (T)p.partial[(int64_t)s * outputs + first + thread]);
    nm_result(p, first + thread, acc);
}

template <class T, class F> __device__ __forceinline__ void nm_reduce_threads(const nm_reduction &p, F f, T neutral) {
    uint32_t step = gridDim.x * blockDim.x, n = p.kept.n;
    for (uint32_t o = blockIdx.x * blockDim.x + threadIdx.x; o < n; o += step) {
        nm_result(p, o, nm_gone(p, nm_offset(p.kept, p.kept_at, o), f, neutral, 0, p.gone.n, 1));
    }
}

template <class T, class F> __device__ __forceinline__ void nm_reduce_warps(const nm_reduction &p, F f, T neutral) {
    uint32_t lane = threadIdx.x % NM_WARP, o = (blockIdx.x * blockDim.x + threadIdx.x) / NM_WARP;
    if (o >= (uint32_t)p.kept.n) return;
    T v = nm_gone(p, nm_offset(p.kept, p.kept_at, o), f, neutral, lane, p.gone.n, NM_WARP);
    for (int d = NM_WARP / 2; d > 0; d /= 2) v = f(v, __shfl_xor_sync(NM_FULL_MASK, v, d));
    if (lane == 0) nm_result(p, o, v);
}

template <class T, class F> __device__ __forceinline__ void nm_reduce_blocks(const nm_reduction &p, F f, T neutral) {
    uint32_t lo, hi, o = blockIdx.x;
    nm_split(p.gone.n, lo, hi);
    T v = nm_gone(p, nm_offset(p.kept, p.kept_at, o), f, neutral, lo + threadIdx.x, hi, blockDim.x);
    v = nm_block_fold(v, f, neutral);
    if (gridDim.y == 1) {
        if (threadIdx.x == 0) nm_result(p, o, v);
        return;
    }
    if (threadIdx.x == 0) p.partial[(int64_t)blockIdx.y * p.kept.n + o] = (float)v;
    nm_join(p, f, neutral, o, 1);
}

// Outputs lie side by side: a warp reads a row of 32 of them, eight rows at once.
template <class T, class F> __device__ __forceinline__ void nm_reduce_columns(const nm_reduction &p, F f, T neutral) {
    __shared__ T part[8][NM_WARP];
    uint32_t lo, hi, first = blockIdx.x * NM_WARP, o = first + threadIdx.x;
    nm_split(p.gone.n, lo, hi);
    T v = neutral;
    if (o < (uint32_t)p.kept.n) v = nm_gone(p, nm_offset(p.kept, p.kept_at, o), f, neutral, lo + threadIdx.y, hi, 8);
    part[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y == 0 && o < (uint32_t)p.kept.n) {
        for (int j = 1; j < 8; j++) v = f(v, part[j][threadIdx.x]);
        if (gridDim.y == 1) {
            nm_result(p, o, v);
        } else {
            p.partial[(int64_t)blockIdx.y * p.kept.n + o] = (float)v;
        }
    }
    if (gridDim.y > 1) nm_join(p, f, neutral, first, NM_WARP);
}

#define NM_REDUCE(name)                                                               \
    switch (p.function) {                                                             \
    case NM_FOLD_MAX: name(p, nm_maximum(), -NM_INF); break;                          \
    case NM_FOLD_MIN: name(p, nm_minimum(), NM_INF); break;                           \
    case NM_FOLD_PROD: name(p, nm_times(), 1.0); break;                               \
    default: name(p, nm_plus(), 0.0f);                                                \
    }

// reduce_threads: a thread for every output. Any grid and block of one dimension.
NM_KERNEL(reduce_threads, 256, const nm_reduction p) { NM_REDUCE(nm_reduce_threads) }

// reduce_warps: a warp for every output. Blocks of whole warps.
NM_KERNEL(reduce_warps, 256, const nm_reduction p) { NM_REDUCE(nm_reduce_warps) }

// reduce_blocks: grid (outputs, splits), blocks of whole warps.
NM_KERNEL(reduce_blocks, 256, const nm_reduction p) { NM_REDUCE(nm_reduce_blocks) }

// reduce_columns: grid (outputs/32, splits), blocks of 32x8.
NM_KERNEL(reduce_columns, 256, const nm_reduction p) { NM_REDUCE(nm_reduce_columns) }

// NaN is largest; of equal ones the first.
__device__ __forceinline__ bool nm_before(float v, int i, float w, int j) {
    bool vn = v != v, wn = w != w;
    if (vn != wn) return vn;
    if (v > w) return true;
    return (vn || v == w) && i < j;
}

// arg_max: y[o][i] = the index of the largest of x[o][:][i]; so many lanes, 1 or 32, for every output. Blocks of whole warps.
NM_KERNEL(arg_max, 256, const float *__restrict__ x, int32_t *__restrict__ y, int32_t outer, int32_t length, int32_t inner, int32_t lanes) {
    uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, o = thread / lanes, lane = thread % lanes;
    if (o >= (uint32_t)(outer * inner)) return;
    const float *at = x + (int64_t)(o / inner) * length * inner + o % inner;
    int best = lane < (uint32_t)length ? (int)lane : 0;
    float top = at[(int64_t)best * inner];
    for (int k = best + lanes; k < length; k += lanes) {
        float v = at[(int64_t)k * inner];
        if (nm_before(v, k, top, best)) best = k, top = v;
    }
    for (int d = lanes / 2; d > 0; d /= 2) {
        float v = __shfl_xor_sync(NM_FULL_MASK, top, d);
        int k = __shfl_xor_sync(NM_FULL_MASK, best, d);
        if (nm_before(v, k, top, best)) best = k, top = v;
    }
    if (lane == 0) y[o] = best;
}

#define NM_MOMENTS 6

struct nm_moments {
    float sum, abs, square, largest;
    uint32_t finite, zeros;
};

__device__ __forceinline__ nm_moments nm_block_moments(nm_moments m) {
    m.sum = nm_block_sum(m.sum);
    m.abs = nm_block_sum(m.abs);
    m.square = nm_block_sum(m.square);
    m.largest = nm_block_fold(m.largest, nm_maximum(), 0.0f);
    auto plus = [](uint32_t a, uint32_t b) { return a + b; };
    m.finite = nm_block_fold(m.finite, plus, 0u);
    m.zeros = nm_block_fold(m.zeros, plus, 0u);
    return m;
}

// moments: see engine.Moments. partial has one entry for every block. Any grid of one dimension, blocks of whole warps.
NM_KERNEL(moments, 256, const float *__restrict__ x, float *__restrict__ y, uint32_t n, nm_moments *partial, uint32_t *counter) {
    nm_moments m = {};
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        float v = x[i], a = fabsf(v);
        if (!(a < NM_INF)) continue;
        m.finite++;
        m.zeros += v == 0;
        m.sum += v;
        m.abs += a;
        m.square += v * v;
        m.largest = max(m.largest, a);
    }
    m = nm_block_moments(m);
    if (threadIdx.x == 0) partial[blockIdx.x] = m;
    if (!nm_last(counter, gridDim.x)) return;
    m = {};
    for (uint32_t b = threadIdx.x; b < gridDim.x; b += blockDim.x) {
        nm_moments o = partial[b];
        m.finite += o.finite;
        m.zeros += o.zeros;
        m.sum += o.sum;
        m.abs += o.abs;
        m.square += o.square;
        m.largest = max(m.largest, o.largest);
    }
    m = nm_block_moments(m);
    if (threadIdx.x != 0) return;
    float count = (float)max(m.finite, 1u);
    y[0] = (float)(n - m.finite);
    y[1] = m.sum / count;
    y[2] = m.abs / count;
    y[3] = m.square / count;
    y[4] = m.largest;
    y[5] = (float)m.zeros / count;
}
