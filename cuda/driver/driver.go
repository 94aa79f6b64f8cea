// Package driver is a thin layer over the CUDA driver API: devices, contexts, memory, streams, events, modules, launches and graphs.
//
// The library is opened at run time (libcuda.so.1, which comes with NVIDIA's driver), so that the same binary runs where there is none: Open's
// error then says what is missing. The environment variable NETMEND_LIBCUDA names another library, or is "off". No call of the runtime
// API and no header of NVIDIA's is used; the prototypes stand in shim.h. The build tag gorgonia puts gorgonia.org/cu in the library's place (gorgonia.go), and needs both
// header and library.
//
// A build without cgo, or for another system than Linux, has Open, Driver.Devices and the errors alone; everything else needs
// the build constraint linux && cgo.
//
// Rules. All work goes through a Stream, and a Stream runs it in order; streams know nothing of each other but through an Event. There is no
// default stream. A method whose doc does not say that it waits returns before the work is done, and an error of the work may come from any later
// call; methods that wait are Synchronize, Upload, Download. Methods may be called from several goroutines, also on one Context; the order in
// which goroutines put work into one Stream is theirs to fix, and between Capture's begin and end a Stream belongs to Capture.
// Handles are freed by Close (Pointers by Context.Free) and by nothing else; Context.Close comes last.
package driver

import (
	"errors"
	"fmt"
)

// The reasons why there is no GPU to use. errors.Is tells them apart; the error's text has the details.
var (
	ErrNoLibrary = errors.New("no NVIDIA driver is installed")         // libcuda.so.1 is not there, or NETMEND_LIBCUDA is "off"
	ErrNoDevice  = errors.New("the NVIDIA driver finds no usable GPU") // none built in, none visible, or the kernel module does not work
	ErrOldDriver = errors.New("the NVIDIA driver is too old")
	ErrNotBuilt  = errors.New("this build of netmend has no CUDA") // no cgo, or not Linux
)

// Classes of errors of calls, for errors.Is.
var (
	// ErrOutOfMemory: the device has no room for an allocation. Nothing else is harmed.
	ErrOutOfMemory = errors.New("out of device memory")
	// ErrLost: the context is unusable, and with it everything made in it; every later call in it fails with the same error. Causes are illegal
	// addresses, hardware errors (ECC, bus), launches that took too long. Close everything; a new Context may work.
	ErrLost = errors.New("the CUDA context is lost")
)

// Version is a version of the CUDA driver API: 1000 * major + 10 * minor.
type Version int

// MinVersion is what the kernels need: PTX 8.0, which NVRTC 12.0 writes, is known from CUDA 12.0 on (PTX ISA, "Release Notes").
const MinVersion Version = 12000

func (v Version) String() string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Error is a call that failed.
type Error struct {
	Call string // "cuMemAlloc_v2"
	Code int    // CUresult
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string // "out of memory", the driver's words
	Log  string // the compiler's, of a module that could not be loaded
}

func (e *Error) Error() string {
	s := fmt.Sprintf("cuda: %s: %s (%s)", e.Call, e.Name, e.Text)
	if e.Log != "" {
		s += ":\n" + e.Log
	}
	return s
}

// lost lists the results after which a context is unusable: those of which the documentation of CUresult says that the process, or the context,
// must be given up ("this leaves the process in an inconsistent state").
var lost = map[int]bool{
	214: true, // ECC_UNCORRECTABLE
	220: true, // NVLINK_UNCORRECTABLE
	226: true, // CONTAINED
	700: true, // ILLEGAL_ADDRESS
	702: true, // LAUNCH_TIMEOUT
	709: true, // CONTEXT_IS_DESTROYED
	710: true, // ASSERT
	714: true, // HARDWARE_STACK_ERROR
	715: true, // ILLEGAL_INSTRUCTION
	716: true, // MISALIGNED_ADDRESS
	717: true, // INVALID_ADDRESS_SPACE
	718: true, // INVALID_PC
	719: true, // LAUNCH_FAILED
	721: true, // TENSOR_MEMORY_LEAK
	810: true, // MPS_CLIENT_TERMINATED
	999: true, // UNKNOWN
}

// Is tells the class of an error: ErrOutOfMemory, ErrLost.
func (e *Error) Is(class error) bool {
	return class == ErrOutOfMemory && e.Code == 2 || class == ErrLost && lost[e.Code]
}

// Info describes one device.
type Info struct {
	Index               int
	Name                string // "NVIDIA A100-SXM4-40GB"
	Memory              int64  // bytes in all
	Compute             [2]int // compute capability, major and minor
	Multiprocessors     int
	ThreadsPerBlock     int
	SharedPerBlock      int  // bytes that every launch may ask for
	SharedPerBlockOptin int  // bytes that a launch may ask for after Function.AllowShared
	Prohibited          bool // its compute mode allows no context
	Driver              Version
}

// String is, for example, "NVIDIA A100-SXM4-40GB (compute 8.0, 108 multiprocessors, 39.6 GiB, driver CUDA 12.4)".
func (i Info) String() string {
	return fmt.Sprintf("%s (compute %d.%d, %d multiprocessors, %.1f GiB, driver CUDA %v)",
		i.Name, i.Compute[0], i.Compute[1], i.Multiprocessors, float64(i.Memory)/(1<<30), i.Driver)
}
