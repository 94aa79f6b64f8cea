//go:build linux

#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>

// Values of cuda.h's enumerations, from the driver API's documentation.
enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,

    ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
    ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
    ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    ATTRIBUTE_COMPUTE_MODE = 20,
    ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97,

    FUNC_MAX_THREADS_PER_BLOCK = 0,
    FUNC_SHARED_SIZE_BYTES = 1,
    FUNC_LOCAL_SIZE_BYTES = 3,
    FUNC_NUM_REGS = 4,
    FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,

    STREAM_NON_BLOCKING = 1,
    STREAM_CAPTURE_MODE_RELAXED = 2,
    EVENT_DISABLE_TIMING = 2,

    JIT_ERROR_LOG_BUFFER = 5,
    JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6,
};

int nm_cuda_open(const char *path, nm_calls *calls, char *reason, size_t length) {
    // Never closed: drivers keep threads of their own.
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(reason, length, "%s", dlerror());
        return 1;
    }
    const char *missing = NULL;
#define X(name, params)                                            \
    *(void **)&calls->name = dlsym(library, #name);                \
    if (calls->name == NULL && missing == NULL) missing = #name;
    NM_CALLS(X)
#undef X
#define X(name, params) *(void **)&calls->name = dlsym(library, #name);
    NM_CALLS_OPTIONAL(X)
#undef X
    if (missing != NULL) {
        snprintf(reason, length, "%s", missing);
        return 2;
    }
    return 0;
}

void nm_cuda_error(const nm_calls *c, CUresult code, const char **name, const char **text) {
    if (c->cuGetErrorName(code, name) != CUDA_SUCCESS || *name == NULL) *name = "";
    if (c->cuGetErrorString(code, text) != CUDA_SUCCESS || *text == NULL) *text = "";
}

static const nm_result done = {CUDA_SUCCESS, ""};

// TRY returns from the function when the call fails.
#define TRY(call, ...)                                        \
    do {                                                      \
        CUresult code_ = c->call(__VA_ARGS__);                \
        if (code_ != CUDA_SUCCESS) return (nm_result){code_, #call}; \
    } while (0)
#define BIND() TRY(cuCtxSetCurrent, x)

nm_result nm_cuda_start(const nm_calls *c, int min_version, int *version, int *count) {
    TRY(cuDriverGetVersion, version);
    if (*version < min_version) return done;  // cuInit of a driver that old may refuse for another reason
    TRY(cuInit, 0);
    TRY(cuDeviceGetCount, count);
    return done;
}

nm_result nm_cuda_device_info(const nm_calls *c, int index, nm_info *info) {
    CUdevice device;
    info->index = index;
    TRY(cuDeviceGet, &device, index);
    TRY(cuDeviceGetName, info->name, (int)sizeof info->name, device);
    TRY(cuDeviceTotalMem_v2, &info->memory, device);
    const struct {
        int attribute;
        int *value;
    } wanted[] = {
        {ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &info->major},
        {ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &info->minor},
        {ATTRIBUTE_MULTIPROCESSOR_COUNT, &info->multiprocessors},
        {ATTRIBUTE_MAX_THREADS_PER_BLOCK, &info->threads_per_block},
        {ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, &info->shared_per_block},
        {ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &info->shared_optin},
        {ATTRIBUTE_COMPUTE_MODE, &info->compute_mode},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) TRY(cuDeviceGetAttribute, wanted[i].value, wanted[i].attribute, device);
    return done;
}

nm_result nm_cuda_retain(const nm_calls *c, int index, CUcontext *context) {
    CUdevice device;
    TRY(cuDeviceGet, &device, index);
    TRY(cuDevicePrimaryCtxRetain, context, device);
    return done;
}

nm_result nm_cuda_release(const nm_calls *c, int index) {
    CUdevice device;
    TRY(cuDeviceGet, &device, index);
    TRY(cuDevicePrimaryCtxRelease_v2, device);
    return done;
}

nm_result nm_cuda_bind(const nm_calls *c, CUcontext x) {
    BIND();
    return done;
}

nm_result nm_cuda_synchronize(const nm_calls *c, CUcontext x) {
    BIND();
    TRY(cuCtxSynchronize);
    return done;
}

nm_result nm_cuda_memory(const nm_calls *c, CUcontext x, size_t *free_bytes, size_t *total) {
    BIND();
    TRY(cuMemGetInfo_v2, free_bytes, total);
    return done;
}

nm_result nm_cuda_alloc(const nm_calls *c, CUcontext x, size_t bytes, CUdeviceptr *pointer) {
    BIND();
    TRY(cuMemAlloc_v2, pointer, bytes);
    return done;
}

nm_result nm_cuda_free(const nm_calls *c, CUcontext x, CUdeviceptr pointer) {
    BIND();
    TRY(cuMemFree_v2, pointer);
    return done;
}

nm_result nm_cuda_alloc_host(const nm_calls *c, CUcontext x, size_t bytes, void **pointer) {
    BIND();
    TRY(cuMemHostAlloc, pointer, bytes, 0);
    return done;
}

nm_result nm_cuda_free_host(const nm_calls *c, CUcontext x, void *pointer) {
    BIND();
    TRY(cuMemFreeHost, pointer);
    return done;
}

nm_result nm_cuda_stream_create(const nm_calls *c, CUcontext x, CUstream *stream) {
    BIND();
    TRY(cuStreamCreate, stream, STREAM_NON_BLOCKING);
    return done;
}

nm_result nm_cuda_stream_destroy(const nm_calls *c, CUcontext x, CUstream stream) {
    BIND();
    TRY(cuStreamDestroy_v2, stream);
    return done;
}

nm_result nm_cuda_stream_synchronize(const nm_calls *c, CUcontext x, CUstream stream) {
    BIND();
    TRY(cuStreamSynchronize, stream);
    return done;
}

nm_result nm_cuda_stream_query(const nm_calls *c, CUcontext x, CUstream stream) {
    BIND();
    TRY(cuStreamQuery, stream);
    return done;
}

nm_result nm_cuda_stream_wait(const nm_calls *c, CUcontext x, CUstream stream, CUevent event) {
    BIND();
    TRY(cuStreamWaitEvent, stream, event, 0);
    return done;
}

nm_result nm_cuda_upload(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, const void *from, size_t bytes, int wait) {
    BIND();
    TRY(cuMemcpyHtoDAsync_v2, to, from, bytes, stream);
    if (wait) TRY(cuStreamSynchronize, stream);
    return done;
}

nm_result nm_cuda_download(const nm_calls *c, CUcontext x, CUstream stream, void *to, CUdeviceptr from, size_t bytes, int wait) {
    BIND();
    TRY(cuMemcpyDtoHAsync_v2, to, from, bytes, stream);
    if (wait) TRY(cuStreamSynchronize, stream);
    return done;
}

nm_result nm_cuda_copy(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    BIND();
    TRY(cuMemcpyDtoDAsync_v2, to, from, bytes, stream);
    return done;
}

nm_result nm_cuda_fill8(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, unsigned char value, size_t count) {
    BIND();
    TRY(cuMemsetD8Async, to, value, count, stream);
    return done;
}

nm_result nm_cuda_fill32(const nm_calls *c, CUcontext x, CUstream stream, CUdeviceptr to, unsigned value, size_t count) {
    BIND();
    TRY(cuMemsetD32Async, to, value, count, stream);
    return done;
}

nm_result nm_cuda_launch_all(const nm_calls *c, CUcontext x, CUstream stream, const nm_launch *launches, size_t n, const uint32_t *offsets, void *params, size_t *failed) {
    *failed = 0;
    BIND();
    for (size_t i = 0; i < n; i++) {
        const nm_launch *l = &launches[i];
        void *pointers[NM_MAX_PARAMS];
        *failed = i;
        for (uint32_t k = 0; k < l->count; k++) pointers[k] = (char *)params + offsets[l->first_param + k];
        TRY(cuLaunchKernel, l->function, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], l->shared, stream, pointers, NULL);
    }
    return done;
}

// Relaxed: between begin and end the goroutine may move to another thread, and other goroutines may allocate.
nm_result nm_cuda_capture_begin(const nm_calls *c, CUcontext x, CUstream stream) {
    BIND();
    TRY(cuStreamBeginCapture_v2, stream, STREAM_CAPTURE_MODE_RELAXED);
    return done;
}

nm_result nm_cuda_capture_end(const nm_calls *c, CUcontext x, CUstream stream, int discard, CUgraphExec *executable, size_t *nodes) {
    BIND();
    CUgraph graph = NULL;
    TRY(cuStreamEndCapture, stream, &graph);
    nm_result r = done;
    if (!discard) {
        r.code = c->cuGraphGetNodes(graph, NULL, nodes);
        r.call = "cuGraphGetNodes";
        if (r.code == CUDA_SUCCESS) {
            r.code = c->cuGraphInstantiateWithFlags(executable, graph, 0);
            r.call = "cuGraphInstantiateWithFlags";
        }
    }
    if (graph != NULL) c->cuGraphDestroy(graph);
    return r;
}

nm_result nm_cuda_graph_launch(const nm_calls *c, CUcontext x, CUgraphExec executable, CUstream stream, int times) {
    BIND();
    for (int i = 0; i < times; i++) TRY(cuGraphLaunch, executable, stream);
    return done;
}

nm_result nm_cuda_graph_destroy(const nm_calls *c, CUcontext x, CUgraphExec executable) {
    BIND();
    TRY(cuGraphExecDestroy, executable);
    return done;
}

nm_result nm_cuda_event_create(const nm_calls *c, CUcontext x, int timing, CUevent *event) {
    BIND();
    TRY(cuEventCreate, event, timing ? 0 : EVENT_DISABLE_TIMING);
    return done;
}

nm_result nm_cuda_event_destroy(const nm_calls *c, CUcontext x, CUevent event) {
    BIND();
    TRY(cuEventDestroy_v2, event);
    return done;
}

nm_result nm_cuda_event_record(const nm_calls *c, CUcontext x, CUevent event, CUstream stream) {
    BIND();
    TRY(cuEventRecord, event, stream);
    return done;
}

nm_result nm_cuda_event_synchronize(const nm_calls *c, CUcontext x, CUevent event) {
    BIND();
    TRY(cuEventSynchronize, event);
    return done;
}

nm_result nm_cuda_event_query(const nm_calls *c, CUcontext x, CUevent event) {
    BIND();
    TRY(cuEventQuery, event);
    return done;
}

nm_result nm_cuda_event_elapsed(const nm_calls *c, CUcontext x, CUevent start, CUevent end, float *milliseconds) {
    BIND();
    TRY(cuEventElapsedTime, milliseconds, start, end);
    return done;
}

nm_result nm_cuda_module_load(const nm_calls *c, CUcontext x, const void *image, CUmodule *module, char *log, size_t length) {
    BIND();
    // Numbers are passed in the pointer itself, as the documentation of cuModuleLoadDataEx says.
    int option[] = {JIT_ERROR_LOG_BUFFER, JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *value[] = {log, (void *)(uintptr_t)length};
    log[0] = '\0';
    TRY(cuModuleLoadDataEx, module, image, 2, option, value);
    return done;
}

nm_result nm_cuda_module_unload(const nm_calls *c, CUcontext x, CUmodule module) {
    BIND();
    TRY(cuModuleUnload, module);
    return done;
}

nm_result nm_cuda_function(const nm_calls *c, CUcontext x, CUmodule module, const char *name, CUfunction *function, nm_function_info *info) {
    BIND();
    TRY(cuModuleGetFunction, function, module, name);
    TRY(cuFuncGetAttribute, &info->max_threads, FUNC_MAX_THREADS_PER_BLOCK, *function);
    TRY(cuFuncGetAttribute, &info->shared_bytes, FUNC_SHARED_SIZE_BYTES, *function);
    TRY(cuFuncGetAttribute, &info->local_bytes, FUNC_LOCAL_SIZE_BYTES, *function);
    TRY(cuFuncGetAttribute, &info->registers, FUNC_NUM_REGS, *function);
    info->params = -1;
    if (c->cuFuncGetParamInfo == NULL) return done;
    for (info->params = 0; info->params < NM_MAX_PARAMS; info->params++) {
        size_t offset, size;
        CUresult code = c->cuFuncGetParamInfo(*function, info->params, &offset, &size);
        if (code == CUDA_ERROR_INVALID_VALUE) break;  // past the last
        if (code != CUDA_SUCCESS) return (nm_result){code, "cuFuncGetParamInfo"};
        info->size[info->params] = (uint32_t)size;
    }
    return done;
}

nm_result nm_cuda_function_allow_shared(const nm_calls *c, CUcontext x, CUfunction function, int bytes) {
    BIND();
    TRY(cuFuncSetAttribute, function, FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
    return done;
}

nm_result nm_cuda_occupancy(const nm_calls *c, CUcontext x, CUfunction function, int threads, size_t shared, int *blocks) {
    BIND();
    TRY(cuOccupancyMaxActiveBlocksPerMultiprocessor, blocks, function, threads, shared);
    return done;
}
