// Package cublaslt multiplies matrices with NVIDIA's cuBLASLt, where that is installed: float32 matrices, row-major, with a bias and in stacks.
//
// The library is opened at run time (libcublasLt.so.13 or .12, which come with the CUDA toolkit and with PyTorch), like the driver. The environment variable
// NETMEND_LIBCUBLASLT names another one, or is "off"; "on" stands for those names. Work is queued on a driver.Stream, also while that is captured.
//
// The algorithm of a product is the first that the library's heuristic names for its shape, alignment and a bound of its workspace, chosen once and without
// looking at the clock. So one library gives the same bits on the same GPU; another version, or another GPU, may sum in another order.
package cublaslt
