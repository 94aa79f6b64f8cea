//go:build linux && cgo

package cuda

// #cgo LDFLAGS: -ldl
// #include <dlfcn.h>
// #include <stdlib.h>
// static size_t nm_version(void *f) { return ((size_t (*)(void))f)(); }
import "C"

import "unsafe"

// Libraries looks for cuBLASLt and cuDNN, the newest first, where the loader looks: LD_LIBRARY_PATH, ld.so.conf. They are found or not; nothing here uses them.
func Libraries() []Library {
	found := []Library{{Name: "cuBLASLt"}, {Name: "cuDNN"}}
	for i, names := range [][]string{{"libcublasLt.so.13", "libcublasLt.so.12"}, {"libcudnn.so.9", "libcudnn.so.8"}} {
		for _, file := range names {
			if v, ok := versionOf(file, [...]string{"cublasLtGetVersion", "cudnnGetVersion"}[i]); ok {
				found[i].File, found[i].Version = file, v
				break
			}
		}
	}
	return found
}

// versionOf opens a library and calls its function that gives a version.
func versionOf(file, function string) (version int, ok bool) {
	name, symbol := C.CString(file), C.CString(function)
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(symbol))
	library := C.dlopen(name, C.RTLD_LAZY|C.RTLD_LOCAL)
	if library == nil {
		return 0, false
	}
	defer C.dlclose(library)
	f := C.dlsym(library, symbol)
	if f == nil {
		return 0, false
	}
	return int(C.nm_version(f)), true
}
