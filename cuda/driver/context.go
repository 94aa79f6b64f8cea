//go:build linux && cgo

package driver

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"
)

// Context is a device's primary context: everything below is made in one. All Contexts of one Device share it, so that an error of class
// ErrLost in one is an error of all.
type Context struct {
	device *Device
	c      C.CUcontext
}

// Context retains the device's primary context, and makes it at the first call (some hundred milliseconds).
func (d *Device) Context() (*Context, error) {
	x := &Context{device: d}
	if err := d.driver.check(C.nm_cuda_retain(d.driver.calls, C.int(d.Index), &x.c)); err != nil {
		return nil, err
	}
	return x, nil
}

// FreeMemory is what is free of a device's memory now, in bytes. It makes a context for that, which shows whether one can be made.
func (d *Driver) FreeMemory(index int) (free int64, err error) {
	dev, err := d.Device(index)
	if err != nil {
		return 0, err
	}
	x, err := dev.Context()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	free, _, err = x.Memory()
	return free, err
}

func (x *Context) calls() *C.nm_calls { return x.device.driver.calls }

func (x *Context) check(r C.nm_result) error { return x.device.driver.check(r) }

// Device is the device of the context.
func (x *Context) Device() *Device { return x.device }

// Close releases the context. The last Close frees what is left in it.
func (x *Context) Close() error {
	if x.c == nil {
		return nil
	}
	x.c = nil
	return x.check(C.nm_cuda_release(x.calls(), C.int(x.device.Index)))
}

// Do calls f on a thread on which the context is current, for libraries that use the driver themselves.
func (x *Context) Do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := x.check(C.nm_cuda_bind(x.calls(), x.c)); err != nil {
		return err
	}
	return f()
}

// Synchronize waits until all streams of the device's primary context are idle.
func (x *Context) Synchronize() error { return x.check(C.nm_cuda_synchronize(x.calls(), x.c)) }

// Memory is the device's memory in bytes: what is free now, over all processes, and all of it.
func (x *Context) Memory() (free, total int64, err error) {
	var f, t C.size_t
	err = x.check(C.nm_cuda_memory(x.calls(), x.c, &f, &t))
	return int64(f), int64(t), err
}

// Pointer is an address in device memory; 0 is none. Sums with byte offsets are addresses within the same allocation.
type Pointer uint64

// Alloc allocates device memory of uninitialised content, aligned to 256 bytes at least. No bytes: Pointer 0. ErrOutOfMemory: there is no room.
func (x *Context) Alloc(bytes int64) (Pointer, error) {
	if bytes <= 0 {
		if bytes < 0 {
			return 0, fmt.Errorf("cuda: allocation of %d bytes", bytes)
		}
		return 0, nil
	}
	var p C.CUdeviceptr
	err := x.check(C.nm_cuda_alloc(x.calls(), x.c, C.size_t(bytes), &p))
	return Pointer(p), err
}

// Free frees what Alloc gave; 0 does nothing. Work that uses the memory must be done: synchronise first.
func (x *Context) Free(p Pointer) error {
	if p == 0 {
		return nil
	}
	return x.check(C.nm_cuda_free(x.calls(), x.c, C.CUdeviceptr(p)))
}

// Host is page-locked memory of the host: the only kind that copies to and from without waiting.
type Host struct {
	context *Context
	p       unsafe.Pointer
	n       int
}

// AllocHost allocates page-locked host memory, at least one byte.
func (x *Context) AllocHost(bytes int) (*Host, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: host allocation of %d bytes", bytes)
	}
	h := &Host{context: x, n: bytes}
	if err := x.check(C.nm_cuda_alloc_host(x.calls(), x.c, C.size_t(bytes), &h.p)); err != nil {
		return nil, err
	}
	return h, nil
}

// Bytes is the memory itself, until Close. Who reads or writes it while a copy is under way sees anything.
func (h *Host) Bytes() []byte { return unsafe.Slice((*byte)(h.p), h.n) }

// Floats is the memory as float32.
func (h *Host) Floats() []float32 { return unsafe.Slice((*float32)(h.p), h.n/4) }

// Ints is the memory as int32.
func (h *Host) Ints() []int32 { return unsafe.Slice((*int32)(h.p), h.n/4) }

// Len is the size in bytes.
func (h *Host) Len() int { return h.n }

// Close frees the memory. Copies to and from it must be done.
func (h *Host) Close() error {
	if h.p == nil {
		return nil
	}
	p := h.p
	h.p, h.n = nil, 0
	return h.context.check(C.nm_cuda_free_host(h.context.calls(), h.context.c, p))
}

// at is the address of bytes [offset, offset+bytes), or an error where they do not lie in the memory.
func (h *Host) at(offset, bytes int) (unsafe.Pointer, error) {
	if offset < 0 || bytes < 0 || offset > h.n-bytes {
		return nil, fmt.Errorf("cuda: bytes %d to %d of host memory of %d", offset, offset+bytes, h.n)
	}
	return unsafe.Add(h.p, offset), nil
}

// Number is what the devices' tensors are made of.
type Number interface {
	~float32 | ~float64 | ~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~uint32 | ~int64 | ~uint64
}

// Bytes is a slice's memory, as the copies take it.
func Bytes[T Number](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(*new(T))))
}
