// Softmax and LogSoftmax along an axis, and their gradients. A tensor is (outer, length, inner), the axis in the middle.
#include "functions.cuh"
#include "walk.cuh"

struct nm_softmax {
    const float *x, *y;  // gradients read dy as x, and y
    float *out;
    int32_t outer, length, inner, log;
    int32_t lanes;  // 1, 32 or a block: the threads of one line
};

struct nm_largest {
    __device__ __forceinline__ float operator()(float a, float b) const { return nm_max(a, b); }
};

// nm_line_fold is a fold over the threads of a line, the same on all of them.
template <class F> __device__ __forceinline__ float nm_line_fold(const nm_softmax &p, float v, F f, float neutral) {
    if (p.lanes == 1) return v;
    if (p.lanes > NM_WARP) return nm_block_fold(v, f, neutral);
    for (int d = NM_WARP / 2; d > 0; d /= 2) v = f(v, __shfl_xor_sync(NM_FULL_MASK, v, d));
    return v;
}

// nm_line finds the line of a thread: where it begins, or -1, and the thread's place in it.
__device__ __forceinline__ int64_t nm_line(const nm_softmax &p, int &lane) {
    uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x, line = thread / p.lanes;
    lane = thread % p.lanes;
    if (line >= (uint32_t)(p.outer * p.inner)) return -1;
    return (int64_t)(line / p.inner) * p.length * p.inner + line % p.inner;
}

// softmax: with m the maximum and s = sum of exp(x-m), exp(x-m)/s, or x-m-log(s). Blocks of whole warps; with lanes of a block, that many threads.
NM_KERNEL(softmax, 256, const nm_softmax p) {
    int lane;
    int64_t first = nm_line(p, lane);
    if (first < 0) return;
    const float *x = p.x + first;
    float *out = p.out + first, top = -NM_INF, sum = 0;
    for (int k = lane; k < p.length; k += p.lanes) top = nm_max(top, x[(int64_t)k * p.inner]);
    top = nm_line_fold(p, top, nm_largest(), -NM_INF);
    for (int k = lane; k < p.length; k += p.lanes) sum += expf(x[(int64_t)k * p.inner] - top);
    sum = nm_line_fold(p, sum, nm_plus(), 0.0f);
    if (p.log) {
        float log = logf(sum);
        for (int k = lane; k < p.length; k += p.lanes) out[(int64_t)k * p.inner] = x[(int64_t)k * p.inner] - top - log;
        return;
    }
    for (int k = lane; k < p.length; k += p.lanes) out[(int64_t)k * p.inner] = expf(x[(int64_t)k * p.inner] - top) / sum;
}

// softmax_grad: y*(dy - sum dy*y), or dy - exp(y)*sum dy. Threads as in softmax.
NM_KERNEL(softmax_grad, 256, const nm_softmax p) {
    int lane;
    int64_t first = nm_line(p, lane);
    if (first < 0) return;
    const float *dy = p.x + first, *y = p.y + first;
    float *out = p.out + first, sum = 0;
    for (int k = lane; k < p.length; k += p.lanes) {
        int64_t at = (int64_t)k * p.inner;
        sum += p.log ? dy[at] : dy[at] * y[at];
    }
    sum = nm_line_fold(p, sum, nm_plus(), 0.0f);
    for (int k = lane; k < p.length; k += p.lanes) {
        int64_t at = (int64_t)k * p.inner;
        out[at] = p.log ? dy[at] - expf(y[at]) * sum : y[at] * (dy[at] - sum);
    }
}
