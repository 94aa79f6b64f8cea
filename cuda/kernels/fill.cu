#include "common.cuh"

// fill: out[i] = value, i < n. Any grid and block of one dimension.
NM_KERNEL(fill, 1024, float *__restrict__ out, int64_t n, float value) {
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        out[i] = value;
    }
}
