// Reading tensors through strides, sums in a fixed order, and the position of a step: what several kernel files share. Structures are laid out as in
// cuda/params.go.
#pragma once

#include "common.cuh"

// nm_divisor divides numbers below 2^31 by multiplication: n / d = (mulhi(n, mul) + n) >> shift. Granlund and Montgomery 1994, figure 4.1.
struct nm_divisor {
    uint32_t d, mul, shift;
};

__device__ __forceinline__ uint32_t nm_div(uint32_t n, const nm_divisor &by) { return (__umulhi(n, by.mul) + n) >> by.shift; }

// The most axes that a tensor has once those that are passed through evenly are merged.
#define NM_AXES 8

// nm_walk is a loop nest over so many elements, axes from the innermost to the outermost. Every operand brings its strides.
struct nm_walk {
    int32_t n, axes;
    nm_divisor size[NM_AXES];
};

struct nm_strides {
    int32_t start, by[NM_AXES];
};

__device__ __forceinline__ int32_t nm_offset(const nm_walk &w, const nm_strides &s, uint32_t i) {
    int32_t at = s.start;
    for (int a = 0; a < w.axes - 1; a++) {
        uint32_t q = nm_div(i, w.size[a]);
        at += (int32_t)(i - q * w.size[a].d) * s.by[a];
        i = q;
    }
    return at + (int32_t)i * s.by[w.axes - 1];
}

// nm_position is where a run of steps stands. It lies in device memory, so that the launches of a step are the same for all steps: a kernel that
// depends on the step reads it, and the last kernel of a step advances it.
struct nm_position {
    uint64_t seed, step;  // of the random numbers
    uint32_t index;       // of the step among those whose rows and feeds were uploaded together
    uint32_t done;        // blocks of the last kernel that have read it
};

// The sum over a block of any number of whole warps, the same on all threads, in an order that depends on the block's size alone: a butterfly in every
// warp, then one over the warps' sums. T has an operator that is commutative to the bit.
template <class T, class F> __device__ __forceinline__ T nm_block_fold(T v, F f, T neutral) {
    __shared__ T part[NM_WARP];
    int lane = threadIdx.x % NM_WARP, warp = threadIdx.x / NM_WARP, warps = blockDim.x / NM_WARP;
    for (int d = NM_WARP / 2; d > 0; d /= 2) v = f(v, __shfl_xor_sync(NM_FULL_MASK, v, d));
    if (warps == 1) return v;
    __syncthreads();  // of a fold before this one
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = lane < warps ? part[lane] : neutral;
    for (int d = NM_WARP / 2; d > 0; d /= 2) v = f(v, __shfl_xor_sync(NM_FULL_MASK, v, d));
    return v;
}

struct nm_plus {
    __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
    __device__ __forceinline__ double operator()(double a, double b) const { return a + b; }
};

__device__ __forceinline__ float nm_block_sum(float v) { return nm_block_fold(v, nm_plus(), 0.0f); }

__device__ __forceinline__ float nm_warp_sum(float v) {
    for (int d = NM_WARP / 2; d > 0; d /= 2) v += __shfl_xor_sync(NM_FULL_MASK, v, d);
    return v;
}

// nm_last says, to all threads of a block, that it is the last one of so many that arrive at a counter; what the others had written before is then
// visible. The counter starts at 0 and is 0 again afterwards. It is how one launch adds up what its blocks have found, in a fixed order.
__device__ __forceinline__ bool nm_last(uint32_t *counter, uint32_t blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(counter, 1u) == blocks - 1;
        if (last) *counter = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}
