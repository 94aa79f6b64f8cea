// Elementwise operations, and those that move elements.
#include "chain.cuh"

template <int V> __device__ __forceinline__ void nm_run_chain(const nm_chain &p) {
    uint32_t step = gridDim.x * blockDim.x * V, n = p.walk.n;
    for (uint32_t i = (blockIdx.x * blockDim.x + threadIdx.x) * V; i < n; i += step) {
        nm_elements<V> y = {};
        for (int k = 0; k < p.count; k++) {
            const nm_instruction &c = p.code[k];
            y = nm_apply<V>(p, c, y, i);
            if (c.result < 0) continue;
            float *out = p.out[c.result] + i;
            if (V == 4) {
                *reinterpret_cast<float4 *>(out) = make_float4(y.v[0], y.v[1 % V], y.v[2 % V], y.v[3 % V]);
            } else {
                *out = y.v[0];
            }
        }
    }
}

// chain: any grid and block of one dimension. With vector, tensors begin at multiples of 16 bytes and may be read and written up to the next one.
NM_KERNEL(chain, 256, const nm_chain p) {
    if (p.vector) {
        nm_run_chain<4>(p);
    } else {
        nm_run_chain<1>(p);
    }
}

struct nm_moves {
    nm_walk walk;
    nm_strides from, to;
    const float *x;
    float *y;
};

// scatter: y[to] = x[from], word by word. Any grid and block of one dimension.
NM_KERNEL(scatter, 256, const nm_moves p) {
    uint32_t step = gridDim.x * blockDim.x, n = p.walk.n;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        p.y[nm_offset(p.walk, p.to, i)] = p.x[nm_offset(p.walk, p.from, i)];
    }
}

#define NM_TILE 32

// transpose: y[i][c][r] = x[i][r][c] for i < batch. Blocks of 32x8 threads; grid (columns/32, rows/32, batch).
NM_KERNEL(transpose, 256, const float *__restrict__ x, float *__restrict__ y, int32_t rows, int32_t columns) {
    __shared__ float tile[NM_TILE][NM_TILE + 1];
    int64_t first = (int64_t)blockIdx.z * rows * columns;
    int c0 = blockIdx.x * NM_TILE, r0 = blockIdx.y * NM_TILE, tx = threadIdx.x, ty = threadIdx.y;
    for (int j = ty; j < NM_TILE; j += 8) {
        if (r0 + j < rows && c0 + tx < columns) tile[j][tx] = x[first + (int64_t)(r0 + j) * columns + c0 + tx];
    }
    __syncthreads();
    for (int j = ty; j < NM_TILE; j += 8) {
        if (c0 + j < columns && r0 + tx < rows) y[first + (int64_t)(c0 + j) * rows + r0 + tx] = tile[tx][j];
    }
}

struct nm_pad {
    nm_walk walk;  // over y
    int32_t start[NM_AXES], step[NM_AXES], size[NM_AXES], stride[NM_AXES];  // x along the axes of the walk
    const float *x;
    float *y;
    float value;  // or an integer's bits
};

// pad: y is value but for y[start + i*step] = x[i]. Any grid and block of one dimension.
NM_KERNEL(pad, 256, const nm_pad p) {
    uint32_t by = gridDim.x * blockDim.x, n = p.walk.n;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += by) {
        uint32_t rest = i;
        int32_t at = 0;
        for (int a = 0; a < p.walk.axes && at >= 0; a++) {
            uint32_t q = nm_div(rest, p.walk.size[a]);
            int32_t d = (int32_t)(rest - q * p.walk.size[a].d) - p.start[a], k = d;
            rest = q;
            if (p.step[a] != 1) k = d / p.step[a];
            bool there = k * p.step[a] == d && k >= 0 && k < p.size[a];
            at = there ? at + k * p.stride[a] : -1;
        }
        p.y[i] = at >= 0 ? p.x[at] : p.value;
    }
}
