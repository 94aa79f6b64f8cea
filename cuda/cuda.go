// Package cuda is the engine's device on NVIDIA GPUs.
//
// A function of a program becomes a fixed list of kernel launches over memory that is laid out once: state, data and constants for the life of the
// executable, temporaries in an arena by the time they live. Nothing in the list depends on the step: its rows of the data set and its
// feeds are uploaded for many steps at once, and the kernels find their part by a counter in device memory, which the last kernel of a step advances.
// So a step is captured once as a graph and replayed, and the host looks in between only as often as it must to be able to stop.
//
// The kernels are in cuda/kernels, the way to the driver in cuda/driver, and cuda/emulator runs both on a machine without a GPU, for tests.
// Elements are float32 and int32, row-major, images as (N, C, y, x). Sums run in an order that depends on shapes and on the GPU's number of
// multiprocessors alone; there are no atomic additions of floats.
package cuda

// Options say how a device is made.
type Options struct {
	Index       int    // of the GPU, in the driver's order
	MemoryLimit int64  // bytes that one executable may take; 0: all of the GPU's that may be used
	Precision   string // of the factors of matrix products and convolutions, one of Precisions; "" is float32
	// CuBLASLt makes large matrix products NVIDIA's library's, which must be there then. The environment variable NETMEND_LIBCUBLASLT asks for it too (cuda/cublaslt).
	CuBLASLt bool
	// CuDNN makes large convolutions NVIDIA's library's likewise; NETMEND_LIBCUDNN asks for it too (cuda/cudnn). With bf16 it computes none.
	CuDNN bool
}

// Precisions are the values of Options.Precision. tf32 rounds the factors to 10 bits of mantissa and bf16 to 7, for tensor cores; sums, and everything but
// matrix products and convolutions, stay float32. They need compute capability 8.0 to 9.x.
var Precisions = []string{"float32", "tf32", "bf16"}

// Rates are measured speeds of copies, in bytes per second. A copy within the GPU reads and writes each byte, which is counted once.
type Rates struct{ ToDevice, FromDevice, Within float64 }

// Library is one of NVIDIA's libraries beside the driver.
type Library struct {
	Name    string // "cuBLASLt"
	File    string // that the loader found; empty: none
	Version int    // as the library counts: cuBLASLt 12.8.4 is 120804, cuDNN 9.7.1 90701
}
