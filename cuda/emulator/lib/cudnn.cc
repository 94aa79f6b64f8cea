// cuDNN as far as netmend uses it (cuda/cudnn/shim.h): a client of the emulated driver, like the real one. Convolutions are summed in double and rounded once.
// It is strict where NVIDIA's documentation lets a library do as it likes: the heuristic names algorithms first that must not be taken, which do not run; the workspace
// that an algorithm asks for is written to all over; there is no algorithm from one channel to one. Which major version it is, is a setting.
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "device.h"
#include "rounding.h"

#define API extern "C" __attribute__((visibility("default")))

using nm::Function;
using nm::Module;

API int cuModuleLoadDataEx(Module **module, const void *image, unsigned options, int *option, void **value);
API int cuModuleUnload(Module *m);
API int cuModuleGetFunction(Function **function, Module *m, const char *name);
API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, nm::Stream *s, void **params, void **extra);

namespace {

// Values of cudnn_graph.h and cudnn_ops.h.
enum { DATA_FLOAT = 0, TENSOR_NCHW = 0, CROSS_CORRELATION = 1, NON_DETERMINISTIC = 0, DETERMINISTIC = 1 };
enum { DEFAULT_MATH = 0, TENSOR_OP_MATH = 1, FMA_MATH = 3 };
enum { FWD_IMPLICIT_GEMM = 0, FWD_IMPLICIT_PRECOMP_GEMM = 1, FWD_GEMM = 2, FWD_FFT = 4, FWD_WINOGRAD = 6, BWD_0 = 0, BWD_1 = 1, BWD_WINOGRAD_NONFUSED = 5 };

struct Status {
    int v8, v9;
    const char *name;
    operator int() const { return nm::settings.cudnn < 10000 ? v8 : v9; }
};
constexpr Status OK = {0, 0, "CUDNN_STATUS_SUCCESS"}, NOT_INITIALIZED = {1, 1001, "CUDNN_STATUS_NOT_INITIALIZED"}, BAD_PARAM = {3, 2000, "CUDNN_STATUS_BAD_PARAM"},
                 EXECUTION_FAILED = {8, 5000, "CUDNN_STATUS_EXECUTION_FAILED"}, NOT_SUPPORTED = {9, 3000, "CUDNN_STATUS_NOT_SUPPORTED"};

struct Handle {
    Module *module;
    Function *function;
    nm::Stream *stream = nullptr;
};

// Tensor has axes n, c, z, y, x, of which z is 1 where there are four.
struct Tensor {
    int axes = 0;
    int64_t dim[5], stride[5];
};

struct Filter {
    int axes = 0;
    int64_t dim[5];
};

struct Conv {
    int axes = 0, math = DEFAULT_MATH;
    int64_t pad[3], stride[3], dilation[3], groups = 1;
};

enum { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };

// Shape is the kernel's parameter.
struct Shape {
    int64_t n, ci, co, groups, in[3], out[3], taps[3], pad[3], stride[3], dilation[3], x[5], y[5];  // x, y: the strides of the images
    int64_t workspace;                                                                              // floats
    int32_t kind, rounds;
};

bool fits(const Tensor *x, const Filter *w, const Conv *v, const Tensor *y, int kind, Shape *s) {
    if (x->axes == 0 || w->axes != x->axes || y->axes != x->axes || v->axes != x->axes - 2) return false;
    int64_t g = v->groups;
    if (x->dim[1] != w->dim[1] * g || y->dim[1] != w->dim[0] || w->dim[0] % g != 0 || x->dim[0] != y->dim[0]) return false;
    s->n = x->dim[0], s->ci = x->dim[1], s->co = y->dim[1], s->groups = g;
    for (int i = 0; i < 3; i++) {
        s->in[i] = x->dim[2 + i], s->out[i] = y->dim[2 + i], s->taps[i] = w->dim[2 + i], s->pad[i] = v->pad[i], s->stride[i] = v->stride[i], s->dilation[i] = v->dilation[i];
        if (s->out[i] != (s->in[i] + 2 * s->pad[i] - ((s->taps[i] - 1) * s->dilation[i] + 1)) / s->stride[i] + 1) return false;
    }
    memcpy(s->x, x->stride, sizeof s->x);
    memcpy(s->y, y->stride, sizeof s->y);
    s->kind = kind, s->rounds = v->math != FMA_MATH;
    return true;
}

// needs is the workspace of an algorithm in bytes, or -1 where the convolution has none.
int64_t needs(const Shape &s, int algo) {
    if (s.ci == 1 && s.co == 1) return -1;
    switch (s.kind) {
    case FORWARD: return algo == FWD_IMPLICIT_PRECOMP_GEMM ? 256 * s.co : algo == FWD_GEMM ? int64_t(1) << 33 : 0;
    case BACKWARD_DATA: return algo == BWD_1 ? 256 * s.ci : 0;
    case BACKWARD_FILTER: return algo == BWD_1 ? 64 * s.co : 0;
    }
    return -1;
}

// runs says that an algorithm is not one of those that must not be taken.
bool runs(int kind, int algo) { return kind == FORWARD ? algo == FWD_IMPLICIT_GEMM || algo == FWD_IMPLICIT_PRECOMP_GEMM : algo == BWD_1; }

// Perf is cudnnConvolutionFwdAlgoPerf_t.
struct Perf {
    int algo, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};

int heuristic(const Tensor *x, const Filter *w, const Conv *v, const Tensor *y, int kind, int most, int *count, Perf *perfs) {
    Shape s;
    *count = 0;
    if (most < 1 || !fits(x, w, v, y, kind, &s)) return BAD_PARAM;
    std::vector<Perf> list;
    auto name = [&](int algo, int determinism, int math) {
        int64_t bytes = needs(s, algo);
        list.push_back({algo, bytes < 0 ? NOT_SUPPORTED : OK, 1, (size_t)std::max<int64_t>(bytes, 0), determinism, math, {}});
    };
    if (kind == FORWARD) {
        list.push_back({FWD_FFT, NOT_SUPPORTED, -1, 0, DETERMINISTIC, v->math, {}});
        name(FWD_WINOGRAD, DETERMINISTIC, v->math);
        name(FWD_GEMM, DETERMINISTIC, v->math);
        name(FWD_IMPLICIT_GEMM, NON_DETERMINISTIC, v->math);
        if (v->math == FMA_MATH) name(FWD_IMPLICIT_PRECOMP_GEMM, DETERMINISTIC, TENSOR_OP_MATH);
        name(FWD_IMPLICIT_PRECOMP_GEMM, DETERMINISTIC, v->math);
        name(FWD_IMPLICIT_GEMM, DETERMINISTIC, v->math);
    } else {
        name(BWD_0, NON_DETERMINISTIC, v->math);
        name(BWD_WINOGRAD_NONFUSED, DETERMINISTIC, v->math);
        if (v->math == FMA_MATH) name(BWD_1, DETERMINISTIC, TENSOR_OP_MATH);
        name(BWD_1, DETERMINISTIC, v->math);
    }
    *count = (int)std::min(list.size(), (size_t)most);
    std::copy(list.begin(), list.begin() + *count, perfs);
    return OK;
}

int workspace(const Tensor *x, const Filter *w, const Conv *v, const Tensor *y, int kind, int algo, size_t *bytes) {
    Shape s;
    if (!fits(x, w, v, y, kind, &s)) return BAD_PARAM;
    int64_t n = needs(s, algo);
    if (n < 0) return NOT_SUPPORTED;
    *bytes = (size_t)n;
    return OK;
}

int run(Handle *h, const void *alpha, const Tensor *x_of, const float *x, const Filter *w_of, const float *w, const Conv *v, int algo, float *space, size_t bytes,
        const void *beta, const Tensor *y_of, const float *y, int kind) {
    Shape s;
    if (*(const float *)alpha != 1 || *(const float *)beta != 0 || !fits(x_of, w_of, v, y_of, kind, &s)) return BAD_PARAM;
    int64_t n = needs(s, algo);
    if (n < 0 || !runs(kind, algo)) return NOT_SUPPORTED;
    if ((int64_t)bytes < n || (n > 0 && space == nullptr) || h->stream == nullptr) return BAD_PARAM;
    for (const void *p : {(const void *)x, (const void *)w, (const void *)y, (const void *)space})
        if ((uintptr_t)p % 16 != 0) return BAD_PARAM;
    s.workspace = n / 4;
    int64_t outputs = kind == FORWARD ? s.n * s.co * s.out[0] * s.out[1] * s.out[2] : kind == BACKWARD_DATA ? s.n * s.ci * s.in[0] * s.in[1] * s.in[2]
                      : s.co * s.ci / s.groups * s.taps[0] * s.taps[1] * s.taps[2];
    void *params[] = {&x, &w, &y, &space, &s};
    unsigned blocks = (unsigned)std::min<int64_t>(1024, (outputs + 255) / 256);
    return cuLaunchKernel(h->function, blocks, 1, 1, 256, 1, 1, 0, h->stream, params, nullptr) == nm::SUCCESS ? OK : EXECUTION_FAILED;
}

float factor(float x, const Shape &s) { return s.rounds ? nm::keep(x, 10) : x; }

// split takes an index apart, of a shape whose last axes are extents.
struct Index {
    int64_t first, second, at[3];
};
Index split(int64_t i, int64_t seconds, const int64_t *extent) {
    Index r;
    for (int k = 2; k >= 0; k--) r.at[k] = i % extent[k], i /= extent[k];
    r.second = i % seconds, r.first = i / seconds;
    return r;
}

int64_t place(const int64_t *stride, int64_t n, int64_t c, const int64_t *at) {
    return n * stride[0] + c * stride[1] + at[0] * stride[2] + at[1] * stride[3] + at[2] * stride[4];
}

// across finds the place of the input that a tap reads for a place of the output; false: it is padding.
bool across(const Shape &s, const int64_t *out, const int64_t *tap, int64_t *in) {
    for (int k = 0; k < 3; k++) {
        in[k] = out[k] * s.stride[k] + tap[k] * s.dilation[k] - s.pad[k];
        if (in[k] < 0 || in[k] >= s.in[k]) return false;
    }
    return true;
}

// back finds the place of the output for which a tap reads a place of the input; false: there is none.
bool back(const Shape &s, const int64_t *in, const int64_t *tap, int64_t *out) {
    for (int k = 0; k < 3; k++) {
        int64_t t = in[k] + s.pad[k] - tap[k] * s.dilation[k];
        out[k] = t / s.stride[k];
        if (t < 0 || t % s.stride[k] != 0 || out[k] >= s.out[k]) return false;
    }
    return true;
}

}  // namespace

NM_KERNEL(cudnn_convolution, 256, float *x, float *w, float *y, float *workspace, Shape s) {
    int64_t first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = first; i < s.workspace; i += step) workspace[i] = NAN;
    int64_t cig = s.ci / s.groups, cog = s.co / s.groups, taps = s.taps[0] * s.taps[1] * s.taps[2], place_in[3], place_out[3];
    if (s.kind == FORWARD) {
        for (int64_t i = first; i < s.n * s.co * s.out[0] * s.out[1] * s.out[2]; i += step) {
            Index o = split(i, s.co, s.out);
            double sum = 0;
            for (int64_t t = 0; t < cig * taps; t++) {
                Index tap = split(t, cig, s.taps);
                if (across(s, o.at, tap.at, place_in))
                    sum += (double)factor(x[place(s.x, o.first, o.second / cog * cig + tap.second, place_in)], s) * factor(w[o.second * cig * taps + t], s);
            }
            y[place(s.y, o.first, o.second, o.at)] = (float)sum;
        }
    } else if (s.kind == BACKWARD_DATA) {
        for (int64_t i = first; i < s.n * s.ci * s.in[0] * s.in[1] * s.in[2]; i += step) {
            Index q = split(i, s.ci, s.in);
            double sum = 0;
            for (int64_t t = 0; t < cog * taps; t++) {
                Index tap = split(t, cog, s.taps);
                int64_t channel = q.second / cig * cog + tap.second;
                if (back(s, q.at, tap.at, place_out))
                    sum += (double)factor(y[place(s.y, q.first, channel, place_out)], s) * factor(w[(channel * cig + q.second % cig) * taps + t % taps], s);
            }
            x[place(s.x, q.first, q.second, q.at)] = (float)sum;
        }
    } else {
        for (int64_t i = first; i < s.co * cig * taps; i += step) {
            Index k = split(i, cig, s.taps);
            double sum = 0;
            for (int64_t t = 0; t < s.n * s.out[0] * s.out[1] * s.out[2]; t++) {
                Index o = split(t, s.n, s.out);
                if (across(s, o.at, k.at, place_in))
                    sum += (double)factor(y[place(s.y, o.second, k.first, o.at)], s) * factor(x[place(s.x, o.second, k.first / cog * cig + k.second, place_in)], s);
            }
            w[i] = (float)sum;
        }
    }
}

API size_t cudnnGetVersion() { return (size_t)nm::settings.cudnn; }
API const char *cudnnGetErrorString(int status) {
    for (const Status &s : {OK, NOT_INITIALIZED, BAD_PARAM, EXECUTION_FAILED, NOT_SUPPORTED})
        if (status == s) return s.name;
    return "CUDNN_STATUS_UNKNOWN";
}

API int cudnnCreate(Handle **handle) {
    Handle h{};
    if (cuModuleLoadDataEx(&h.module, "// cudnn", 0, nullptr, nullptr) != nm::SUCCESS) return NOT_INITIALIZED;
    if (cuModuleGetFunction(&h.function, h.module, "cudnn_convolution") != nm::SUCCESS) return NOT_INITIALIZED;
    *handle = new Handle(h);
    return OK;
}

API int cudnnDestroy(Handle *h) {
    int r = cuModuleUnload(h->module);
    delete h;
    return r == nm::SUCCESS ? OK : NOT_INITIALIZED;
}

API int cudnnSetStream(Handle *h, nm::Stream *stream) { return h->stream = stream, OK; }

API int cudnnCreateTensorDescriptor(Tensor **t) { return *t = new Tensor, OK; }
API int cudnnDestroyTensorDescriptor(Tensor *t) { return delete t, OK; }
API int cudnnSetTensorNdDescriptor(Tensor *t, int type, int axes, const int *dim, const int *stride) {
    if (type != DATA_FLOAT || axes < 4 || axes > 5) return BAD_PARAM;
    t->dim[2] = 1, t->stride[2] = 0;
    int64_t inner = 1;  // elements that the axes inside of one take: places that overlap have no defined value
    for (int i = axes - 1; i >= 0; i--) {
        if (dim[i] < 1 || stride[i] < inner) return BAD_PARAM;
        inner = (int64_t)stride[i] * dim[i];
        int to = i < 2 ? i : i + 5 - axes;
        t->dim[to] = dim[i], t->stride[to] = stride[i];
    }
    t->axes = axes;
    return OK;
}

API int cudnnCreateFilterDescriptor(Filter **w) { return *w = new Filter, OK; }
API int cudnnDestroyFilterDescriptor(Filter *w) { return delete w, OK; }
API int cudnnSetFilterNdDescriptor(Filter *w, int type, int format, int axes, const int *dim) {
    if (type != DATA_FLOAT || format != TENSOR_NCHW || axes < 4 || axes > 5) return BAD_PARAM;
    w->dim[2] = 1;
    for (int i = 0; i < axes; i++) {
        if (dim[i] < 1) return BAD_PARAM;
        w->dim[i < 2 ? i : i + 5 - axes] = dim[i];
    }
    w->axes = axes;
    return OK;
}

API int cudnnCreateConvolutionDescriptor(Conv **v) { return *v = new Conv, OK; }
API int cudnnDestroyConvolutionDescriptor(Conv *v) { return delete v, OK; }
API int cudnnSetConvolutionNdDescriptor(Conv *v, int axes, const int *pad, const int *stride, const int *dilation, int mode, int compute) {
    if (axes < 2 || axes > 3 || mode != CROSS_CORRELATION || compute != DATA_FLOAT) return BAD_PARAM;
    v->pad[0] = 0, v->stride[0] = v->dilation[0] = 1;
    for (int i = 0; i < axes; i++) {
        if (pad[i] < 0 || stride[i] < 1 || dilation[i] < 1) return BAD_PARAM;
        int to = i + 3 - axes;
        v->pad[to] = pad[i], v->stride[to] = stride[i], v->dilation[to] = dilation[i];
    }
    v->axes = axes;
    return OK;
}
API int cudnnSetConvolutionMathType(Conv *v, int math) {
    if (math != DEFAULT_MATH && math != TENSOR_OP_MATH && math != FMA_MATH) return BAD_PARAM;
    return v->math = math, OK;
}
API int cudnnSetConvolutionGroupCount(Conv *v, int groups) {
    if (groups < 1) return BAD_PARAM;
    return v->groups = groups, OK;
}

API int cudnnGetConvolutionForwardAlgorithm_v7(Handle *, Tensor *x, Filter *w, Conv *v, Tensor *y, int most, int *count, Perf *perfs) {
    return heuristic(x, w, v, y, FORWARD, most, count, perfs);
}
API int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *, Filter *w, Tensor *dy, Conv *v, Tensor *dx, int most, int *count, Perf *perfs) {
    return heuristic(dx, w, v, dy, BACKWARD_DATA, most, count, perfs);
}
API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *, Tensor *x, Tensor *dy, Conv *v, Filter *dw, int most, int *count, Perf *perfs) {
    return heuristic(x, dw, v, dy, BACKWARD_FILTER, most, count, perfs);
}

API int cudnnGetConvolutionForwardWorkspaceSize(Handle *, Tensor *x, Filter *w, Conv *v, Tensor *y, int algo, size_t *bytes) {
    return workspace(x, w, v, y, FORWARD, algo, bytes);
}
API int cudnnGetConvolutionBackwardDataWorkspaceSize(Handle *, Filter *w, Tensor *dy, Conv *v, Tensor *dx, int algo, size_t *bytes) {
    return workspace(dx, w, v, dy, BACKWARD_DATA, algo, bytes);
}
API int cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle *, Tensor *x, Tensor *dy, Conv *v, Filter *dw, int algo, size_t *bytes) {
    return workspace(x, dw, v, dy, BACKWARD_FILTER, algo, bytes);
}

API int cudnnConvolutionForward(Handle *h, const void *alpha, Tensor *x_of, const float *x, Filter *w_of, const float *w, Conv *v, int algo, void *space, size_t bytes,
                                const void *beta, Tensor *y_of, float *y) {
    return run(h, alpha, x_of, x, w_of, w, v, algo, (float *)space, bytes, beta, y_of, y, FORWARD);
}
API int cudnnConvolutionBackwardData(Handle *h, const void *alpha, Filter *w_of, const float *w, Tensor *dy_of, const float *dy, Conv *v, int algo, void *space,
                                     size_t bytes, const void *beta, Tensor *dx_of, float *dx) {
    return run(h, alpha, dx_of, dx, w_of, w, v, algo, (float *)space, bytes, beta, dy_of, dy, BACKWARD_DATA);
}
API int cudnnConvolutionBackwardFilter(Handle *h, const void *alpha, Tensor *x_of, const float *x, Tensor *dy_of, const float *dy, Conv *v, int algo, void *space,
                                       size_t bytes, const void *beta, Filter *dw_of, float *dw) {
    return run(h, alpha, x_of, x, dw_of, dw, v, algo, (float *)space, bytes, beta, dy_of, dy, BACKWARD_FILTER);
}
