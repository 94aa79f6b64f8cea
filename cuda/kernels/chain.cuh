// A chain of elementwise instructions: every one takes the result of the one before it, elements of tensors in memory, or both. Broadcasting, transposing
// and slicing are ways of reading an operand. elementwise.cu runs chains by themselves; kernels that read a tensor element by element may run the
// chain that makes it instead.
#pragma once

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
    uint32_t stream;  // of NM_DROPOUT, whose threshold is alpha's bits and whose divisor is beta; the classes of NM_ONE_HOT
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
    if (c.function == NM_ONE_HOT) {
        for (int j = 0; j < V; j++) y.v[j] = __float_as_uint(a.v[j]) == (i + j) % c.stream ? 1.0f : 0.0f;
        return y;
    }
    nm_elements<V> b = nm_read(p, c.b, before, i);
    if (c.function == NM_NORMALIZE) {
        for (int j = 0; j < V; j++) y.v[j] = a.v[j] / sqrtf(b.v[j] + c.alpha);
        return y;
    }
    if (c.function == NM_WHERE || c.function == NM_FMA) {
        nm_elements<V> third = nm_read(p, c.c, before, i);
        for (int j = 0; j < V; j++) {
            y.v[j] = c.function == NM_FMA ? fmaf(a.v[j], b.v[j], third.v[j]) : a.v[j] != 0 ? b.v[j] : third.v[j];
        }
        return y;
    }
    if (c.function >= NM_SLOPE) {
        for (int j = 0; j < V; j++) y.v[j] = nm_backward(c.function - NM_SLOPE, c.alpha, c.beta, a.v[j], b.v[j]);
        return y;
    }
    for (int j = 0; j < V; j++) y.v[j] = nm_binary(c.function, a.v[j], b.v[j]);
    return y;
}

// nm_chain_value is the result of a chain for one element.
__device__ __forceinline__ float nm_chain_value(const nm_chain &p, uint32_t i) {
    nm_elements<1> y = {};
    for (int k = 0; k < p.count; k++) y = nm_apply<1>(p, p.code[k], y, i);
    return y.v[0];
}
