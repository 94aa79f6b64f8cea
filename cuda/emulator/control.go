//go:build linux && cgo

package emulator

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdlib.h>
// static int nm_set(void *f, const char *name, long long value) { return ((int (*)(const char *, long long))f)(name, value); }
// static long long nm_get(void *f, const char *name) { return ((long long (*)(const char *))f)(name); }
import "C"

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// symbol finds a function of the emulator that Use chose and a driver has opened.
func symbol(t testing.TB, name string) unsafe.Pointer {
	t.Helper()
	path := C.CString(os.Getenv("NETMEND_LIBCUDA"))
	defer C.free(unsafe.Pointer(path))
	lib := C.dlopen(path, C.RTLD_NOW)
	if lib == nil {
		t.Fatalf("emulator: %s", C.GoString(C.dlerror()))
	}
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	f := C.dlsym(lib, s)
	if f == nil {
		t.Fatalf("emulator: %s is not the emulator: it has no %s", C.GoString(path), name)
	}
	return f
}

// Set changes one setting of the emulator at once; see Use. Opening a driver sets all of them anew.
func Set(t testing.TB, name string, value int64) {
	t.Helper()
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	if C.nm_set(symbol(t, "nmEmulatorSet"), s, C.longlong(value)) != 0 {
		t.Fatalf("emulator: there is no setting %q", name)
	}
}

// Get reads a setting, or a count: "launches" (kernels run), "graph_launches", "waits" (times that the host waited while there was work), "uploaded"
// (bytes that were copied from the host), "allocations" (of device memory, now) and their "bytes".
func Get(t testing.TB, name string) int64 {
	t.Helper()
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	n := int64(C.nm_get(symbol(t, "nmEmulatorGet"), s))
	if n < 0 {
		t.Fatalf("emulator: there is no setting or count %q", name)
	}
	return n
}

// lock takes an exclusive lock, over all processes, until the function that it gives is called.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
