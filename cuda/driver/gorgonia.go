//go:build linux && cgo && gorgonia

package driver

// The build tag gorgonia: the driver API by way of gorgonia.org/cu, the binding that users of Gorgonia have. Cu is linked with libcuda.so.1 and initialises it before
// main, which ends the process where there is no GPU. The table of functions (shim.h) is that library's, with cu in the place of every function that cu can stand for:
// the shim calls the Go function here, which calls cu on the same thread. What stays the library's own is what cu (v0.9.6) has no equal of:
//
//   - cuInit, cuGetErrorName, cuGetErrorString, cuMemHostAlloc, cuFuncSetAttribute, cuFuncGetParamInfo, the capture of streams, and of graphs what instantiates,
//     counts and launches: cu lacks them;
//   - cuLaunchKernel: cu's Launch copies 8 bytes of each parameter, and our kernels take structures;
//   - cuModuleLoadDataEx: cu takes the image as a string, and the function has a pointer of no known length.

// #include <stdlib.h>
// #include "gorgonia.h"
import "C"

import (
	"fmt"
	"reflect"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

// linked is the table of the library that the program is linked with.
var linked = sync.OnceValues(func() (*C.nm_calls, error) {
	calls, err := read("")
	if err == nil {
		C.nm_gorgonia_bind(calls)
	}
	return calls, err
})

// load gives the functions of the library that cu is linked with; a path to another one is an error.
func load(path string) (*C.nm_calls, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if path != library && C.nm_gorgonia_linked(name) == 0 {
		return nil, fmt.Errorf("cuda: %w: %s is not the library that this build, with gorgonia.org/cu, was linked with and started with: "+
			"set LD_LIBRARY_PATH instead of NETMEND_LIBCUDA, or build without the tag gorgonia", ErrNoLibrary, path)
	}
	return linked()
}

// as makes a handle of cu's of one of ours, or the other way round: both are one pointer of C.
func as[To, From any](handle From) To { return *(*To)(unsafe.Pointer(&handle)) }

// code is the CUresult of an error of cu's, whose type is not exported: an integer.
func code(err error) C.CUresult {
	if err == nil {
		return 0
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		return C.CUresult(v.Int())
	}
	return unknown
}

const unknown = 999 // CUDA_ERROR_UNKNOWN

//export nm_go_cuDriverGetVersion
func nm_go_cuDriverGetVersion(version *C.int) C.CUresult {
	v := cu.Version()
	if v < 0 { // cu keeps the reason to itself
		return unknown
	}
	*version = C.int(v)
	return 0
}

//export nm_go_cuDeviceGetCount
func nm_go_cuDeviceGetCount(count *C.int) C.CUresult {
	n, err := cu.NumDevices()
	*count = C.int(n)
	return code(err)
}

//export nm_go_cuDeviceGet
func nm_go_cuDeviceGet(device *C.CUdevice, ordinal C.int) C.CUresult {
	d, err := cu.GetDevice(int(ordinal))
	*device = C.CUdevice(d)
	return code(err)
}

//export nm_go_cuDeviceGetName
func nm_go_cuDeviceGetName(name *C.char, length C.int, device C.CUdevice) C.CUresult {
	s, err := cu.Device(device).Name()
	if err != nil {
		return code(err)
	}
	to := unsafe.Slice((*byte)(unsafe.Pointer(name)), length)
	to[copy(to[:len(to)-1], s)] = 0
	return 0
}

//export nm_go_cuDeviceGetAttribute
func nm_go_cuDeviceGetAttribute(value *C.int, attribute C.int, device C.CUdevice) C.CUresult {
	v, err := cu.Device(device).Attribute(cu.DeviceAttribute(attribute))
	*value = C.int(v)
	return code(err)
}

//export nm_go_cuDeviceTotalMem_v2
func nm_go_cuDeviceTotalMem_v2(bytes *C.size_t, device C.CUdevice) C.CUresult {
	n, err := cu.Device(device).TotalMem()
	*bytes = C.size_t(n)
	return code(err)
}

//export nm_go_cuDevicePrimaryCtxRetain
func nm_go_cuDevicePrimaryCtxRetain(context *C.CUcontext, device C.CUdevice) C.CUresult {
	x, err := cu.Device(device).RetainPrimaryCtx()
	*context = as[C.CUcontext](x)
	return code(err)
}

//export nm_go_cuDevicePrimaryCtxRelease_v2
func nm_go_cuDevicePrimaryCtxRelease_v2(device C.CUdevice) C.CUresult {
	return code(cu.Device(device).ReleasePrimaryCtx())
}

//export nm_go_cuCtxSetCurrent
func nm_go_cuCtxSetCurrent(context C.CUcontext) C.CUresult {
	return code(cu.SetCurrentContext(as[cu.CUContext](context)))
}

//export nm_go_cuCtxSynchronize
func nm_go_cuCtxSynchronize() C.CUresult { return code(cu.Synchronize()) }

//export nm_go_cuMemGetInfo_v2
func nm_go_cuMemGetInfo_v2(free, total *C.size_t) C.CUresult {
	f, t, err := cu.MemInfo()
	*free, *total = C.size_t(f), C.size_t(t)
	return code(err)
}

//export nm_go_cuMemAlloc_v2
func nm_go_cuMemAlloc_v2(pointer *C.CUdeviceptr, bytes C.size_t) C.CUresult {
	p, err := cu.MemAlloc(int64(bytes))
	*pointer = C.CUdeviceptr(p)
	return code(err)
}

//export nm_go_cuMemFree_v2
func nm_go_cuMemFree_v2(pointer C.CUdeviceptr) C.CUresult {
	return code(cu.MemFree(cu.DevicePtr(pointer)))
}

//export nm_go_cuMemFreeHost
func nm_go_cuMemFreeHost(pointer unsafe.Pointer) C.CUresult { return code(cu.MemFreeHost(pointer)) }

//export nm_go_cuMemcpyHtoDAsync_v2
func nm_go_cuMemcpyHtoDAsync_v2(to C.CUdeviceptr, from C.nm_bytes, bytes C.size_t, stream C.CUstream) C.CUresult {
	return code(cu.MemcpyHtoDAsync(cu.DevicePtr(to), unsafe.Pointer(from), int64(bytes), as[cu.Stream](stream)))
}

//export nm_go_cuMemcpyDtoHAsync_v2
func nm_go_cuMemcpyDtoHAsync_v2(to unsafe.Pointer, from C.CUdeviceptr, bytes C.size_t, stream C.CUstream) C.CUresult {
	return code(cu.MemcpyDtoHAsync(to, cu.DevicePtr(from), int64(bytes), as[cu.Stream](stream)))
}

//export nm_go_cuMemcpyDtoDAsync_v2
func nm_go_cuMemcpyDtoDAsync_v2(to, from C.CUdeviceptr, bytes C.size_t, stream C.CUstream) C.CUresult {
	return code(cu.MemcpyDtoDAsync(cu.DevicePtr(to), cu.DevicePtr(from), int64(bytes), as[cu.Stream](stream)))
}

//export nm_go_cuMemsetD8Async
func nm_go_cuMemsetD8Async(to C.CUdeviceptr, value C.uchar, count C.size_t, stream C.CUstream) C.CUresult {
	return code(cu.MemsetD8Async(cu.DevicePtr(to), byte(value), int64(count), as[cu.Stream](stream)))
}

//export nm_go_cuMemsetD32Async
func nm_go_cuMemsetD32Async(to C.CUdeviceptr, value C.uint, count C.size_t, stream C.CUstream) C.CUresult {
	return code(cu.MemsetD32Async(cu.DevicePtr(to), uint(value), int64(count), as[cu.Stream](stream)))
}

//export nm_go_cuStreamCreate
func nm_go_cuStreamCreate(stream *C.CUstream, flags C.uint) C.CUresult {
	s, err := cu.MakeStream(cu.StreamFlags(flags))
	*stream = as[C.CUstream](s)
	return code(err)
}

//export nm_go_cuStreamDestroy_v2
func nm_go_cuStreamDestroy_v2(stream C.CUstream) C.CUresult {
	s := as[cu.Stream](stream)
	return code(s.Destroy())
}

//export nm_go_cuStreamSynchronize
func nm_go_cuStreamSynchronize(stream C.CUstream) C.CUresult {
	return code(as[cu.Stream](stream).Synchronize())
}

//export nm_go_cuStreamQuery
func nm_go_cuStreamQuery(stream C.CUstream) C.CUresult { return code(as[cu.Stream](stream).Query()) }

//export nm_go_cuStreamWaitEvent
func nm_go_cuStreamWaitEvent(stream C.CUstream, event C.CUevent, flags C.uint) C.CUresult {
	return code(as[cu.Stream](stream).Wait(as[cu.Event](event), uint(flags)))
}

//export nm_go_cuGraphDestroy
func nm_go_cuGraphDestroy(graph C.CUgraph) C.CUresult { return code(as[cu.Graph](graph).Destroy()) }

//export nm_go_cuGraphExecDestroy
func nm_go_cuGraphExecDestroy(executable C.CUgraphExec) C.CUresult {
	return code(as[cu.ExecGraph](executable).Destroy())
}

//export nm_go_cuEventCreate
func nm_go_cuEventCreate(event *C.CUevent, flags C.uint) C.CUresult {
	e, err := cu.MakeEvent(cu.EventFlags(flags))
	*event = as[C.CUevent](e)
	return code(err)
}

//export nm_go_cuEventDestroy_v2
func nm_go_cuEventDestroy_v2(event C.CUevent) C.CUresult {
	e := as[cu.Event](event)
	return code(cu.DestroyEvent(&e))
}

//export nm_go_cuEventRecord
func nm_go_cuEventRecord(event C.CUevent, stream C.CUstream) C.CUresult {
	return code(as[cu.Event](event).Record(as[cu.Stream](stream)))
}

//export nm_go_cuEventSynchronize
func nm_go_cuEventSynchronize(event C.CUevent) C.CUresult {
	return code(as[cu.Event](event).Synchronize())
}

//export nm_go_cuEventQuery
func nm_go_cuEventQuery(event C.CUevent) C.CUresult { return code(as[cu.Event](event).Query()) }

//export nm_go_cuEventElapsedTime
func nm_go_cuEventElapsedTime(milliseconds *C.float, start, end C.CUevent) C.CUresult {
	ms, err := as[cu.Event](start).Elapsed(as[cu.Event](end))
	*milliseconds = C.float(ms)
	return code(err)
}

//export nm_go_cuModuleUnload
func nm_go_cuModuleUnload(module C.CUmodule) C.CUresult {
	return code(as[cu.Module](module).Unload())
}

//export nm_go_cuModuleGetFunction
func nm_go_cuModuleGetFunction(function *C.CUfunction, module C.CUmodule, name C.nm_words) C.CUresult {
	f, err := as[cu.Module](module).Function(C.GoString((*C.char)(name)))
	*function = as[C.CUfunction](f)
	return code(err)
}

//export nm_go_cuFuncGetAttribute
func nm_go_cuFuncGetAttribute(value *C.int, attribute C.int, function C.CUfunction) C.CUresult {
	v, err := as[cu.Function](function).Attribute(cu.FunctionAttribute(attribute))
	*value = C.int(v)
	return code(err)
}

//export nm_go_cuOccupancyMaxActiveBlocksPerMultiprocessor
func nm_go_cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks *C.int, function C.CUfunction, threads C.int, shared C.size_t) C.CUresult {
	n, err := as[cu.Function](function).MaxActiveBlocksPerMultiProcessor(int(threads), int64(shared))
	*blocks = C.int(n)
	return code(err)
}
