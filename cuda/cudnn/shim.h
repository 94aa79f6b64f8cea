// The part of cuDNN that netmend uses, as function pointers that nm_dnn_open fills from a library: the API that both 8 and 9 have. Prototypes and values are those of
// NVIDIA's documentation, so that the build needs no header of NVIDIA's; TestPrototypes holds them against cudnn.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int cudnnStatus_t;
typedef struct cudnnContext *cudnnHandle_t;
typedef struct cudnnTensorStruct *cudnnTensorDescriptor_t;
typedef struct cudnnFilterStruct *cudnnFilterDescriptor_t;
typedef struct cudnnConvolutionStruct *cudnnConvolutionDescriptor_t;
typedef struct CUstream_st *cudaStream_t;

// nm_dnn_perf is cudnnConvolutionFwdAlgoPerf_t and those of the gradients, which differ in the enumeration of algo.
typedef struct {
    int algo;
    cudnnStatus_t status;
    float time;
    size_t memory;
    int determinism;
    int mathType;
    int reserved[3];
} nm_dnn_perf;

enum {
    CUDNN_STATUS_SUCCESS = 0,
    CUDNN_8_STATUS_NOT_SUPPORTED = 9,
    CUDNN_9_STATUS_NOT_SUPPORTED = 3000,  // and 999 more, which say why
    CUDNN_9_STATUS_INTERNAL_ERROR = 4000,

    CUDNN_DATA_FLOAT = 0,
    CUDNN_TENSOR_NCHW = 0,
    CUDNN_CROSS_CORRELATION = 1,
    CUDNN_DETERMINISTIC = 1,

    CUDNN_DEFAULT_MATH = 0,
    CUDNN_TENSOR_OP_MATH = 1,
    CUDNN_FMA_MATH = 3,

    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0,
    CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1,
    CUDNN_CONVOLUTION_FWD_ALGO_GEMM = 2,
    CUDNN_CONVOLUTION_FWD_ALGO_DIRECT = 3,
    CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 = 1,
    CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 = 1,
};

// NM_DNN_CALLS lists what must be there: result, name, parameters.
#define NM_DNN_CALLS(X)                                                                                                                                            \
    X(size_t, cudnnGetVersion, (void))                                                                                                                             \
    X(const char *, cudnnGetErrorString, (cudnnStatus_t status))                                                                                                   \
    X(cudnnStatus_t, cudnnCreate, (cudnnHandle_t * handle))                                                                                                        \
    X(cudnnStatus_t, cudnnDestroy, (cudnnHandle_t handle))                                                                                                         \
    X(cudnnStatus_t, cudnnSetStream, (cudnnHandle_t handle, cudaStream_t stream))                                                                                  \
    X(cudnnStatus_t, cudnnCreateTensorDescriptor, (cudnnTensorDescriptor_t * tensor))                                                                              \
    X(cudnnStatus_t, cudnnSetTensorNdDescriptor, (cudnnTensorDescriptor_t tensor, int type, int dims, const int *dim, const int *stride))                          \
    X(cudnnStatus_t, cudnnDestroyTensorDescriptor, (cudnnTensorDescriptor_t tensor))                                                                               \
    X(cudnnStatus_t, cudnnCreateFilterDescriptor, (cudnnFilterDescriptor_t * filter))                                                                              \
    X(cudnnStatus_t, cudnnSetFilterNdDescriptor, (cudnnFilterDescriptor_t filter, int type, int format, int dims, const int *dim))                                 \
    X(cudnnStatus_t, cudnnDestroyFilterDescriptor, (cudnnFilterDescriptor_t filter))                                                                               \
    X(cudnnStatus_t, cudnnCreateConvolutionDescriptor, (cudnnConvolutionDescriptor_t * conv))                                                                      \
    X(cudnnStatus_t, cudnnSetConvolutionNdDescriptor,                                                                                                              \
      (cudnnConvolutionDescriptor_t conv, int axes, const int *pad, const int *stride, const int *dilation, int mode, int compute))                                \
    X(cudnnStatus_t, cudnnSetConvolutionMathType, (cudnnConvolutionDescriptor_t conv, int math))                                                                   \
    X(cudnnStatus_t, cudnnSetConvolutionGroupCount, (cudnnConvolutionDescriptor_t conv, int groups))                                                               \
    X(cudnnStatus_t, cudnnDestroyConvolutionDescriptor, (cudnnConvolutionDescriptor_t conv))                                                                       \
    X(cudnnStatus_t, cudnnGetConvolutionForwardAlgorithm_v7,                                                                                                       \
      (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y, int most,         \
       int *count, nm_dnn_perf *perfs))                                                                                                                            \
    X(cudnnStatus_t, cudnnGetConvolutionBackwardDataAlgorithm_v7,                                                                                                  \
      (cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t dx, int most,       \
       int *count, nm_dnn_perf *perfs))                                                                                                                            \
    X(cudnnStatus_t, cudnnGetConvolutionBackwardFilterAlgorithm_v7,                                                                                                \
      (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t dw, int most,       \
       int *count, nm_dnn_perf *perfs))                                                                                                                            \
    X(cudnnStatus_t, cudnnGetConvolutionForwardWorkspaceSize,                                                                                                      \
      (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y, int algo,         \
       size_t *bytes))                                                                                                                                             \
    X(cudnnStatus_t, cudnnGetConvolutionBackwardDataWorkspaceSize,                                                                                                 \
      (cudnnHandle_t handle, cudnnFilterDescriptor_t w, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t dx, int algo,       \
       size_t *bytes))                                                                                                                                             \
    X(cudnnStatus_t, cudnnGetConvolutionBackwardFilterWorkspaceSize,                                                                                               \
      (cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t conv, cudnnFilterDescriptor_t dw, int algo,       \
       size_t *bytes))                                                                                                                                             \
    X(cudnnStatus_t, cudnnConvolutionForward,                                                                                                                      \
      (cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x_of, const void *x, cudnnFilterDescriptor_t w_of, const void *w,                          \
       cudnnConvolutionDescriptor_t conv, int algo, void *workspace, size_t bytes, const void *beta, cudnnTensorDescriptor_t y_of, void *y))                       \
    X(cudnnStatus_t, cudnnConvolutionBackwardData,                                                                                                                 \
      (cudnnHandle_t handle, const void *alpha, cudnnFilterDescriptor_t w_of, const void *w, cudnnTensorDescriptor_t dy_of, const void *dy,                        \
       cudnnConvolutionDescriptor_t conv, int algo, void *workspace, size_t bytes, const void *beta, cudnnTensorDescriptor_t dx_of, void *dx))                     \
    X(cudnnStatus_t, cudnnConvolutionBackwardFilter,                                                                                                               \
      (cudnnHandle_t handle, const void *alpha, cudnnTensorDescriptor_t x_of, const void *x, cudnnTensorDescriptor_t dy_of, const void *dy,                        \
       cudnnConvolutionDescriptor_t conv, int algo, void *workspace, size_t bytes, const void *beta, cudnnFilterDescriptor_t dw_of, void *dw))

typedef struct {
#define X(result, name, params) result(*name) params;
    NM_DNN_CALLS(X)
#undef X
} nm_dnn_calls;

// nm_dnn_result says which call of a function of several calls failed.
typedef struct {
    cudnnStatus_t code;
    const char *call;
} nm_dnn_result;

enum { NM_DNN_FORWARD, NM_DNN_BACKWARD_DATA, NM_DNN_BACKWARD_FILTER };

// nm_dnn_convolution is what a plan is made for: x (n, ci, in), w (co, ci/groups, kernel), y (n, co, out), all row-major; extents are z, y, x. One of the three is
// computed from the other two.
typedef struct {
    int what;  // NM_DNN_FORWARD: y, NM_DNN_BACKWARD_DATA: x, NM_DNN_BACKWARD_FILTER: w
    int n, ci, co, groups;
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int math;          // CUDNN_FMA_MATH or CUDNN_TENSOR_OP_MATH
    size_t workspace;  // bytes at most
} nm_dnn_convolution;

typedef struct {
    int what;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    int algo;
    size_t workspace;  // bytes that the algorithm needs
} nm_dnn_plan;

// nm_dnn_open loads the library at path and fills calls. 0: done; 1: it cannot be loaded; 2: a function is missing. reason says more.
int nm_dnn_open(const char *path, nm_dnn_calls *calls, char *reason, size_t length);

size_t nm_dnn_version(const nm_dnn_calls *c);
const char *nm_dnn_status(const nm_dnn_calls *c, cudnnStatus_t status);

// The functions below want the handle's context current.
nm_dnn_result nm_dnn_create(const nm_dnn_calls *c, cudnnHandle_t *handle);
nm_dnn_result nm_dnn_destroy(const nm_dnn_calls *c, cudnnHandle_t handle);
// nm_dnn_make makes a plan; found says whether there is an algorithm. What is made by then is in plan whatever the result, for nm_dnn_free.
nm_dnn_result nm_dnn_make(const nm_dnn_calls *c, cudnnHandle_t handle, const nm_dnn_convolution *v, nm_dnn_plan *plan, int *found);
void nm_dnn_free(const nm_dnn_calls *c, nm_dnn_plan *plan);
// nm_dnn_run queues the convolution.
nm_dnn_result nm_dnn_run(const nm_dnn_calls *c, cudnnHandle_t handle, const nm_dnn_plan *plan, uint64_t x, uint64_t w, uint64_t y, uint64_t workspace, cudaStream_t stream);
