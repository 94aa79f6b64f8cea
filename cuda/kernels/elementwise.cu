// Elementwise operations. A launch runs a chain of them: every instruction takes the result of the one before it, elements of tensors in memory, or both,
// and its result may be stored as well as passed on. Broadcasting, transposing and slicing are ways of reading an operand.
#include "functions.cuh"
#include "walk.cuh"

#define NM_CHAIN 8     // instructions
#define NM_OPERANDS 8  // tensors that are read
#define NM_RESULTS 4   // tensors that are written

enum nm_reading {
    NM_EVEN,    // the operand has the elements of the result in the same order
    NM_ONE,     // one element for all
    NM_STRIDED  // as strides say
};

struct nm_operand {
    const float *at;
    int32_t reading;
    nm_strides strides;
};

struct nm_instruction {
    int32_t function;
    int32_t a, b, c;  // operands; -1 is the result of the instruction before
    int32_t result;   // where it is stored, or -1
    uint32_t stream;  // of NM_DROPOUT, whose threshold is alpha's bits and whose divisor is beta
    float alpha, beta;
};

struct nm_chain {
    nm_walk walk;  // over the result
    int32_t count; // instructions
    int32_t vector; // four elements at once: no row ends between them
    nm_instruction code[NM_CHAIN];
    nm_operand in[NM_OPERANDS];
    float *out[NM_RESULTS];
    const nm_position *position;
};

template <int V> struct nm_elements {
    float v[V];
};

template <int V>
__device__ __forceinline__ nm_elements<V> nm_read(const nm_chain &p, int k, const nm_elements<V> &before, uint32_t i) {
    if (k < 0) return before;
    const nm_operand &o = p.in[k];
    nm_elements<V> x;
    if (o.reading == NM_EVEN) {
        if (V == 4) {
            float4 q = *reinterpret_cast<const float4 *>(o.at + i);
            x.v[0] = q.x, x.v[1 % V] = q.y, x.v[2 % V] = q.z, x.v[3 % V] = q.w;
        } else {
            x.v[0] = o.at[i];
        }
    } else if (o.reading == NM_ONE) {
        float all = o.at[o.strides.start];
        for (int j = 0; j < V; j++) x.v[j] = all;
    } else {
        const float *at = o.at + nm_offset(p.walk, o.strides, i);
        for (int j = 0; j < V; j++) x.v[j] = at[j * o.strides.by[0]];
    }
    return x;
}

// The functions that are called once for V elements stand in loops inside the switch, so that it is entered once.
template <int V>
__device__ __forceinline__ nm_elements<V> nm_apply(const nm_chain &p, const nm_instruction &c, const nm_elements<V> &before, uint32_t i) {
    nm_elements<V> a = nm_read(p, c.a, before, i), y;
    if (c.function < NM_ADD) {
        for (int j = 0; j < V; j++) y.v[j] = nm_value(c.function, c.alpha, c.beta, a.v[j]);
        return y;
    }
    if (c.function == NM_DROPOUT) {
        uint4 w = nm_philox(p.position->seed, p.position->step, c.stream, i / 4);
        uint32_t words[4] = {w.x, w.y, w.z, w.w}, threshold = __float_as_uint(c.alpha);
        for (int j = 0; j < V; j++) {
            uint32_t word = V == 4 ? words[j] : (i & 2) != 0 ? ((i & 1) != 0 ? w.w : w.z) : ((i & 1) != 0 ? w.y : w.x);
            y.v[j] = word < threshold ? 0.0f : a.v[j] / c.beta;
        }
        return y;
    }
    nm_elements<V> b = nm_read(p, c.b, before, i);
    if (c.function == NM_WHERE) {
        nm_elements<V> other = nm_read(p, c.c, before, i);
        for (int j = 0; j < V; j++) y.v[j] = a.v[j] != 0 ? b.v[j] : other.v[j];
        return y;
    }
    if (c.function >= NM_SLOPE) {
        for (int j = 0; j < V; j++) y.v[j] = nm_backward(c.function - NM_SLOPE, c.alpha, c.beta, a.v[j], b.v[j]);
        return y;
    }
    for (int j = 0; j < V; j++) y.v[j] = nm_binary(c.function, a.v[j], b.v[j]);
    return y;
}

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
