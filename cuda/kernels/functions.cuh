// The elementwise functions of package engine, one switch for all kernels that apply them. The formulas are those of engine/op.go; what they do at
// kinks and at values that are not finite is what engine/reference does.
#pragma once

#include "common.cuh"

// The numbers are those of cuda/codes.go, whose test reads them here.
enum nm_function {
    NM_COPY,
    NM_FILL,
    NM_NEG,
    NM_ABS,
    NM_SIGN,
    NM_EXP,
    NM_LOG,
    NM_SQRT,
    NM_RECIPROCAL,
    NM_SIN,
    NM_COS,
    NM_ASIN,
    NM_ACOS,
    NM_ATAN,
    NM_SINH,
    NM_ASINH,
    NM_ACOSH,
    NM_ATANH,
    NM_ERF,
    NM_AFFINE,
    NM_CLIP,
    NM_FLOOR,
    NM_RELU,
    NM_LEAKY_RELU,
    NM_ELU,
    NM_SELU,
    NM_CELU,
    NM_SIGMOID,
    NM_TANH,
    NM_SOFTPLUS,
    NM_SOFTSIGN,
    NM_HARD_SIGMOID,
    NM_HARD_SWISH,
    NM_THRESHOLDED_RELU,
    NM_GELU,
    NM_GELU_TANH,
    NM_SWISH,
    NM_MISH,
    NM_CAST_INT,
    NM_CAST_FLOAT,
    NM_ADD,
    NM_SUB,
    NM_MUL,
    NM_DIV,
    NM_POW,
    NM_MAX,
    NM_MIN,
    NM_GREATER,
    NM_GREATER_OR_EQUAL,
    NM_LESS,
    NM_LESS_OR_EQUAL,
    NM_EQUAL,
    NM_WHERE,
    NM_DROPOUT,
    NM_ONE_HOT,    // a == the element's number modulo the classes
    NM_FMA,        // a*b + c
    NM_NORMALIZE,  // a / sqrt(b + alpha)
    NM_SLOPE = 64,  // NM_SLOPE + f: dy * f'
};

#define NM_SQRT2_OVER_PI 0.797884560802865356f
#define NM_TWO_OVER_SQRT_PI 1.128379167095512574f
#define NM_INV_SQRT_2PI 0.398942280401432678f
#define NM_INV_SQRT2 0.707106781186547524f
#define NM_GELU_CUBIC 0.044715f  // Hendrycks and Gimpel 2016, section 2

// Maximum and minimum that pass NaN of either side on; fmaxf and fminf drop it.
__device__ __forceinline__ float nm_max(float a, float b) { return a != a || a > b ? a : b; }
__device__ __forceinline__ float nm_min(float a, float b) { return a != a || a < b ? a : b; }

__device__ __forceinline__ float nm_sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x < 0 ? e : 1.0f) / (1 + e);
}

__device__ __forceinline__ float nm_softplus(float x) { return nm_max(x, 0.0f) + log1pf(expf(-fabsf(x))); }
__device__ __forceinline__ float nm_sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }

// nm_to_int rounds towards zero and saturates; NaN gives 0.
__device__ __forceinline__ int32_t nm_to_int(float x) {
    if (x != x) return 0;
    if (x >= 2147483648.0f) return 2147483647;
    if (x <= -2147483648.0f) return -2147483647 - 1;
    return (int32_t)x;
}

__device__ __forceinline__ float nm_gelu_tanh_inner(float x) { return tanhf(NM_SQRT2_OVER_PI * (x + NM_GELU_CUBIC * x * x * x)); }

// nm_value is f(x) of a unary function with parameters a and b.
__device__ __forceinline__ float nm_value(int f, float a, float b, float x) {
    switch (f) {
    case NM_FILL: return a;
    case NM_NEG: return -x;
    case NM_ABS: return fabsf(x);
    case NM_SIGN: return nm_sign(x);
    case NM_EXP: return expf(x);
    case NM_LOG: return logf(x);
    case NM_SQRT: return sqrtf(x);
    case NM_RECIPROCAL: return 1 / x;
    case NM_SIN: return sinf(x);
    case NM_COS: return cosf(x);
    case NM_ASIN: return asinf(x);
    case NM_ACOS: return acosf(x);
    case NM_ATAN: return atanf(x);
    case NM_SINH: return sinhf(x);
    case NM_ASINH: return asinhf(x);
    case NM_ACOSH: return acoshf(x);
    case NM_ATANH: return atanhf(x);
    case NM_ERF: return erff(x);
    case NM_AFFINE: return fmaf(a, x, b);
    case NM_CLIP: return nm_min(nm_max(x, a), b);
    case NM_FLOOR: return floorf(x);
    case NM_RELU: return nm_max(x, 0.0f);
    case NM_LEAKY_RELU: return x < 0 ? a * x : x;
    case NM_ELU: return x < 0 ? a * expm1f(x) : x;
    case NM_SELU: return b * (x > 0 ? x : a * expm1f(x));
    case NM_CELU: return nm_max(x, 0.0f) + nm_min(a * expm1f(x / a), 0.0f);
    case NM_SIGMOID: return nm_sigmoid(x);
    case NM_TANH: return tanhf(x);
    case NM_SOFTPLUS: return nm_softplus(x);
    case NM_SOFTSIGN: return x / (1 + fabsf(x));
    case NM_HARD_SIGMOID: return nm_max(nm_min(fmaf(a, x, b), 1.0f), 0.0f);
    case NM_HARD_SWISH: return x * nm_max(nm_min(x / 6 + 0.5f, 1.0f), 0.0f);
    case NM_THRESHOLDED_RELU: return x > a ? x : 0.0f;
    case NM_GELU: return x / 2 * erfcf(-x * NM_INV_SQRT2);  // erfc keeps the digits that 1+erf loses in the left tail
    case NM_GELU_TANH: return x / 2 * (1 + nm_gelu_tanh_inner(x));
    case NM_SWISH: return x * nm_sigmoid(a * x);
    case NM_MISH: return x * tanhf(nm_softplus(x));
    case NM_CAST_INT: return __int_as_float(nm_to_int(x));
    case NM_CAST_FLOAT: return (float)__float_as_int(x);
    }
    return x;
}

// nm_slope is f'(r), r being y where engine.Fn.GradFromOutput says so, else x.
__device__ __forceinline__ float nm_slope(int f, float a, float b, float r) {
    switch (f) {
    case NM_NEG: return -1;
    case NM_ABS: return nm_sign(r);
    case NM_EXP: return r;
    case NM_LOG: return 1 / r;
    case NM_SQRT: return 0.5f / r;
    case NM_RECIPROCAL: return -r * r;
    case NM_SIN: return cosf(r);
    case NM_COS: return -sinf(r);
    case NM_ASIN: return 1 / sqrtf((1 - r) * (1 + r));
    case NM_ACOS: return -1 / sqrtf((1 - r) * (1 + r));
    case NM_ATAN: return 1 / fmaf(r, r, 1.0f);
    case NM_SINH: return coshf(r);
    case NM_ASINH: return 1 / hypotf(1, r);
    case NM_ACOSH: return 1 / sqrtf((r - 1) * (r + 1));
    case NM_ATANH: return 1 / ((1 - r) * (1 + r));
    case NM_ERF: return NM_TWO_OVER_SQRT_PI * expf(-r * r);
    case NM_AFFINE: return a;
    case NM_CLIP: return r >= a && r <= b ? 1.0f : 0.0f;
    case NM_RELU: return r <= 0 ? 0.0f : 1.0f;
    case NM_LEAKY_RELU: return r > 0 ? 1.0f : a;
    case NM_ELU: return r > 0 ? 1.0f : a * expf(r);
    case NM_SELU: return r > 0 ? b : b * a * expf(r);
    case NM_CELU: return r > 0 ? 1.0f : expf(r / a);
    case NM_SIGMOID: return r * (1 - r);
    case NM_TANH: return 1 - r * r;
    case NM_SOFTPLUS: return nm_sigmoid(r);
    case NM_SOFTSIGN: return 1 / ((1 + fabsf(r)) * (1 + fabsf(r)));
    case NM_HARD_SIGMOID: {
        float y = fmaf(a, r, b);
        return y > 0 && y < 1 ? a : 0.0f;
    }
    case NM_HARD_SWISH: return r <= -3 ? 0.0f : r >= 3 ? 1.0f : r / 3 + 0.5f;
    case NM_THRESHOLDED_RELU: return r > a ? 1.0f : 0.0f;
    case NM_GELU: return fmaf(r * NM_INV_SQRT_2PI, expf(-r * r / 2), 0.5f * erfcf(-r * NM_INV_SQRT2));
    case NM_GELU_TANH: {
        float t = nm_gelu_tanh_inner(r);
        return 0.5f * (1 + t) + 0.5f * r * (1 - t * t) * NM_SQRT2_OVER_PI * (1 + 3 * NM_GELU_CUBIC * r * r);
    }
    case NM_SWISH: {
        float s = nm_sigmoid(a * r);
        return fmaf(a * r * s, 1 - s, s);
    }
    case NM_MISH: {
        float t = tanhf(nm_softplus(r));
        return fmaf(r * nm_sigmoid(r), 1 - t * t, t);
    }
    }
    return 1;
}

// nm_gates says that nothing passes where f is flat, whatever dy is.
__device__ __forceinline__ bool nm_gates(int f) {
    return f == NM_RELU || f == NM_CLIP || f == NM_HARD_SIGMOID || f == NM_THRESHOLDED_RELU || f == NM_HARD_SWISH;
}

__device__ __forceinline__ float nm_backward(int f, float a, float b, float dy, float r) {
    float d = nm_slope(f, a, b, r);
    return nm_gates(f) && d == 0 ? 0.0f : dy * d;
}

__device__ __forceinline__ float nm_binary(int f, float a, float b) {
    switch (f) {
    case NM_ADD: return a + b;
    case NM_SUB: return a - b;
    case NM_MUL: return a * b;
    case NM_DIV: return a / b;
    case NM_POW: return powf(a, b);
    case NM_MAX: return nm_max(a, b);
    case NM_MIN: return nm_min(a, b);
    case NM_GREATER: return a > b ? 1.0f : 0.0f;
    case NM_GREATER_OR_EQUAL: return a >= b ? 1.0f : 0.0f;
    case NM_LESS: return a < b ? 1.0f : 0.0f;
    case NM_LESS_OR_EQUAL: return a <= b ? 1.0f : 0.0f;
    case NM_EQUAL: return a == b ? 1.0f : 0.0f;
    }
    return a;
}

// nm_philox is engine.Philox.
__device__ __forceinline__ uint4 nm_philox(uint64_t seed, uint64_t step, uint32_t stream, uint32_t block) {
    uint32_t c0 = block, c1 = stream, c2 = (uint32_t)step, c3 = (uint32_t)(step >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int i = 0; i < 10; i++) {
        uint32_t h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0, h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}
