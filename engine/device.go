package engine

import (
	"context"
	"errors"
	"fmt"
)

// ErrMemory is wrapped by errors of Compile, Load and Run when the device has too little memory. For a search that is a result with a
// cause, not the end.
var ErrMemory = errors.New("out of memory")

// ErrMemoryInUse wraps ErrMemory where the program would fit if nothing else lay on the device: it may fit later. A Device never waits for that
// itself, since the executable that it would wait for may be the caller's own. Who gets the error closes what it has of the training that failed (a Load
// may fail after a Compile that did not), and tries again when another executable of the device has been closed. When no other is left, the memory is
// another program's, and waiting is of no use. A plain ErrMemory stays one however often it is tried.
var ErrMemoryInUse = fmt.Errorf("%w at present", ErrMemory)

// Device runs programs. Implementations: engine/reference, engine/cpu, cuda. A Device may be used from several goroutines.
type Device interface {
	// Name is what reports and journals show, for example "cpu (oneDNN 2.6.3, 2 threads)".
	Name() string
	// Supports returns nil, or an error that says why this device cannot run op of program p.
	Supports(p *Program, op *Op) error
	// Compile prepares a program. All State starts as zeros. Data is undefined until loaded; a Run that reads it before may be refused.
	Compile(p *Program) (Executable, error)
	Close() error
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
