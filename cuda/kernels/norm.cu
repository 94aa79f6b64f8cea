// Batch normalisation of tensors (N, C, plane). The statistics of a channel are those of parts, joined: a part's mean, and the squares of its
// differences from it, which are found by reading it twice. Nothing is lost where the mean is much larger than the deviation, and what is not finite
// comes out as the two passes of the formula give it. Chan, Golub and LeVeque 1983, equation 2.1.
#include "functions.cuh"
#include "walk.cuh"

struct nm_norm {
    const float *x, *dy, *scale, *mean, *variance;
    float *mean_out, *variance_out;      // dscale and dbias in gradients
    float *factor;                       // by channel: scale/sqrt(variance+epsilon)
    float *slope, *shift;                // and, in gradients, what dx = factor*dy + slope*(x-mean) + shift needs besides
    float *partial;                      // two for every channel and split
    uint32_t *counters;                  // one for every channel
    int32_t n, channels, plane;
    nm_divisor by_plane;
    float epsilon;
};

// The place of element i of a channel.
__device__ __forceinline__ int64_t nm_in_channel(const nm_norm &p, uint32_t c, uint32_t i) {
    uint32_t sample = nm_div(i, p.by_plane);
    return ((int64_t)sample * p.channels + c) * p.plane + (i - sample * p.plane);
}

__device__ __forceinline__ void nm_part(uint32_t n, uint32_t split, uint32_t &lo, uint32_t &hi) {
    uint32_t each = (n + gridDim.y - 1) / gridDim.y;
    lo = min(n, split * each);
    hi = min(n, lo + each);
}

__device__ __forceinline__ void nm_statistics(const nm_norm &p, uint32_t c, float mean, float variance) {
    p.mean_out[c] = mean;
    p.variance_out[c] = variance;
    p.factor[c] = p.scale[c] / sqrtf(variance + p.epsilon);
}

// norm_statistics: mean, biased variance and factor, with which y = factor*(x-mean) + bias. Grid (channels, splits), blocks of whole warps.
NM_KERNEL(norm_statistics, 256, const nm_norm p) {
    uint32_t c = blockIdx.x, count = p.n * p.plane, lo, hi;
    nm_part(count, blockIdx.y, lo, hi);
    float sum = 0, square = 0;
    for (uint32_t i = lo + threadIdx.x; i < hi; i += blockDim.x) sum += p.x[nm_in_channel(p, c, i)];
    sum = nm_block_sum(sum);
    float mean = sum / (float)(hi - lo);
    for (uint32_t i = lo + threadIdx.x; i < hi; i += blockDim.x) {
        float d = p.x[nm_in_channel(p, c, i)] - mean;
        square += d * d;
    }
    square = nm_block_sum(square);
    if (gridDim.y == 1) {
        if (threadIdx.x == 0) nm_statistics(p, c, mean, square / (float)count);
        return;
    }
    float *partial = p.partial + (int64_t)c * gridDim.y * 2;
    if (threadIdx.x == 0) partial[2 * blockIdx.y] = sum, partial[2 * blockIdx.y + 1] = square;
    if (!nm_last(p.counters + c, gridDim.y)) return;
    sum = square = 0;
    for (uint32_t s = threadIdx.x; s < gridDim.y; s += blockDim.x) sum += partial[2 * s];
    mean = nm_block_sum(sum) / (float)count;
    for (uint32_t s = threadIdx.x; s < gridDim.y; s += blockDim.x) {
        nm_part(count, s, lo, hi);
        if (hi == lo) continue;
        float size = (float)(hi - lo), d = partial[2 * s] / size - mean;
        square += partial[2 * s + 1] + size * d * d;
    }
    square = nm_block_sum(square);
    if (threadIdx.x == 0) nm_statistics(p, c, mean, square / (float)count);
}

// norm_grad_sums: dbias = sum dy, dscale = sum dy*(x-mean)/sqrt(variance+epsilon), and what makes dx of them: scale/sqrt(variance+epsilon)*(dy -
// dbias/M - xhat*dscale/M), M elements to a channel. Grid (channels, splits), blocks of whole warps.
NM_KERNEL(norm_grad_sums, 256, const nm_norm p) {
    uint32_t c = blockIdx.x, count = p.n * p.plane, lo, hi;
    nm_part(count, blockIdx.y, lo, hi);
    float mean = p.mean[c], inverse = 1 / sqrtf(p.variance[c] + p.epsilon), ds = 0, db = 0;
    for (uint32_t i = lo + threadIdx.x; i < hi; i += blockDim.x) {
        int64_t at = nm_in_channel(p, c, i);
        float d = p.dy[at];
        db += d;
        ds = fmaf(d, (p.x[at] - mean) * inverse, ds);
    }
    ds = nm_block_sum(ds);
    db = nm_block_sum(db);
    if (gridDim.y > 1) {
        float *partial = p.partial + (int64_t)c * gridDim.y * 2;
        if (threadIdx.x == 0) partial[2 * blockIdx.y] = ds, partial[2 * blockIdx.y + 1] = db;
        if (!nm_last(p.counters + c, gridDim.y)) return;
        ds = db = 0;
        for (uint32_t s = threadIdx.x; s < gridDim.y; s += blockDim.x) ds += partial[2 * s], db += partial[2 * s + 1];
        ds = nm_block_sum(ds);
        db = nm_block_sum(db);
    }
    if (threadIdx.x != 0) return;
    float factor = p.scale[c] * inverse;
    p.mean_out[c] = ds;
    p.variance_out[c] = db;
    p.factor[c] = factor;
    p.slope[c] = -factor * inverse * (ds / (float)count);
    p.shift[c] = -factor * (db / (float)count);
}
