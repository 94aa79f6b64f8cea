//go:build linux && gorgonia

#define _GNU_SOURCE  // RTLD_DEFAULT
#include "gorgonia.h"

#include <dlfcn.h>

#include "_cgo_export.h"

int nm_gorgonia_linked(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (library == NULL) return 0;
    void *init = dlsym(library, "cuInit");
    dlclose(library);
    return init != NULL && init == dlsym(RTLD_DEFAULT, "cuInit");
}

void nm_gorgonia_bind(nm_calls *calls) {
#define BIND(name) calls->name = nm_go_##name
    BIND(cuDriverGetVersion);
    BIND(cuDeviceGetCount);
    BIND(cuDeviceGet);
    BIND(cuDeviceGetName);
    BIND(cuDeviceGetAttribute);
    BIND(cuDeviceTotalMem_v2);
    BIND(cuDevicePrimaryCtxRetain);
    BIND(cuDevicePrimaryCtxRelease_v2);
    BIND(cuCtxSetCurrent);
    BIND(cuCtxSynchronize);
    BIND(cuMemGetInfo_v2);
    BIND(cuMemAlloc_v2);
    BIND(cuMemFree_v2);
    BIND(cuMemFreeHost);
    BIND(cuMemcpyHtoDAsync_v2);
    BIND(cuMemcpyDtoHAsync_v2);
    BIND(cuMemcpyDtoDAsync_v2);
    BIND(cuMemsetD8Async);
    BIND(cuMemsetD32Async);
    BIND(cuStreamCreate);
    BIND(cuStreamDestroy_v2);
    BIND(cuStreamSynchronize);
    BIND(cuStreamQuery);
    BIND(cuStreamWaitEvent);
    BIND(cuGraphDestroy);
    BIND(cuGraphExecDestroy);
    BIND(cuEventCreate);
    BIND(cuEventDestroy_v2);
    BIND(cuEventRecord);
    BIND(cuEventSynchronize);
    BIND(cuEventQuery);
    BIND(cuEventElapsedTime);
    BIND(cuModuleUnload);
    BIND(cuModuleGetFunction);
    BIND(cuFuncGetAttribute);
    BIND(cuOccupancyMaxActiveBlocksPerMultiprocessor);
#undef BIND
}
