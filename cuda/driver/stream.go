//go:build linux && cgo

package driver

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// Stream is a queue of work that runs in order. It does not synchronise with the legacy default stream, which nothing here uses.
type Stream struct {
	context *Context
	s       C.CUstream
}

// NewStream makes a stream.
func (x *Context) NewStream() (*Stream, error) {
	s := &Stream{context: x}
	if err := x.check(C.nm_cuda_stream_create(x.calls(), x.c, &s.s)); err != nil {
		return nil, err
	}
	return s, nil
}

// Close frees the stream; what is queued still runs.
func (s *Stream) Close() error {
	if s.s == nil {
		return nil
	}
	h := s.s
	s.s = nil
	return s.check(C.nm_cuda_stream_destroy(s.context.calls(), s.context.c, h))
}

func (s *Stream) check(r C.nm_result) error { return s.context.check(r) }

// Handle is the stream as libraries of NVIDIA's take it, a CUstream.
func (s *Stream) Handle() unsafe.Pointer { return unsafe.Pointer(s.s) }

// Context is the context of the stream.
func (s *Stream) Context() *Context { return s.context }

// Synchronize waits until everything queued is done, and gives the error of what failed.
func (s *Stream) Synchronize() error {
	return s.check(C.nm_cuda_stream_synchronize(s.context.calls(), s.context.c, s.s))
}

// notReady is CUDA_ERROR_NOT_READY: work is under way.
const notReady = 600

// idle makes a query's answer of a result.
func (x *Context) idle(r C.nm_result) (bool, error) {
	if r.code == notReady {
		return false, nil
	}
	err := x.check(r)
	return err == nil, err
}

// Idle reports whether everything queued is done.
func (s *Stream) Idle() (bool, error) {
	return s.context.idle(C.nm_cuda_stream_query(s.context.calls(), s.context.c, s.s))
}

// Upload copies host memory to the device, after what is queued, and waits until it is done. Not while the stream is captured.
func (s *Stream) Upload(to Pointer, from []byte) error {
	if len(from) == 0 {
		return nil
	}
	return s.check(C.nm_cuda_upload(s.context.calls(), s.context.c, s.s, C.CUdeviceptr(to), unsafe.Pointer(&from[0]), C.size_t(len(from)), 1))
}

// Download copies device memory to the host, after what is queued, and waits until it is done. Not while the stream is captured.
func (s *Stream) Download(to []byte, from Pointer) error {
	if len(to) == 0 {
		return nil
	}
	return s.check(C.nm_cuda_download(s.context.calls(), s.context.c, s.s, unsafe.Pointer(&to[0]), C.CUdeviceptr(from), C.size_t(len(to)), 1))
}

// UploadAsync queues a copy of bytes [offset, offset+bytes) of page-locked memory to the device.
func (s *Stream) UploadAsync(to Pointer, from *Host, offset, bytes int) error {
	p, err := from.at(offset, bytes)
	if err != nil || bytes == 0 {
		return err
	}
	return s.check(C.nm_cuda_upload(s.context.calls(), s.context.c, s.s, C.CUdeviceptr(to), p, C.size_t(bytes), 0))
}

// DownloadAsync queues a copy from the device to bytes [offset, offset+bytes) of page-locked memory.
func (s *Stream) DownloadAsync(to *Host, offset int, from Pointer, bytes int) error {
	p, err := to.at(offset, bytes)
	if err != nil || bytes == 0 {
		return err
	}
	return s.check(C.nm_cuda_download(s.context.calls(), s.context.c, s.s, p, C.CUdeviceptr(from), C.size_t(bytes), 0))
}

// Copy queues a copy within the device. The ranges must not overlap.
func (s *Stream) Copy(to, from Pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	return s.check(C.nm_cuda_copy(s.context.calls(), s.context.c, s.s, C.CUdeviceptr(to), C.CUdeviceptr(from), C.size_t(bytes)))
}

// Fill queues the writing of count bytes of that value.
func (s *Stream) Fill(to Pointer, value byte, count int64) error {
	if count == 0 {
		return nil
	}
	return s.check(C.nm_cuda_fill8(s.context.calls(), s.context.c, s.s, C.CUdeviceptr(to), C.uchar(value), C.size_t(count)))
}

// Fill32 queues the writing of count 32-bit words; to is a multiple of 4.
func (s *Stream) Fill32(to Pointer, value uint32, count int64) error {
	if count == 0 {
		return nil
	}
	return s.check(C.nm_cuda_fill32(s.context.calls(), s.context.c, s.s, C.CUdeviceptr(to), C.uint(value), C.size_t(count)))
}

// Wait makes what is queued from now on wait for the event's last record.
func (s *Stream) Wait(e *Event) error {
	return s.check(C.nm_cuda_stream_wait(s.context.calls(), s.context.c, s.s, e.e))
}

// Graph is a captured sequence of work, made ready to be launched again and again at a fraction of the cost of its parts.
type Graph struct {
	context *Context
	g       C.CUgraphExec
	nodes   int
}

// Capture runs record, which queues work on the stream, and makes a graph of that work instead of running it. Addresses, parameters and sizes are
// fixed with it; host memory that it copies from or to must live as long as the graph. Within record nothing may wait: no Upload, no Download, no
// Synchronize of the stream. Other streams take part where they Wait for an event of this one, if this one in the end waits for theirs.
func (s *Stream) Capture(record func() error) (g *Graph, err error) {
	x := s.context
	if err := s.check(C.nm_cuda_capture_begin(x.calls(), x.c, s.s)); err != nil {
		return nil, err
	}
	g = &Graph{context: x}
	captured := false
	defer func() {
		if !captured { // a panic in record leaves no stream that captures forever
			C.nm_cuda_capture_end(x.calls(), x.c, s.s, 1, nil, nil)
		}
	}()
	if err := record(); err != nil {
		return nil, err
	}
	captured = true
	var nodes C.size_t
	if err := s.check(C.nm_cuda_capture_end(x.calls(), x.c, s.s, 0, &g.g, &nodes)); err != nil {
		return nil, err
	}
	g.nodes = int(nodes)
	return g, nil
}

// Nodes is the number of launches, copies and fills of the graph.
func (g *Graph) Nodes() int { return g.nodes }

// Launch queues so many runs of the graph, one after the other. Runs of one graph never overlap, on whatever streams.
func (g *Graph) Launch(s *Stream, times int) error {
	return s.check(C.nm_cuda_graph_launch(g.context.calls(), g.context.c, g.g, s.s, C.int(times)))
}

// Close frees the graph; a run under way is finished.
func (g *Graph) Close() error {
	if g.g == nil {
		return nil
	}
	h := g.g
	g.g = nil
	return g.context.check(C.nm_cuda_graph_destroy(g.context.calls(), g.context.c, h))
}

// Event marks a place in a stream.
type Event struct {
	context *Context
	e       C.CUevent
}

// NewEvent makes an event. timing: Elapsed may be asked of it, which costs a little.
func (x *Context) NewEvent(timing bool) (*Event, error) {
	e := &Event{context: x}
	t := C.int(0)
	if timing {
		t = 1
	}
	if err := x.check(C.nm_cuda_event_create(x.calls(), x.c, t, &e.e)); err != nil {
		return nil, err
	}
	return e, nil
}

// Record puts the event behind what is queued on the stream.
func (e *Event) Record(s *Stream) error {
	return e.context.check(C.nm_cuda_event_record(e.context.calls(), e.context.c, e.e, s.s))
}

// Synchronize waits for the last Record to be reached.
func (e *Event) Synchronize() error {
	return e.context.check(C.nm_cuda_event_synchronize(e.context.calls(), e.context.c, e.e))
}

// Done reports whether the last Record was reached; so it is where there was none.
func (e *Event) Done() (bool, error) {
	return e.context.idle(C.nm_cuda_event_query(e.context.calls(), e.context.c, e.e))
}

// Elapsed is the device's time from start to e, both recorded, reached and made with timing.
func (e *Event) Elapsed(start *Event) (time.Duration, error) {
	var ms C.float
	err := e.context.check(C.nm_cuda_event_elapsed(e.context.calls(), e.context.c, start.e, e.e, &ms))
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

// Close frees the event.
func (e *Event) Close() error {
	if e.e == nil {
		return nil
	}
	h := e.e
	e.e = nil
	return e.context.check(C.nm_cuda_event_destroy(e.context.calls(), e.context.c, h))
}

// Module is a loaded image of kernels.
type Module struct {
	context *Context
	m       C.CUmodule
}

// Load loads PTX, which the driver compiles for its device (and keeps on disk for the next time), or a cubin. The Error of an image that it cannot
// compile has the compiler's words in Log.
func (x *Context) Load(image []byte) (*Module, error) {
	if len(image) == 0 {
		return nil, errors.New("cuda: an empty module")
	}
	text0 := append(append(make([]byte, 0, len(image)+1), image...), 0) // PTX must end with a zero
	m := &Module{context: x}
	log := make([]byte, 16<<10)
	err := x.check(C.nm_cuda_module_load(x.calls(), x.c, unsafe.Pointer(&text0[0]), &m.m, (*C.char)(unsafe.Pointer(&log[0])), C.size_t(len(log))))
	if err != nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Log = text(log)
		}
		return nil, err
	}
	return m, nil
}

// Close unloads the module. Nothing of it may be running or be launched again, also by a graph.
func (m *Module) Close() error {
	if m.m == nil {
		return nil
	}
	h := m.m
	m.m = nil
	return m.context.check(C.nm_cuda_module_unload(m.context.calls(), m.context.c, h))
}

// Function is a kernel of a loaded module.
type Function struct {
	Name        string
	MaxThreads  int   // of a block
	SharedBytes int   // static
	LocalBytes  int   // per thread: spilled registers and local arrays
	Registers   int   // per thread
	Params      []int // their sizes in bytes; nil where the driver (before CUDA 12.4) does not say
	module      *Module
	f           C.CUfunction
}

// Function finds a kernel.
func (m *Module) Function(name string) (*Function, error) {
	x := m.context
	f := &Function{Name: name, module: m}
	s := append([]byte(name), 0)
	var info C.nm_function_info
	if err := x.check(C.nm_cuda_function(x.calls(), x.c, m.m, (*C.char)(unsafe.Pointer(&s[0])), &f.f, &info)); err != nil {
		return nil, fmt.Errorf("cuda: kernel %q: %w", name, err)
	}
	f.MaxThreads, f.SharedBytes, f.LocalBytes, f.Registers = int(info.max_threads), int(info.shared_bytes), int(info.local_bytes), int(info.registers)
	if info.params >= 0 {
		f.Params = make([]int, info.params)
		for i := range f.Params {
			f.Params[i] = int(info.size[i])
		}
	}
	return f, nil
}

// AllowShared raises the limit of dynamic shared memory, which is 48 KiB minus SharedBytes, up to Info.SharedPerBlockOptin minus SharedBytes.
func (f *Function) AllowShared(bytes int) error {
	x := f.module.context
	return x.check(C.nm_cuda_function_allow_shared(x.calls(), x.c, f.f, C.int(bytes)))
}

// Occupancy is the number of blocks of so many threads and bytes of dynamic shared memory that fit on a multiprocessor.
func (f *Function) Occupancy(threads, shared int) (int, error) {
	x := f.module.context
	var n C.int
	err := x.check(C.nm_cuda_occupancy(x.calls(), x.c, f.f, C.int(threads), C.size_t(shared), &n))
	return int(n), err
}
