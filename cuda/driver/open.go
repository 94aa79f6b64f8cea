//go:build linux && cgo

package driver

// #cgo CFLAGS: -std=c11 -O2 -Wall
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"
)

// library is the name that NVIDIA's driver installs, which the loader finds.
const library = "libcuda.so.1"

// Driver is an open driver library. It is never unloaded.
type Driver struct {
	calls   *C.nm_calls
	path    string
	version Version
	count   int
}

// Open opens the driver library and initialises it. The error is one of ErrNoLibrary, ErrNoDevice, ErrOldDriver, with its cause.
func Open() (*Driver, error) {
	path := os.Getenv("NETMEND_LIBCUDA")
	switch path {
	case "off":
		return nil, fmt.Errorf("cuda: %w: NETMEND_LIBCUDA is \"off\"", ErrNoLibrary)
	case "":
		path = library
	}
	calls, err := load(path)
	if err != nil {
		return nil, err
	}
	d := &Driver{calls: calls, path: path}
	var version, count C.int
	if err := d.check(C.nm_cuda_start(calls, C.int(MinVersion), &version, &count)); err != nil {
		return nil, fmt.Errorf("cuda: %w: %w", ErrNoDevice, err)
	}
	if d.version, d.count = Version(version), int(count); d.version < MinVersion {
		return nil, fmt.Errorf("cuda: %w: it knows CUDA %v, netmend needs %v or newer", ErrOldDriver, d.version, MinVersion)
	}
	if d.count == 0 {
		return nil, fmt.Errorf("cuda: %w: it counts 0 devices", ErrNoDevice)
	}
	return d, nil
}

// read fills a table from the library at path, "" being the program itself.
func read(path string) (*C.nm_calls, error) {
	calls := (*C.nm_calls)(C.calloc(1, C.sizeof_nm_calls))
	var name *C.char
	if path != "" {
		name = C.CString(path)
		defer C.free(unsafe.Pointer(name))
	}
	reason := make([]byte, 512)
	switch C.nm_cuda_open(name, calls, (*C.char)(unsafe.Pointer(&reason[0])), C.size_t(len(reason))) {
	case 0:
		return calls, nil
	case 1:
		C.free(unsafe.Pointer(calls))
		return nil, fmt.Errorf("cuda: %w: %s", ErrNoLibrary, text(reason))
	default:
		C.free(unsafe.Pointer(calls))
		return nil, fmt.Errorf("cuda: %w: %s has no function %s, which came with CUDA %v or before", ErrOldDriver, path, text(reason), MinVersion)
	}
}

// text is a C string in a buffer.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// check makes an error of a result; nil for success.
func (d *Driver) check(r C.nm_result) error {
	if r.code == 0 {
		return nil
	}
	var name, words *C.char
	C.nm_cuda_error(d.calls, r.code, &name, &words)
	e := &Error{Call: C.GoString(r.call), Code: int(r.code), Name: C.GoString(name), Text: C.GoString(words)}
	if e.Name == "" {
		e.Name = fmt.Sprintf("CUresult %d", e.Code)
	}
	return e
}

// Path is what the library was opened as.
func (d *Driver) Path() string { return d.path }

// Version is the version of the CUDA API that the driver knows.
func (d *Driver) Version() Version { return d.version }

// Devices describes all devices, in the driver's order, which CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER change.
func (d *Driver) Devices() ([]Info, error) {
	infos := make([]Info, d.count)
	for i := range infos {
		dev, err := d.Device(i)
		if err != nil {
			return nil, err
		}
		infos[i] = dev.Info
	}
	return infos, nil
}

// Device is one GPU.
type Device struct {
	Info
	driver *Driver
}

// Device describes the device of that index.
func (d *Driver) Device(index int) (*Device, error) {
	if index < 0 || index >= d.count {
		return nil, fmt.Errorf("cuda: there is no device %d: the driver counts %d", index, d.count)
	}
	var i C.nm_info
	if err := d.check(C.nm_cuda_device_info(d.calls, C.int(index), &i)); err != nil {
		return nil, err
	}
	const prohibited = 2 // CU_COMPUTEMODE_PROHIBITED
	return &Device{driver: d, Info: Info{Index: index, Name: C.GoString(&i.name[0]), Memory: int64(i.memory), Compute: [2]int{int(i.major), int(i.minor)},
		Multiprocessors: int(i.multiprocessors), ThreadsPerBlock: int(i.threads_per_block), SharedPerBlock: int(i.shared_per_block),
		SharedPerBlockOptin: int(i.shared_optin),
		Prohibited:          i.compute_mode == prohibited, Driver: d.version}}, nil
}
