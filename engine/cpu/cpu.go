// Package cpu is the fast device for processors: oneDNN's convolutions and matrix products, kernels of our own for everything else.
//
// Compile turns every function of a program into a flat list of steps over memory that was laid out once (plan.go, memory.go); the steps
// live in C++ (plan.cc and one file per family), and one call from Go makes many passes over them, so that a step of a small network costs
// no crossing of the border, no allocation and no lock. Tensors of images are kept channels-last between the operations that want it
// (layout.go), and come back to row-major order only where an operation needs that. An elementwise operation is done along with the step that makes
// its input, where nobody else reads that (fuse.go).
//
// Threads belong to an Executable. A step is cut into as many parts as there are threads, whatever the load of the machine, and sums are
// added in a fixed order: the same device gives the same bits. oneDNN always runs single-threaded, on one part per thread. Where Executables that
// run at once have more threads than there are cores, each uses its share of them and gives them several parts each. A step ends at its next
// operation when its context does, as long as it has not begun to write weights.
//
// Our kernels are compiled for SSE2, AVX2 and AVX-512 and chosen when the program starts (kernels_*.cc); oneDNN chooses by itself.
package cpu

// Precisions are what Options.Precision may be. With bf16 the factors of convolutions, of their gradients and of single matrix products of
// more than 16,384 multiply-adds are rounded to bfloat16 (8 significant bits, float32's range) as they are read, but for convolutions that sum
// over an odd number of channels, the gradients of weights of an odd number of input channels, and the products with a recurrent layer's states; products are exact, sums and everything else, the weights and their updates above all, stay in float32.
// Numbers below 2^-126 count as zero. It needs a processor with AVX-512 BF16 or AMX.
var Precisions = []string{"float32", "bf16"}

// Options of the device.
type Options struct {
	// Threads of an Executable's Run, and the number of parts that a step is cut into; 0 means one per core. Executables that run side by side
	// do with fewer, but those with one each need not wait for one another.
	Threads int
	// MemoryLimit is the number of bytes that an Executable may take; Compile refuses a program that needs more. 0 means three quarters of
	// the machine's memory.
	MemoryLimit int64
	// Precision of the factors of matrix products and convolutions; see Precisions. "" means float32.
	Precision string
}
