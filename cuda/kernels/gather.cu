// Operations with integers: Gather and its gradient. A tensor is (outer, length, inner), the axis in the middle.
#include "walk.cuh"

__device__ __forceinline__ int32_t nm_index(int32_t i, int32_t length) {
    if (i < 0) i += length;
    return i >= 0 && i < length ? i : -1;
}

// gather: y[o][j][c] = x[o][i[j]][c], words of 32 bits; missing where the index is out of range. Any grid and block of one dimension, as of all here
// but gather_grad.
NM_KERNEL(gather, 256, const uint32_t *__restrict__ x, const int32_t *__restrict__ indices, uint32_t *__restrict__ y, uint32_t n, int32_t length,
          nm_divisor inner, nm_divisor count, uint32_t missing) {
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        uint32_t row = nm_div(i, inner), c = i - row * inner.d, o = nm_div(row, count), j = row - o * count.d;
        int32_t k = nm_index(indices[j], length);
        y[i] = k >= 0 ? x[((int64_t)o * length + k) * inner.d + c] : missing;
    }
}

#define NM_COLUMNS 4  // of a lane

// gather_grad: dx[o][k] = the sum of the dy[o][j] with indices[j] = k, in the order of j. A warp for every row of dx, and for every 128 elements of
// it, looks at all indices, 32 at a time. Blocks of whole warps.
NM_KERNEL(gather_grad, 256, const float *__restrict__ dy, const int32_t *__restrict__ indices, float *__restrict__ dx, int32_t outer, int32_t length,
          int32_t inner, int32_t count) {
    uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / NM_WARP, lane = threadIdx.x % NM_WARP;
    uint32_t parts = (inner + NM_WARP * NM_COLUMNS - 1) / (NM_WARP * NM_COLUMNS), row = warp / parts;
    if (row >= (uint32_t)(outer * length)) return;
    int32_t c0 = warp % parts * NM_WARP * NM_COLUMNS + lane, k = row % length;
    const float *from = dy + (int64_t)(row / length) * count * inner;
    float sum[NM_COLUMNS] = {};
    for (int32_t j0 = 0; j0 < count; j0 += NM_WARP) {
        int32_t j = j0 + lane;
        uint32_t hits = __ballot_sync(NM_FULL_MASK, j < count && nm_index(indices[j], length) == k);
        for (; hits != 0; hits &= hits - 1) {
            const float *d = from + (int64_t)(j0 + __ffs(hits) - 1) * inner;
            for (int i = 0; i < NM_COLUMNS; i++)
                if (c0 + i * NM_WARP < inner) sum[i] += d[c0 + i * NM_WARP];
        }
    }
    for (int i = 0; i < NM_COLUMNS; i++)
        if (c0 + i * NM_WARP < inner) dx[(int64_t)row * inner + c0 + i * NM_WARP] = sum[i];
}
