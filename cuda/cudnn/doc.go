// Package cudnn convolves with NVIDIA's cuDNN 8 or 9, where that is installed: float32 images in one, two or three dimensions, row-major as (N, C, z, y, x), with
// groups, forward and the gradients by images and by kernels.
//
// The library is opened at run time (libcudnn.so.9 or .8, which come from NVIDIA and with PyTorch), like the driver. The environment variable NETMEND_LIBCUDNN names
// another one, or is "off"; "on" stands for those names. Work is queued on a driver.Stream, also while that is captured.
//
// The algorithm of a convolution is the first of those that the library's heuristic names which gives the same bits every time, adds up the products themselves,
// and needs no more workspace than it is given. It is chosen once and without looking at the clock. So one library gives the same bits on the same GPU; another
// version, or another GPU, may sum in another order.
package cudnn
