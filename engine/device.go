package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrMemory is wrapped by errors of Compile, Load and Run when the device has too little memory. For a search that is a result with a
// cause, not the end.
var ErrMemory = errors.New("out of memory")

// ErrMemoryInUse wraps ErrMemory where the program would fit if nothing else lay on the device: it may fit later. A Device never waits for that
// itself, since the executable that it would wait for may be the caller's own. Who gets the error closes what it has of the training that failed (a Load
// may fail after a Compile that did not), and tries again when another executable of the device has been closed. When no other is left, the memory is
// another program's, and waiting is of no use. A plain ErrMemory stays one however often it is tried.
var ErrMemoryInUse = fmt.Errorf("%w at present", ErrMemory)

// ErrDeviceLost is wrapped by errors of a Device and its Executables when the device is gone for this process: a hardware error, a reset, a fault in a kernel.
// All that lay on it is gone, and what is left to do there is Close. The program that met the error need not be its cause: executables that run side by
// side all meet it. So it is no result of a training, which may be made again, elsewhere or later.
var ErrDeviceLost = errors.New("device lost")

// Device runs programs. Implementations: engine/reference, engine/cpu, cuda. A Device may be used from several goroutines.
type Device interface {
	// Name is what reports and journals show, for example "cpu (oneDNN 2.6.3, 2 threads)" or "cuda:1 (NVIDIA A100-SXM4-40GB, …)". It has a parenthesis
	// with everything that the bits of results depend on. A colon before that, and what follows it, say which of several devices it is, see DeviceModel.
	Name() string
	// Supports returns nil, or an error that says why this device cannot run op of program p.
	Supports(p *Program, op *Op) error
	// Compile prepares a program. All State starts as zeros. Data is undefined until loaded; a Run that reads it before may be refused.
	Compile(p *Program) (Executable, error)
	Close() error
}

// DeviceModel is a device's name without what says which of several devices it is: "cuda (…)" for "cuda:1 (…)" as for "cuda:0,2 (…)". Devices of one model
// give the same bits: one may go on with what another has begun.
func DeviceModel(name string) string {
	head, rest, _ := strings.Cut(name, " (")
	if rest != "" {
		rest = " (" + rest
	}
	head, _, _ = strings.Cut(head, ":")
	return head + rest
}

// Placed is an Executable of a device that is made of several, and says on which of them it lies.
type Placed interface {
	// Place is that device's name.
	Place() string
}

// Executable is a compiled program with its state. One goroutine at a time.
type Executable interface {
	// Load copies values into a State or Data tensor. values is []float32 or []float64 for Float, []int32 for Int; its length must be
	// the tensor's. The caller may change values afterwards. Executables of one device may share the memory of Data tensors that are equal.
	Load(id TensorID, values any) error
	// Fetch copies a State tensor out; values as in Load.
	Fetch(id TensorID, values any) error
	// Run executes len(s.Rows)/Batch steps of one function and returns what its outputs were. When ctx ends early, the steps already
	// done are returned together with ctx's error; a step is never left half done.
	Run(ctx context.Context, s Schedule) (*Result, error)
	// Close frees the memory. What follows is refused, but for another Close.
	Close() error
}

// Schedule is many steps of one function.
type Schedule struct {
	Func  int     // index into Program.Funcs
	Rows  []int32 // the rows of the data set, Batch of them per step, in order
	Steps int     // number of steps; for a Func with Batch > 0 it may be left 0, and is then len(Rows)/Batch
	// Feeds holds for every Feed tensor that the function reads one value per step, concatenated.
	Feeds map[TensorID][]float64
	// Seed and FirstStep select the random numbers: step i of this schedule draws those of (Seed, FirstStep+i).
	Seed      uint64
	FirstStep uint64
}

// Result holds what the outputs of Func.Outputs were: Outputs[k] is the k-th output of all steps, concatenated in step order.
type Result struct {
	Steps   int
	Outputs [][]float64
}
