//go:build linux && cgo

package driver

// #include "shim.h"
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"
)

// Dim is the extent of a grid or of a block. A Y or Z of zero stands for 1, so that Dim{X: n} is a line; an X of zero is refused by the driver.
type Dim struct{ X, Y, Z int }

func (d Dim) c() [3]C.uint32_t {
	return [3]C.uint32_t{C.uint32_t(d.X), C.uint32_t(max(d.Y, 1)), C.uint32_t(max(d.Z, 1))}
}

// Batch is a list of kernel launches that goes to the driver in one call. It may be launched any number of times, also while a Stream is captured.
// The zero Batch is empty.
type Batch struct {
	launches []C.nm_launch
	offsets  []C.uint32_t
	params   []byte
	names    []string
	calls    []call
}

// call is a place in a batch where a library queues its own work.
type call struct {
	launches int // before it
	name     string
	queue    func(*Stream) error
}

// Len is the number of launches and calls.
func (b *Batch) Len() int { return len(b.launches) + len(b.calls) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.launches, b.offsets, b.params, b.names = b.launches[:0], b.offsets[:0], b.params[:0], b.names[:0]
	b.calls = b.calls[:0]
}

// Add appends a launch: a grid of blocks, each with so many bytes of dynamic shared memory, and the kernel's parameters in order. A parameter is a Pointer,
// a sized integer or float, or an array or structure of those (laid out as C does); their sizes are checked against the kernel where the driver knows
// it. Pairs of one kernel's parameters with another's values that have the same sizes go unnoticed.
func (b *Batch) Add(f *Function, grid, block Dim, shared int, params ...any) error {
	if f.Params != nil && len(params) != len(f.Params) {
		return fmt.Errorf("cuda: kernel %q: %d parameters, it has %d", f.Name, len(params), len(f.Params))
	}
	if len(params) > C.NM_MAX_PARAMS {
		return fmt.Errorf("cuda: kernel %q: %d parameters, at most %d are supported", f.Name, len(params), C.NM_MAX_PARAMS)
	}
	// The first error leaves the batch as it was.
	offsets, data := b.offsets, b.params
	for i, p := range params {
		v := reflect.ValueOf(p)
		if p == nil || !plain(v.Type()) {
			return fmt.Errorf("cuda: kernel %q: parameter %d is %T, wants a sized number, a Pointer, or an array or structure of them", f.Name, i, p)
		}
		size := int(v.Type().Size())
		if f.Params != nil && size != f.Params[i] {
			return fmt.Errorf("cuda: kernel %q: parameter %d (%T) has %d bytes, the kernel's has %d", f.Name, i, p, size, f.Params[i])
		}
		for len(data)%16 != 0 { // no type of C needs more
			data = append(data, 0)
		}
		offsets = append(offsets, C.uint32_t(len(data)))
		box := reflect.New(v.Type())
		box.Elem().Set(v)
		data = append(data, unsafe.Slice((*byte)(box.UnsafePointer()), size)...)
	}
	b.launches = append(b.launches, C.nm_launch{function: f.f, grid: grid.c(), block: block.c(), shared: C.uint32_t(shared),
		first_param: C.uint32_t(len(b.offsets)), count: C.uint32_t(len(params))})
	b.offsets, b.params, b.names = offsets, data, append(b.names, f.Name)
	return nil
}

// plain reports whether values of a type may be handed to a kernel: no pointers of Go's, and sizes that are the same everywhere.
func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32, reflect.Int64, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	case reflect.Array:
		return t.Len() > 0 && plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
		return t.NumField() > 0
	}
	return false
}

// Call appends what a library queues: at its turn, queue is called to put that into the stream. The name is for errors.
func (b *Batch) Call(name string, queue func(*Stream) error) {
	b.calls = append(b.calls, call{len(b.launches), name, queue})
}

// Run queues all launches and calls of the batch, in order. An error names the kernel that the driver refused, or the call; what is before it is queued.
func (s *Stream) Run(b *Batch) error {
	from := 0
	for _, c := range b.calls {
		if err := s.run(b, from, c.launches); err != nil {
			return err
		}
		if err := c.queue(s); err != nil {
			return fmt.Errorf("cuda: %s: %w", c.name, err)
		}
		from = c.launches
	}
	return s.run(b, from, len(b.launches))
}

// run queues the launches [from, to).
func (s *Stream) run(b *Batch, from, to int) error {
	if from == to {
		return nil
	}
	var failed C.size_t
	err := s.check(C.nm_cuda_launch_all(s.context.calls(), s.context.c, s.s, &b.launches[from], C.size_t(to-from),
		unsafe.SliceData(b.offsets), unsafe.Pointer(unsafe.SliceData(b.params)), &failed))
	if err != nil {
		l := b.launches[from+int(failed)]
		return fmt.Errorf("cuda: kernel %q, grid %v, block %v, %d bytes of shared memory: %w", b.names[from+int(failed)], l.grid, l.block, l.shared, err)
	}
	return nil
}

// Launch queues one launch; see Batch.Add. For many, a Batch is cheaper.
func (s *Stream) Launch(f *Function, grid, block Dim, shared int, params ...any) error {
	var b Batch
	if err := b.Add(f, grid, block, shared, params...); err != nil {
		return err
	}
	return s.Run(&b)
}
