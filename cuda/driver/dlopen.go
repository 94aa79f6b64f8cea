//go:build linux && cgo && !gorgonia

package driver

// #include "shim.h"
import "C"

import "sync"

// libraries holds every library that was opened, by path: their function tables live as long as the process.
var libraries = struct {
	sync.Mutex
	byPath map[string]*C.nm_calls
}{byPath: map[string]*C.nm_calls{}}

// load gives the functions of the library at path, which it opens at the first call.
func load(path string) (*C.nm_calls, error) {
	libraries.Lock()
	defer libraries.Unlock()
	if calls := libraries.byPath[path]; calls != nil {
		return calls, nil
	}
	calls, err := read(path)
	if err == nil {
		libraries.byPath[path] = calls
	}
	return calls, err
}
