// Recurrent layers and their gradients: see engine.CellKind for the formulas. A block runs a few sequences through all steps, their states in shared
// memory; the product with R is the only thing that a step reads much of, and serves all sequences of the block.
#include "functions.cuh"
#include "walk.cuh"

enum nm_cell { NM_RNN, NM_GRU, NM_LSTM };

struct nm_recurrence {
    int32_t kind, gates, reverse, linear;  // linear: Cell.ResetLinearly
    int32_t steps, batch, hidden;
    const float *x, *r, *turned, *bias, *h0, *c0, *peepholes, *lens;  // turned: R transposed
    float *y, *last_h, *last_c, *kept, *extra;                        // kept: the gates
    const float *dy, *d_last_h, *d_last_c;
    float *dx, *dh0, *dc0;
    float *before;  // ht-1 of every step, 0 where a sequence is over
    float *behind;  // GRU: r*ht-1, or with linear the candidate's gradient by what R gives
};

struct nm_sequences {
    const nm_recurrence &p;
    int first, count, width;
    __device__ __forceinline__ nm_sequences(const nm_recurrence &p, int first, int each) : p(p), first(first) {
        count = min(each, p.batch - first);
        width = p.gates * p.hidden;
    }
    __device__ __forceinline__ bool active(int t, int s) const {
        return t >= 0 && t < p.steps && (p.lens == nullptr || p.lens[first + s] > (float)t);
    }
    __device__ __forceinline__ int at(int k) const { return p.reverse ? p.steps - 1 - k : k; }
    // The place of a state before step t: in states, or -1 for the initial one.
    __device__ __forceinline__ int64_t before(int t, int s) const {
        int b = p.reverse ? t + 1 : t - 1;
        return active(b, s) ? ((int64_t)b * p.batch + first + s) * p.hidden : -1;
    }
    __device__ __forceinline__ int64_t row(int t, int s) const { return (int64_t)t * p.batch + first + s; }
};

// nm_rows_times gives to(s, j, sum) the products of the rows [lo, hi) of R with v[s], S sequences at once.
template <int S, class To>
__device__ __forceinline__ void nm_rows_times(const nm_recurrence &p, const float *v, int lo, int hi, int width, int count, To to) {
    for (int j = lo + threadIdx.x; j < hi; j += blockDim.x) {
        float sum[S] = {};
        const float *r = p.turned + j;
#pragma unroll 4
        for (int k = 0; k < p.hidden; k++) {
            float w = r[(int64_t)k * width];
#pragma unroll
            for (int s = 0; s < S; s++) sum[s] = fmaf(v[s * p.hidden + k], w, sum[s]);
        }
#pragma unroll
        for (int s = 0; s < S; s++)
            if (s < count) to(s, j, sum[s]);
    }
}

__device__ __forceinline__ float nm_look(const nm_recurrence &p, int i, int j, float state) {
    return p.peepholes != nullptr ? p.peepholes[i * p.hidden + j] * state : 0.0f;
}

// Shared memory: S * hidden each of h, c and r*h, S * width of gates.
template <int S> __device__ __forceinline__ void nm_recurrent(const nm_recurrence &p) {
    NM_DYNAMIC_SHARED(float, memory);
    nm_sequences q(p, blockIdx.x * S, S);
    const int H = p.hidden, W = q.width;
    float *h = memory, *c = h + S * H, *rh = c + S * H, *a = rh + S * H;
    for (int i = threadIdx.x; i < S * H; i += blockDim.x) {
        bool there = i / H < q.count;
        h[i] = there ? p.h0[q.first * H + i] : 0.0f;
        c[i] = there && p.c0 != nullptr ? p.c0[q.first * H + i] : 0.0f;
        rh[i] = 0;
    }
    __syncthreads();
    bool late = p.kind == NM_GRU && !p.linear;  // the candidate waits for the reset
    for (int k = 0; k < p.steps; k++) {
        int t = q.at(k);
        nm_rows_times<S>(p, h, 0, late ? 2 * H : W, W, q.count, [&](int s, int j, float sum) {
            bool candidate = p.linear && j >= 2 * H;
            float add = candidate ? (p.bias != nullptr ? p.bias[j - 2 * H] : 0.0f) : p.x[q.row(t, s) * W + j];
            a[s * W + j] = sum + add;
        });
        __syncthreads();
        if (late) {
            for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) rh[i] = nm_sigmoid(a[i / H * W + H + i % H]) * h[i];
            __syncthreads();
            nm_rows_times<S>(p, rh, 2 * H, W, W, q.count, [&](int s, int j, float sum) { a[s * W + j] = sum + p.x[q.row(t, s) * W + j]; });
            __syncthreads();
        }
        for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) {
            int s = i / H, j = i % H;
            int64_t row = q.row(t, s);
            bool on = q.active(t, s);
            float *g = a + s * W + j, out = 0, extra = 0;
            float gate[4] = {};
            if (on) {
                switch (p.kind) {
                case NM_RNN: out = tanhf(g[0]); break;
                case NM_GRU:
                    gate[0] = nm_sigmoid(g[0]);
                    gate[1] = nm_sigmoid(g[H]);
                    extra = g[2 * H];
                    gate[2] = p.linear ? tanhf(p.x[row * W + 2 * H + j] + gate[1] * extra) : tanhf(g[2 * H]);
                    out = (1 - gate[0]) * gate[2] + gate[0] * h[i];
                    break;
                case NM_LSTM:
                    gate[0] = nm_sigmoid(g[0] + nm_look(p, 0, j, c[i]));
                    gate[2] = nm_sigmoid(g[2 * H] + nm_look(p, 2, j, c[i]));
                    gate[3] = tanhf(g[3 * H]);
                    extra = c[i] = gate[2] * c[i] + gate[0] * gate[3];
                    gate[1] = nm_sigmoid(g[H] + nm_look(p, 1, j, extra));
                    out = gate[1] * tanhf(extra);
                }
                h[i] = out;
            }
            p.y[row * H + j] = out;
            if (p.kept != nullptr)
                for (int m = 0; m < p.gates; m++) p.kept[row * W + m * H + j] = gate[m];
            if (p.extra != nullptr) p.extra[row * H + j] = extra;
        }
        __syncthreads();
    }
    for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) {
        p.last_h[q.first * H + i] = h[i];
        if (p.last_c != nullptr) p.last_c[q.first * H + i] = c[i];
    }
}

// nm_columns_times adds to dh[s] the products of d[s] with the columns of the rows [lo, hi) of R; d begins with row lo.
template <int S, class To>
__device__ __forceinline__ void nm_columns_times(const nm_recurrence &p, const float *d, int stride, int lo, int hi, int count, To to) {
    for (int k = threadIdx.x; k < p.hidden; k += blockDim.x) {
        float sum[S] = {};
#pragma unroll 4
        for (int j = lo; j < hi; j++) {
            float w = p.r[(int64_t)j * p.hidden + k];
#pragma unroll
            for (int s = 0; s < S; s++) sum[s] = fmaf(d[s * stride + j], w, sum[s]);
        }
#pragma unroll
        for (int s = 0; s < S; s++)
            if (s < count) to(s, k, sum[s]);
    }
}

// The gradient by what goes into the gates of one unit, but for a GRU's reset where it waits. dh and dc are those by ht and ct; what of them passes on
// by other ways than R is what they become.
__device__ __forceinline__ void nm_unit_grad(const nm_recurrence &p, const float *gate, float y, float h, float now, float c, int j, float &dh, float &dc,
                                             float (&d)[4]) {
    switch (p.kind) {
    case NM_RNN:
        d[0] = dh * (1 - y * y);
        dh = 0;
        break;
    case NM_GRU:
        d[0] = dh * (h - gate[2]) * gate[0] * (1 - gate[0]);
        d[2] = dh * (1 - gate[0]) * (1 - gate[2] * gate[2]);
        if (p.linear) d[1] = d[2] * now * gate[1] * (1 - gate[1]);
        dh *= gate[0];
        break;
    case NM_LSTM: {
        float t = tanhf(now);
        d[1] = dh * t * gate[1] * (1 - gate[1]);
        float dcj = dc + dh * gate[1] * (1 - t * t) + nm_look(p, 1, j, d[1]);
        d[0] = dcj * gate[3] * gate[0] * (1 - gate[0]);
        d[2] = dcj * c * gate[2] * (1 - gate[2]);
        d[3] = dcj * gate[0] * (1 - gate[3] * gate[3]);
        dc = dcj * gate[2] + nm_look(p, 0, j, d[0]) + nm_look(p, 2, j, d[2]);
        dh = 0;
    }
    }
}

// Shared memory: S * hidden each of dh, dc and a product, S * width of d.
template <int S> __device__ __forceinline__ void nm_recurrent_grad(const nm_recurrence &p) {
    NM_DYNAMIC_SHARED(float, memory);
    nm_sequences q(p, blockIdx.x * S, S);
    const int H = p.hidden, W = q.width;
    float *dh = memory, *dc = dh + S * H, *product = dc + S * H, *d = product + S * H;
    for (int i = threadIdx.x; i < S * H; i += blockDim.x) {
        bool there = i / H < q.count;
        dh[i] = there && p.d_last_h != nullptr ? p.d_last_h[q.first * H + i] : 0.0f;
        dc[i] = there && p.d_last_c != nullptr ? p.d_last_c[q.first * H + i] : 0.0f;
    }
    for (int i = threadIdx.x; i < S * W; i += blockDim.x) d[i] = 0;
    __syncthreads();
    bool late = p.kind == NM_GRU && !p.linear;
    for (int k = p.steps - 1; k >= 0; k--) {
        int t = q.at(k);
        for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) {
            int s = i / H, j = i % H;
            int64_t row = q.row(t, s), before = q.before(t, s);
            float of[4] = {}, h = 0, behind = 0;
            if (q.active(t, s)) {
                float gate[4] = {}, now = p.extra != nullptr ? p.extra[row * H + j] : 0.0f, c = 0, y = p.kind == NM_RNN ? p.y[row * H + j] : 0.0f;
                if (p.kept != nullptr)
                    for (int m = 0; m < p.gates; m++) gate[m] = p.kept[row * W + m * H + j];
                h = before >= 0 ? p.y[before + j] : p.h0[q.first * H + i];
                if (p.kind == NM_LSTM) c = before >= 0 ? p.extra[before + j] : p.c0[q.first * H + i];
                if (p.dy != nullptr) dh[i] += p.dy[row * H + j];
                nm_unit_grad(p, gate, y, h, now, c, j, dh[i], dc[i], of);
                behind = p.linear ? of[2] * gate[1] : gate[1] * h;
            }
            for (int m = 0; m < p.gates; m++) {
                d[s * W + m * H + j] = of[m];
                p.dx[row * W + m * H + j] = of[m];
            }
            p.before[row * H + j] = h;
            if (p.behind != nullptr) p.behind[row * H + j] = behind;
            if (p.linear) d[s * W + 2 * H + j] = behind;  // what the candidate's rows of R see
        }
        __syncthreads();
        if (late) {
            nm_columns_times<S>(p, d, W, 2 * H, W, q.count, [&](int s, int j, float sum) { product[s * H + j] = sum; });
            __syncthreads();
            for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) {
                int s = i / H, j = i % H;
                if (!q.active(t, s)) continue;
                int64_t row = q.row(t, s), before = q.before(t, s);
                float r = p.kept[row * W + H + j], h = before >= 0 ? p.y[before + j] : p.h0[q.first * H + i];
                float dr = product[i] * h * r * (1 - r);
                d[s * W + H + j] = dr;
                p.dx[row * W + H + j] = dr;
                dh[i] += product[i] * r;
            }
            __syncthreads();
        }
        nm_columns_times<S>(p, d, W, 0, late ? 2 * H : W, q.count, [&](int s, int j, float sum) {
            if (q.active(t, s)) dh[s * H + j] += sum;
        });
        __syncthreads();
    }
    for (int i = threadIdx.x; i < q.count * H; i += blockDim.x) {
        p.dh0[q.first * H + i] = dh[i];
        if (p.dc0 != nullptr) p.dc0[q.first * H + i] = dc[i];
    }
}

// recurrent_S, recurrent_grad_S: S sequences to a block. Grid (batch/S), any block of one dimension.
NM_KERNEL(recurrent_1, 512, const nm_recurrence p) { nm_recurrent<1>(p); }
NM_KERNEL(recurrent_4, 512, const nm_recurrence p) { nm_recurrent<4>(p); }
NM_KERNEL(recurrent_grad_1, 512, const nm_recurrence p) { nm_recurrent_grad<1>(p); }
NM_KERNEL(recurrent_grad_4, 512, const nm_recurrence p) { nm_recurrent_grad<4>(p); }

// recurrent_peepholes: out[i][j] = the sum over steps and sequences of dx of gate i times the state that it looks at: that after the step for o (i = 1),
// that before it for the others. Grid (3 * hidden), blocks of whole warps.
NM_KERNEL(recurrent_peepholes, 256, const nm_recurrence p, float *out) {
    nm_sequences q(p, 0, p.batch);
    int gate = blockIdx.x / p.hidden, j = blockIdx.x % p.hidden;
    float sum = 0;
    for (int i = threadIdx.x; i < p.steps * p.batch; i += blockDim.x) {
        int t = i / p.batch, s = i % p.batch;
        if (!q.active(t, s)) continue;
        float state = p.extra[(int64_t)i * p.hidden + j];
        if (gate != 1) {
            int64_t before = q.before(t, s);
            state = before >= 0 ? p.extra[before + j] : p.c0[s * p.hidden + j];
        }
        sum = fmaf(p.dx[(int64_t)i * q.width + gate * p.hidden + j], state, sum);
    }
    sum = nm_block_sum(sum);
    if (threadIdx.x == 0) out[gate * p.hidden + j] = sum;
}
