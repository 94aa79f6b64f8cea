// Kernels of the tests of driver and emulator: what the emulator must get right, and what it must catch.
#include "common.cuh"

struct probe_shape {
    int32_t rank;
    int64_t size[4];
    float scale;
    uint8_t flags[3];
};

// probe_struct: out[0] = a field of each kind, so that the layout of a structure is the same in Go and here.
NM_KERNEL(probe_struct, 1, double *out, uint8_t before, probe_shape s, int16_t after) {
    out[0] = before + 10.0 * s.rank + 100.0 * s.size[3] + 1e4 * s.scale + 1e6 * s.flags[2] + 1e8 * after;
}

// probe_places: out[place in the grid] = its coordinates, ten bits each: block x, y, z and thread x, y, z.
NM_KERNEL(probe_places, 1024, uint64_t *out) {
    uint64_t block = (blockIdx.z * (uint64_t)gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    uint64_t thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    uint64_t place = 0;
    uint64_t all[6] = {blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z};
    for (int i = 0; i < 6; i++) place = place << 10 | all[i];
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = place;
}

// probe_sum: out[block] = the sum of the block's part of in: through registers of the warp, then shared memory, then the first warp. 256 threads.
NM_KERNEL(probe_sum, 256, float *out, const float *in) {
    NM_DYNAMIC_SHARED(float, part);
    __shared__ float total;
    float v = in[blockIdx.x * 256 + threadIdx.x];
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(NM_FULL_MASK, v, d);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        v = threadIdx.x < 8 ? part[threadIdx.x] : 0;
        for (int d = 4; d > 0; d /= 2) v += __shfl_down_sync(NM_FULL_MASK, v, d);
        if (threadIdx.x == 0) total = v;
    }
    __syncthreads();
    if (threadIdx.x == 255) out[blockIdx.x] = total;
}

// probe_warp: results of the warp's operations, 64 threads: out[8*thread...].
NM_KERNEL(probe_warp, 64, int32_t *out) {
    int32_t lane = threadIdx.x % 32, *o = out + 8 * threadIdx.x;
    o[0] = __shfl_sync(NM_FULL_MASK, lane * 3, 5);
    o[1] = __shfl_up_sync(NM_FULL_MASK, lane, 2);
    o[2] = __shfl_down_sync(NM_FULL_MASK, lane, 3);
    o[3] = (int32_t)__ballot_sync(NM_FULL_MASK, lane % 3 == 0);
    if (lane < 16) {
        o[4] = __shfl_xor_sync(0x0000ffffu, lane, 15);
    } else {
        o[4] = __shfl_xor_sync(0xffff0000u, lane, 1);
    }
    __syncwarp();
    o[5] = (int32_t)(__shfl_xor_sync(NM_FULL_MASK, (uint64_t)lane << 33, 1) >> 33);
    o[6] = __any_sync(NM_FULL_MASK, lane == 31);
    o[7] = __all_sync(NM_FULL_MASK, lane != 31);
}

// probe_arithmetic: fused where it says so, rounded twice where not: 1 + 2^-23 squared minus 1 + 2^-22 is 2^-46 or 0.
NM_KERNEL(probe_arithmetic, 1, float *out, float a) {
    out[0] = a * a - (1 + 2 * (a - 1));
    out[1] = fmaf(a, a, -(1 + 2 * (a - 1)));
    out[2] = max(NM_NAN, a);
    out[3] = __int_as_float(__float_as_int(a));
}

NM_KERNEL(probe_count, 1024, uint32_t *count, int32_t *largest) {
    atomicAdd(count, 1u);
    atomicMax(largest, (int32_t)(blockIdx.x * blockDim.x + threadIdx.x));
}

// probe_twice: out[i] = 2 * in[i]. A chain of them shows the order of work.
NM_KERNEL(probe_twice, 256, float *out, const float *in, int32_t n) {
    int32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = 2 * in[i];
}

// Bugs.

// probe_race lacks a barrier: each thread reads what its neighbour writes.
NM_KERNEL(probe_race, 64, int32_t *out) {
    __shared__ int32_t value[64];
    value[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = value[(threadIdx.x + 1) % 64];
}

NM_KERNEL(probe_unset_shared, 1, float *out) {
    __shared__ float value[4];
    NM_DYNAMIC_SHARED(float, dynamic);
    out[0] = value[threadIdx.x];
    out[1] = dynamic[threadIdx.x];
    value[threadIdx.x] = dynamic[threadIdx.x] = 1;
}

NM_KERNEL(probe_early_exit, 64, int32_t *out) {
    if (threadIdx.x == 40) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}

NM_KERNEL(probe_divergent_warp, 64, int32_t *out) {
    if (threadIdx.x % 32 < 8) {
        __syncthreads();
    } else {
        out[threadIdx.x] = __shfl_xor_sync(NM_FULL_MASK, 1, 1);
    }
}

NM_KERNEL(probe_outside_mask, 32, int32_t *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

// probe_write_at: out[i] = 1.
NM_KERNEL(probe_write_at, 1, float *out, int64_t i) { out[i] = 1; }

// probe_index: an index outside an array.
NM_KERNEL(probe_index, 1, float *out, int32_t i) {
    __shared__ float value[8];
    value[i] = 1;
    out[0] = value[i];
}

NM_KERNEL(probe_misaligned, 1, float4 *out, const float4 *in) { out[0] = in[0]; }

NM_KERNEL(probe_divide, 1, int32_t *out, int32_t by) { out[0] = 1 / by; }

NM_KERNEL(probe_assert, 1, int32_t n) { NM_ASSERT(n > 0); }
