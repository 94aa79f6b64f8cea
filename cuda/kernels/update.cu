// One step of an optimizer over any number of parameters in one launch, and running statistics with them: everything that writes state. The formulas
// are those of engine.RuleKind.
#include "functions.cuh"
#include "walk.cuh"

enum nm_rule_kind { NM_LINEAR, NM_ADAM, NM_ADAMAX, NM_RMSPROP, NM_ADAGRAD, NM_ADADELTA, NM_LERP };

struct nm_rule {
    float *p;
    const float *g, *coefs;
    float *slot[3];
    int32_t n, kind, momentum, max, centered;
    float b1, one_minus_b1, b2, one_minus_b2, eps_in, eps_out, l2;  // b1 and b2 are alpha and beta of NM_LERP
    double exact_b2;
};

// nm_changed is the parameter after the step; c are the coefficients.
__device__ __forceinline__ float nm_changed(const nm_rule &r, const float *c, float value, float g, float (&s)[3]) {
    if (r.kind == NM_LERP) return r.b1 * value + r.b2 * g;
    if (r.l2 != 0) g = fmaf(r.l2, value, g);
    float p = c[0] * value;
    switch (r.kind) {
    case NM_LINEAR:
        if (!r.momentum) return p - c[4] * g;
        s[0] = c[1] * s[0] + c[2] * g;
        return p - (c[3] * s[0] + c[4] * g);
    case NM_ADAM: {
        s[0] = r.b1 * s[0] + r.one_minus_b1 * g;
        s[1] = r.b2 * s[1] + r.one_minus_b2 * g * g;
        float v = s[1];
        if (r.max) v = s[2] = nm_max(s[2], v);
        return p - (c[1] * s[0] + c[2] * g) / (sqrtf(v) * c[3] + r.eps_out);
    }
    case NM_ADAMAX:
        s[0] = r.b1 * s[0] + r.one_minus_b1 * g;
        s[1] = nm_max(r.b2 * s[1], fabsf(g) + r.eps_in);
        return p - c[1] * s[0] / (s[1] + r.eps_out);
    case NM_RMSPROP: {  // in double: v - a*a cancels, and so may what is taken off the parameter
        double k = r.exact_b2, v = k * s[0] + (1 - k) * g * g;
        s[0] = (float)v;
        if (r.centered) {
            double a = k * s[1] + (1 - k) * g;
            s[1] = (float)a;
            v -= a * a;
        }
        double q = g / (sqrt(v + r.eps_in) + r.eps_out);
        if (r.momentum) {
            float &b = r.centered ? s[2] : s[1];
            q = (double)c[1] * b + c[2] * q;
            b = (float)q;
        }
        return (float)((double)c[0] * value - c[3] * q);
    }
    case NM_ADAGRAD:
        s[0] += g * g;
        return p - c[1] * g / (sqrtf(s[0] + r.eps_in) + r.eps_out);
    case NM_ADADELTA: {
        s[0] = r.b2 * s[0] + r.one_minus_b2 * g * g;
        float q = sqrtf(s[1] + r.eps_in) / sqrtf(s[0] + r.eps_in) * g;
        s[1] = r.b2 * s[1] + r.one_minus_b2 * q * q;
        return p - c[1] * q;
    }
    }
    return value;
}

__device__ __forceinline__ void nm_load4(float (&v)[4], const float *p) {
    float4 q = *reinterpret_cast<const float4 *>(p);
    v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
}

__device__ __forceinline__ void nm_save4(float *p, const float (&v)[4]) { *reinterpret_cast<float4 *>(p) = make_float4(v[0], v[1], v[2], v[3]); }

// update: blocks[i] names the rule of block i and its first element; a block takes 1024 elements. Tensors begin at multiples of 16 bytes and may be
// read and written up to the next one. 256 threads.
NM_KERNEL(update, 256, const nm_rule *rules, const int2 *blocks) {
    int2 mine = blocks[blockIdx.x];
    const nm_rule r = rules[mine.x];
    int32_t i = mine.y + threadIdx.x * 4;
    if (i >= r.n) return;
    float c[5] = {}, p[4], g[4], s[3][4] = {};
    if (r.coefs != nullptr)
        for (int k = 0; k < 5; k++) c[k] = r.coefs[k];
    nm_load4(p, r.p + i);
    nm_load4(g, r.g + i);
    for (int k = 0; k < 3; k++)
        if (r.slot[k] != nullptr) nm_load4(s[k], r.slot[k] + i);
    for (int j = 0; j < 4; j++) {
        float of[3] = {s[0][j], s[1][j], s[2][j]};
        p[j] = nm_changed(r, c, p[j], g[j], of);
        for (int k = 0; k < 3; k++) s[k][j] = of[k];
    }
    nm_save4(r.p + i, p);
    for (int k = 0; k < 3; k++)
        if (r.slot[k] != nullptr) nm_save4(r.slot[k] + i, s[k]);
}
