// What a kernel does to a result before it stores it.
#pragma once

#include "functions.cuh"

// nm_epilogue is what happens to a sum before it is stored: + bias, then a unary function, or as the gradient dy of one whose r lies like the result.
struct nm_epilogue {
    const float *bias;
    const float *r;
    int32_t function;  // NM_COPY: none
    float alpha, beta;
};

// One function for all kernels, not inlined: it is called a few times for thousands of multiplications, and would cost the main loop its registers.
__device__ __attribute__((noinline)) float nm_finish(const nm_epilogue &e, float v, int64_t at) {
    if (e.function >= NM_SLOPE) return nm_backward(e.function - NM_SLOPE, e.alpha, e.beta, v, e.r[at]);
    return nm_value(e.function, e.alpha, e.beta, v);
}
