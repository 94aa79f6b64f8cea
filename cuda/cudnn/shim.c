//go:build linux

#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>

int nm_dnn_open(const char *path, nm_dnn_calls *calls, char *reason, size_t length) {
    // Never closed, like the driver.
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(reason, length, "%s", dlerror());
        return 1;
    }
    const char *missing = NULL;
#define X(result, name, params)                     \
    *(void **)&calls->name = dlsym(library, #name); \
    if (calls->name == NULL && missing == NULL) missing = #name;
    NM_DNN_CALLS(X)
#undef X
    if (missing != NULL) {
        snprintf(reason, length, "%s", missing);
        return 2;
    }
    return 0;
}

size_t nm_dnn_version(const nm_dnn_calls *c) { return c->cudnnGetVersion(); }

const char *nm_dnn_status(const nm_dnn_calls *c, cudnnStatus_t status) { return c->cudnnGetErrorString(status); }

static const nm_dnn_result done = {CUDNN_STATUS_SUCCESS, ""};

// TRY returns from the function when the call fails.
#define TRY(call, ...)                                                        \
    do {                                                                      \
        cudnnStatus_t code_ = c->call(__VA_ARGS__);                           \
        if (code_ != CUDNN_STATUS_SUCCESS) return (nm_dnn_result){code_, #call}; \
    } while (0)

nm_dnn_result nm_dnn_create(const nm_dnn_calls *c, cudnnHandle_t *handle) {
    TRY(cudnnCreate, handle);
    return done;
}

nm_dnn_result nm_dnn_destroy(const nm_dnn_calls *c, cudnnHandle_t handle) {
    TRY(cudnnDestroy, handle);
    return done;
}

// shape is a tensor's, without the axis z where no tensor of the convolution has one: cuDNN has convolutions of two axes and of three.
static void shape(int *dim, int first, int second, const int *extent, int axes) {
    dim[0] = first, dim[1] = second;
    for (int i = 0; i < axes; i++) dim[2 + i] = extent[3 - axes + i];
}

static nm_dnn_result tensor(const nm_dnn_calls *c, cudnnTensorDescriptor_t *to, int n, int channels, const int *extent, int axes) {
    int dim[5], stride[5], dims = axes + 2;
    shape(dim, n, channels, extent, axes);
    stride[dims - 1] = 1;
    for (int i = dims - 2; i >= 0; i--) stride[i] = stride[i + 1] * dim[i + 1];
    TRY(cudnnCreateTensorDescriptor, to);
    TRY(cudnnSetTensorNdDescriptor, *to, CUDNN_DATA_FLOAT, dims, dim, stride);
    return done;
}

static nm_dnn_result describe(const nm_dnn_calls *c, const nm_dnn_convolution *v, nm_dnn_plan *plan) {
    int axes = v->in[0] == 1 && v->out[0] == 1 && v->kernel[0] == 1 && v->pad[0] == 0 ? 2 : 3, skip = 3 - axes, dim[5];
    nm_dnn_result r = tensor(c, &plan->x, v->n, v->ci, v->in, axes);
    if (r.code == CUDNN_STATUS_SUCCESS) r = tensor(c, &plan->y, v->n, v->co, v->out, axes);
    if (r.code != CUDNN_STATUS_SUCCESS) return r;
    shape(dim, v->co, v->ci / v->groups, v->kernel, axes);
    TRY(cudnnCreateFilterDescriptor, &plan->w);
    TRY(cudnnSetFilterNdDescriptor, plan->w, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, axes + 2, dim);
    TRY(cudnnCreateConvolutionDescriptor, &plan->conv);
    TRY(cudnnSetConvolutionNdDescriptor, plan->conv, axes, v->pad + skip, v->stride + skip, v->dilation + skip, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    TRY(cudnnSetConvolutionGroupCount, plan->conv, v->groups);
    TRY(cudnnSetConvolutionMathType, plan->conv, v->math);
    return done;
}

enum { most = 32 };  // entries of the heuristic's list: there are at most eight algorithms, each with two or three kinds of arithmetic

static nm_dnn_result heuristic(const nm_dnn_calls *c, cudnnHandle_t h, const nm_dnn_plan *p, int *count, nm_dnn_perf *perfs) {
    switch (p->what) {
    case NM_DNN_FORWARD: TRY(cudnnGetConvolutionForwardAlgorithm_v7, h, p->x, p->w, p->conv, p->y, most, count, perfs); break;
    case NM_DNN_BACKWARD_DATA: TRY(cudnnGetConvolutionBackwardDataAlgorithm_v7, h, p->w, p->y, p->conv, p->x, most, count, perfs); break;
    case NM_DNN_BACKWARD_FILTER: TRY(cudnnGetConvolutionBackwardFilterAlgorithm_v7, h, p->x, p->y, p->conv, p->w, most, count, perfs); break;
    }
    return done;
}

static nm_dnn_result workspace(const nm_dnn_calls *c, cudnnHandle_t h, const nm_dnn_plan *p, size_t *bytes) {
    switch (p->what) {
    case NM_DNN_FORWARD: TRY(cudnnGetConvolutionForwardWorkspaceSize, h, p->x, p->w, p->conv, p->y, p->algo, bytes); break;
    case NM_DNN_BACKWARD_DATA: TRY(cudnnGetConvolutionBackwardDataWorkspaceSize, h, p->w, p->y, p->conv, p->x, p->algo, bytes); break;
    case NM_DNN_BACKWARD_FILTER: TRY(cudnnGetConvolutionBackwardFilterWorkspaceSize, h, p->x, p->y, p->conv, p->w, p->algo, bytes); break;
    }
    return done;
}

// sums says that an algorithm adds up the products themselves. Those that go by a Fourier or a Winograd transform do not: one Inf or NaN makes the results around it
// NaN, and the rounding errors are those of the largest number of a tile.
static int sums(int what, int algo) {
    switch (what) {
    case NM_DNN_FORWARD:
        return algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM || algo == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM || algo == CUDNN_CONVOLUTION_FWD_ALGO_GEMM ||
               algo == CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
    case NM_DNN_BACKWARD_DATA: return algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
    case NM_DNN_BACKWARD_FILTER: return algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
    }
    return 0;
}

// allowed says that an arithmetic rounds no more than was asked for. The one that may convert to float16 never does.
static int allowed(int asked, int math) {
    return math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH || (math == CUDNN_TENSOR_OP_MATH && asked == CUDNN_TENSOR_OP_MATH);
}

nm_dnn_result nm_dnn_make(const nm_dnn_calls *c, cudnnHandle_t handle, const nm_dnn_convolution *v, nm_dnn_plan *plan, int *found) {
    nm_dnn_perf perfs[most] = {0};
    int count = 0;
    *found = 0;
    plan->what = v->what;
    nm_dnn_result r = describe(c, v, plan);
    if (r.code == CUDNN_STATUS_SUCCESS) r = heuristic(c, handle, plan, &count, perfs);
    if (r.code != CUDNN_STATUS_SUCCESS) return r;
    for (int i = 0; i < count; i++) {
        const nm_dnn_perf *p = &perfs[i];
        if (p->status != CUDNN_STATUS_SUCCESS || p->determinism != CUDNN_DETERMINISTIC || p->memory > v->workspace || !sums(v->what, p->algo) || !allowed(v->math, p->mathType))
            continue;
        // The default arithmetic is that of tensor cores where there are any: float32 stays with the one without.
        TRY(cudnnSetConvolutionMathType, plan->conv, v->math == CUDNN_FMA_MATH ? CUDNN_FMA_MATH : p->mathType);
        plan->algo = p->algo;
        if (workspace(c, handle, plan, &plan->workspace).code == CUDNN_STATUS_SUCCESS && plan->workspace <= v->workspace) {
            *found = 1;
            return done;
        }
    }
    return done;
}

void nm_dnn_free(const nm_dnn_calls *c, nm_dnn_plan *plan) {
    if (plan->x != NULL) c->cudnnDestroyTensorDescriptor(plan->x);
    if (plan->y != NULL) c->cudnnDestroyTensorDescriptor(plan->y);
    if (plan->w != NULL) c->cudnnDestroyFilterDescriptor(plan->w);
    if (plan->conv != NULL) c->cudnnDestroyConvolutionDescriptor(plan->conv);
    *plan = (nm_dnn_plan){0};
}

nm_dnn_result nm_dnn_run(const nm_dnn_calls *c, cudnnHandle_t h, const nm_dnn_plan *p, uint64_t x_at, uint64_t w_at, uint64_t y_at, uint64_t workspace_at, cudaStream_t stream) {
    const float one = 1, zero = 0;
    void *x = (void *)(uintptr_t)x_at, *w = (void *)(uintptr_t)w_at, *y = (void *)(uintptr_t)y_at, *space = (void *)(uintptr_t)workspace_at;
    TRY(cudnnSetStream, h, stream);
    switch (p->what) {
    case NM_DNN_FORWARD: TRY(cudnnConvolutionForward, h, &one, p->x, x, p->w, w, p->conv, p->algo, space, p->workspace, &zero, p->y, y); break;
    case NM_DNN_BACKWARD_DATA: TRY(cudnnConvolutionBackwardData, h, &one, p->w, w, p->y, y, p->conv, p->algo, space, p->workspace, &zero, p->x, x); break;
    case NM_DNN_BACKWARD_FILTER: TRY(cudnnConvolutionBackwardFilter, h, &one, p->x, x, p->y, y, p->conv, p->algo, space, p->workspace, &zero, p->w, w); break;
    }
    return done;
}
