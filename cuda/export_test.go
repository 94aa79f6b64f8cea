//go:build linux && cgo

package cuda

import "netmend/engine"

// Direct makes what is compiled from now on launch every step anew instead of replaying a graph.
func Direct(d engine.Device) { d.(*device).direct = true }

// Launches lists the kernels of a step of function i.
func Launches(e engine.Executable, i int) []string { return e.(*executable).funcs[i].kernels }

// ContentOf is what columns are told apart by.
func ContentOf(b []byte) any { return contentOf(b) }

// LeastLibrary sets how many multiply-adds the library's products have at least, until the function that it gives is called.
func LeastLibrary(n int) (restore func()) {
	before := leastLibrary
	leastLibrary = n
	return func() { leastLibrary = before }
}

// LeastConvolution sets how many multiply-adds cuDNN's convolutions have at least, until the function that it gives is called.
func LeastConvolution(n int) (restore func()) {
	before := leastConvolution
	leastConvolution = n
	return func() { leastConvolution = before }
}
