// The part of the CUDA driver API that netmend uses, as function pointers that nm_cuda_open fills from a library. The prototypes are written from NVIDIA's
// public documentation of the driver API (CUDA 12.1), so that the build needs no header of NVIDIA's; names are those that cuda.h maps to, _v2 included.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;
typedef struct CUgraphNode_st *CUgraphNode;

// NM_CALLS lists what must be there: name, parameters.
#define NM_CALLS(X)                                                                                                                     \
    X(cuInit, (unsigned flags))                                                                                                         \
    X(cuDriverGetVersion, (int *version))                                                                                               \
    X(cuGetErrorName, (CUresult error, const char **name))                                                                              \
    X(cuGetErrorString, (CUresult error, const char **text))                                                                            \
    X(cuDeviceGetCount, (int *count))                                                                                                   \
    X(cuDeviceGet, (CUdevice * device, int ordinal))                                                                                    \
    X(cuDeviceGetName, (char *name, int length, CUdevice device))                                                                       \
    X(cuDeviceGetAttribute, (int *value, int attribute, CUdevice device))                                                               \
    X(cuDeviceTotalMem_v2, (size_t * bytes, CUdevice device))                                                                           \
    X(cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device))                                                                 \
    X(cuDevicePrimaryCtxRelease_v2, (CUdevice device))                                                                                  \
    X(cuCtxSetCurrent, (CUcontext context))                                                                                             \
    X(cuCtxSynchronize, (void))                                                                                                         \
    X(cuMemGetInfo_v2, (size_t * free_bytes, size_t *total))                                                                            \
    X(cuMemAlloc_v2, (CUdeviceptr * pointer, size_t bytes))                                                                             \
    X(cuMemFree_v2, (CUdeviceptr pointer))                                                                                              \
    X(cuMemHostAlloc, (void **pointer, size_t bytes, unsigned flags))                                                                   \
    X(cuMemFreeHost, (void *pointer))                                                                                                   \
    X(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                                          \
    X(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                                                \
    X(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))                                          \
    X(cuMemsetD8Async, (CUdeviceptr to, unsigned char value, size_t count, CUstream stream))                                            \
    X(cuMemsetD32Async, (CUdeviceptr to, unsigned value, size_t count, CUstream stream))                                                \
    X(cuStreamCreate, (CUstream * stream, unsigned flags))                                                                              \
    X(cuStreamDestroy_v2, (CUstream stream))                                                                                            \
    X(cuStreamSynchronize, (CUstream stream))                                                                                           \
    X(cuStreamQuery, (CUstream stream))                                                                                                 \
    X(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))                                                              \
    X(cuStreamBeginCapture_v2, (CUstream stream, int mode))                                                                             \
    X(cuStreamEndCapture, (CUstream stream, CUgraph *graph))                                                                            \
    X(cuGraphInstantiateWithFlags, (CUgraphExec * executable, CUgraph graph, unsigned long long flags))                                 \
    X(cuGraphGetNodes, (CUgraph graph, CUgraphNode *nodes, size_t *count))                                                              \
    X(cuGraphDestroy, (CUgraph graph))                                                                                                  \
    X(cuGraphLaunch, (CUgraphExec executable, CUstream stream))                                                                         \
    X(cuGraphExecDestroy, (CUgraphExec executable))                                                                                     \
    X(cuEventCreate, (CUevent * event, unsigned flags))                                                                                 \
    X(cuEventDestroy_v2, (CUevent event))                                                                                               \
    X(cuEventRecord, (CUevent event, CUstream stream))                                                                                  \
    X(cuEventSynchronize, (CUevent event))                                                                                              \
    X(cuEventQuery, (CUevent event))                                                                                                    \
    X(cuEventElapsedTime, (float *milliseconds, CUevent start, CUevent end))                                                            \
    X(cuModuleLoadDataEx, (CUmodule * module, const void *image, unsigned options, int *option, void **value))                          \
    X(cuModuleUnload, (CUmodule module))                                                                                                \
    X(cuModuleGetFunction, (CUfunction * function, CUmodule module, const char *name))                                                  \
    X(cuFuncGetAttribute, (int *value, int attribute, CUfunction function))                                                             \
    X(cuFuncSetAttribute, (CUfunction function, int attribute, int value))                                                              \
    X(cuOccupancyMaxActiveBlocksPerMultiprocessor, (int *blocks, CUfunction function, int threads, size_t shared))                      \
    X(cuLaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,      \
                       unsigned block_z, unsigned shared, CUstream stream, void **params, void **extra))

// NM_CALLS_OPTIONAL lists what newer drivers have; the pointer is NULL where they don't. cuFuncGetParamInfo: 12.4.
#define NM_CALLS_OPTIONAL(X) X(cuFuncGetParamInfo, (CUfunction function, size_t index, size_t *offset, size_t *size))

typedef struct {
#define X(name, params) CUresult(*name) params;
    NM_CALLS(X)
    NM_CALLS_OPTIONAL(X)
#undef X
} nm_calls;

// nm_cuda_open loads the library at path and fills calls; NULL: the program with the libraries that it is linked with. 0: done; 1: it cannot be loaded; 2: a function is missing. reason says more.
int nm_cuda_open(const char *path, nm_calls *calls, char *reason, size_t length);

// nm_cuda_error gives the driver's name and words for a result; they live as long as the library.
void nm_cuda_error(const nm_calls *c, CUresult code, const char **name, const char **text);

// Every function below that takes a context makes it current for the calling thread first: goroutines move between threads.

// nm_at says which call of a function of several calls failed.
typedef struct {
    CUresult code;
    const char *call;
} nm_result;

// nm_cuda_start asks for the version, and, where it is at least min_version, initialises the driver and counts the devices.
nm_result nm_cuda_start(const nm_calls *c, int min_version, int *version, int *count);

typedef struct {
    int index;
    char name[128];
    size_t memory;  // bytes in all
    int major, minor, multiprocessors, threads_per_block, shared_per_block, shared_optin, compute_mode;
} nm_info;

// nm_launch is one kernel launch of a batch. Its parameters are count entries of the offsets array from first_param on, into the bytes of params.
typedef struct {
    CUfunction function;
    uint32_t grid[3], block[3];
    uint32_t shared;       // bytes of dynamic shared memory
    uint32_t first_param;  // index in offsets
    uint32_t count;        // number of parameters, at most NM_MAX_PARAMS
} nm_launch;

enum { NM_MAX_PARAMS = 64 };

nm_result nm_cuda_device_info(const nm_calls *c, int index, nm_info *info);
nm_result nm_cuda_retain(const nm_calls *c, int index, CUcontext *context);
nm_result nm_cuda_release(const nm_calls *c, int index);
nm_result nm_cuda_bind(const nm_calls *c, CUcontext x);  // nothing but that
nm_result nm_cuda_synchronize(const nm_calls *c, CUcontext x);
nm_result nm_cuda_memory(const nm_calls *c, CUcontext x, size_t *free_bytes, size_t *total);
nm_result nm_cuda_alloc(const nm_calls *c, CUcontext x, size_t bytes, CUdeviceptr *pointer);
nm_result nm_cuda_free(const nm_calls *c, CUcontext x, CUdeviceptr pointer);
nm_result nm_cuda_alloc_host(const nm_calls *c, CUcontext x, size_t bytes, void **pointer);
nm_result nm_cuda_free_host(const nm_calls *c, CUcontext x, void *pointer);

nm_result nm_cuda_stream_create(const nm_calls *c, CUcontext x, CUstream *stream);
nm_result nm_cuda_stream_destroy(const nm_calls *c, CUcontext x, CUstream stream);
nm_result nm_cuda_stream_synchronize(const nm_calls *c, CUcontext x, CUstream stream);
nm_result nm_cuda_stream_query(const nm_calls *c, CUcontext x, CUstream stream);
nm_result nm_cuda_stream_wait(const nm_calls *c, CUcontext x, CUstream stream, CUevent event);
// wait != 0: return only when the copy is done.
nm_result nm_cuda_upload(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, const void *from, size_t bytes, int wait);
nm_result nm_cuda_download(const nm_calls *c, CUcontext x, CUstream stream, void *to, CUdeviceptr from, size_t bytes, int wait);
nm_result nm_cuda_copy(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, CUdeviceptr from, size_t bytes);
nm_result nm_cuda_fill8(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, unsigned char value, size_t count);
nm_result nm_cuda_fill32(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, unsigned value, size_t count);
// nm_cuda_launch_all launches in order and stops at the first failure, whose index it gives.
nm_result nm_cuda_launch_all(const nm_calls *c, CUcontext x, CUstream stream, const nm_launch *launches, size_t n, const uint32_t *offsets, void *params, size_t *failed);

nm_result nm_cuda_capture_begin(const nm_calls *c, CUcontext x, CUstream stream);
// nm_cuda_capture_end ends the capture and makes an executable graph of it. discard != 0: throws it away.
nm_result nm_cuda_capture_end(const nm_calls *c, CUcontext x, CUstream stream, int discard, CUgraphExec *executable, size_t *nodes);
nm_result nm_cuda_graph_launch(const nm_calls *c, CUcontext x, CUgraphExec executable, CUstream stream, int times);
nm_result nm_cuda_graph_destroy(const nm_calls *c, CUcontext x, CUgraphExec executable);

nm_result nm_cuda_event_create(const nm_calls *c, CUcontext x, int timing, CUevent *event);
nm_result nm_cuda_event_destroy(const nm_calls *c, CUcontext x, CUevent event);
nm_result nm_cuda_event_record(const nm_calls *c, CUcontext x, CUevent event, CUstream stream);
nm_result nm_cuda_event_synchronize(const nm_calls *c, CUcontext x, CUevent event);
nm_result nm_cuda_event_query(const nm_calls *c, CUcontext x, CUevent event);
nm_result nm_cuda_event_elapsed(const nm_calls *c, CUcontext x, CUevent start, CUevent end, float *milliseconds);

nm_result nm_cuda_module_load(const nm_calls *c, CUcontext x, const void *image, CUmodule *module, char *log, size_t length);
nm_result nm_cuda_module_unload(const nm_calls *c, CUcontext x, CUmodule module);
typedef struct {
    int max_threads, shared_bytes, local_bytes, registers;
    int params;  // -1: the driver does not say
    uint32_t size[NM_MAX_PARAMS];
} nm_function_info;
nm_result nm_cuda_function(const nm_calls *c, CUcontext x, CUmodule module, const char *name, CUfunction *function, nm_function_info *info);
nm_result nm_cuda_function_allow_shared(const nm_calls *c, CUcontext x, CUfunction function, int bytes);
nm_result nm_cuda_occupancy(const nm_calls *c, CUcontext x, CUfunction function, int threads, size_t shared, int *blocks);
