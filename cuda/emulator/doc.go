// Package emulator lets tests use the cuda packages without a GPU. It compiles the kernels' own sources with g++ into a library that stands in for
// libcuda.so.1: the part of the driver API that netmend uses, with launches run on the CPU. It is stricter than a GPU where that finds bugs; what
// it checks is listed at the top of kernels/emulated.h and in lib/memory.h. What it cannot show is how fast a GPU is, or that NVIDIA's
// compiler and driver do what their documentation says.
//
// A test calls Use and then whatever opens the driver:
//
//	emulator.Use(t, "memory=1000000")
//	drv, err := driver.Open()
package emulator

import "errors"

// ErrUnavailable: the emulator cannot be made here, for want of a compiler, of cgo or of Linux.
var ErrUnavailable = errors.New("the emulator of CUDA cannot be made here")
