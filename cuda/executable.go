//go:build linux && cgo

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"netmend/cuda/driver"
	"netmend/engine"
)

type executable struct {
	dev       *device
	p         *engine.Program
	stream    *driver.Stream
	fixed     driver.Pointer // state, constants, tables
	arena     driver.Pointer // temporaries
	bytes     [2]int64       // of fixed and arena
	permanent []*buffer
	columns   []*column // by TensorID: Data that is loaded
	funcs     []function
	closed    bool
}

type function struct {
	batch             int
	feeds             []engine.TensorID // Feed tensors that it reads
	record, read      int               // words per step that are uploaded, and that are fetched
	capacity          int               // steps that are uploaded at once
	position, outputs *buffer           // nm_position with the records behind it; records of outputs
	data              []engine.TensorID // Data tensors that it reads
	begin             table             // of what begin_step lays out: it says where data lies
	moved             bool              // data was loaded since begin was filled
	kernels           []string          // of a step, in order
	launches          driver.Batch
	graph             *driver.Graph
	pace              time.Duration // that a step took, of the last steps; 0 before the first
}

// allocate takes all memory of the executable, and makes it zeros.
func (e *executable) allocate(fixed, arena int64) (err error) {
	if e.stream, err = e.dev.context.NewStream(); err != nil {
		return err
	}
	at, err := e.dev.allocate(fixed, arena)
	if err != nil {
		return err
	}
	e.fixed, e.arena, e.bytes = at[0], at[1], [2]int64{fixed, arena}
	return e.stream.Fill(e.fixed, 0, fixed)
}

// record makes the launches of a function, and the graph that replays them.
func (e *executable) record(fn *function, steps []*step) error {
	if err := e.list(fn, steps); err != nil || e.dev.direct {
		return err
	}
	var err error
	fn.graph, err = e.stream.Capture(func() error { return e.stream.Run(&fn.launches) })
	return err
}

// list makes the launches of a function.
func (e *executable) list(fn *function, steps []*step) error {
	for _, s := range steps {
		if s.queue != nil {
			fn.launches.Call(s.what, s.queue)
			fn.kernels = append(fn.kernels, s.kernel)
			continue
		}
		if err := fn.launches.Add(e.dev.kernel(s.kernel), s.grid, s.block, s.shared, s.params()...); err != nil {
			return fmt.Errorf("cuda: %s: %w", s.what, err)
		}
		fn.kernels = append(fn.kernels, s.kernel)
	}
	return nil
}

// Close waits for what is under way and frees everything.
func (e *executable) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	e.dev.live.Add(-1)
	return e.dev.explain(e.free())
}

// Place is the name of the GPU that the executable is on, see engine.Placed.
func (e *executable) Place() string { return e.dev.name }

func (e *executable) free() error {
	var errs []error
	if e.stream != nil {
		errs = append(errs, e.stream.Synchronize())
	}
	for i := range e.funcs {
		if g := e.funcs[i].graph; g != nil {
			errs = append(errs, g.Close())
		}
	}
	for _, c := range e.columns {
		if c != nil {
			errs = append(errs, c.release())
		}
	}
	errs = append(errs, e.dev.free([]driver.Pointer{e.fixed, e.arena}, e.bytes[:]...))
	if e.stream != nil {
		errs = append(errs, e.stream.Close())
	}
	return errors.Join(errs...)
}

// host finds a tensor that the host may touch, see engine.Program.Transfer.
func (e *executable) host(verb string, id engine.TensorID, values any, roles ...engine.Role) error {
	if e.closed {
		return fmt.Errorf("cuda: %s: the executable is closed", verb)
	}
	_, err := e.p.Transfer(verb, id, values, roles...)
	return err
}

// Load copies values into a State or Data tensor.
func (e *executable) Load(id engine.TensorID, values any) error {
	if err := e.host("load", id, values, engine.State, engine.Data); err != nil {
		return err
	}
	var bytes []byte
	switch v := values.(type) {
	case []float32:
		bytes = driver.Bytes(v)
	case []float64:
		bytes = driver.Bytes(toFloat32(make([]float32, 0, len(v)), v))
	case []int32:
		bytes = driver.Bytes(v)
	}
	if e.p.Tensors[id].Role == engine.Data {
		return e.dev.explain(e.loadData(id, bytes))
	}
	return e.dev.explain(e.stream.Upload(e.permanent[id].at, bytes))
}

// loadData uses the column of those elements. The functions that read the tensor hear of its place before they run.
func (e *executable) loadData(id engine.TensorID, elements []byte) error {
	if len(elements) == 0 {
		return nil
	}
	c, err := e.dev.column(elements)
	if err != nil {
		return err
	}
	before := e.columns[id]
	e.columns[id], e.permanent[id].at = c, c.at
	for i := range e.funcs {
		fn := &e.funcs[i]
		fn.moved = fn.moved || before != c && slices.Contains(fn.data, id)
	}
	if before != nil { // no Run is under way, and the next one reads another column
		err = before.release()
	}
	return errors.Join(err, e.stream.Wait(c.ready))
}

// settleData tells a function where the data lies that it reads.
func (e *executable) settleData(fn *function) error {
	for _, id := range fn.data {
		if e.columns[id] == nil {
			return fmt.Errorf("cuda: run: data %q is not loaded", e.p.Tensors[id].Name)
		}
	}
	if !fn.moved {
		return nil
	}
	fn.moved = false
	return e.stream.Upload(fn.begin.b.at, fn.begin.fill())
}

func toFloat32(to []float32, from []float64) []float32 {
	for _, v := range from {
		to = append(to, float32(v))
	}
	return to
}

// Fetch copies a State tensor out.
func (e *executable) Fetch(id engine.TensorID, values any) error {
	if err := e.host("fetch", id, values, engine.State); err != nil {
		return err
	}
	var bytes []byte
	var narrow []float32
	switch v := values.(type) {
	case []float32:
		bytes = driver.Bytes(v)
	case []float64:
		narrow = make([]float32, len(v))
		bytes = driver.Bytes(narrow)
	case []int32:
		bytes = driver.Bytes(v)
	}
	if err := e.stream.Download(bytes, e.permanent[id].at); err != nil {
		return e.dev.explain(err)
	}
	if v, ok := values.([]float64); ok {
		for i, x := range narrow {
			v[i] = float64(x)
		}
	}
	return nil
}

const (
	// lookEvery is about how long the device works between two looks at the context: short enough to stop well within a second, and long enough for
	// the pause of some ten microseconds in between not to count.
	lookEvery = 50 * time.Millisecond
	// firstSteps are queued when nothing is known of a step's time.
	firstSteps = 4
)

// Run executes the steps of a schedule.
func (e *executable) Run(ctx context.Context, s engine.Schedule) (*engine.Result, error) {
	if e.closed {
		return nil, errors.New("cuda: run: the executable is closed")
	}
	n, err := e.p.Steps(&s)
	if err != nil {
		return nil, err
	}
	f, fn := e.p.Funcs[s.Func], &e.funcs[s.Func]
	if err := e.settleData(fn); err != nil {
		return nil, e.dev.explain(err)
	}
	res := &engine.Result{Outputs: make([][]float64, len(f.Outputs))}
	for k, id := range f.Outputs {
		res.Outputs[k] = make([]float64, 0, n*e.p.Tensors[id].Len())
	}
	var up []uint32
	var down []uint32
	for res.Steps < n {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		todo := min(fn.chunk(), n-res.Steps)
		up = e.pack(up[:0], fn, &s, res.Steps, todo)
		start := time.Now()
		if err := e.replay(fn, up, todo); err != nil {
			return res, e.dev.explain(err)
		}
		down = slices.Grow(down[:0], todo*fn.read)[:todo*fn.read]
		if err := e.stream.Download(driver.Bytes(down), fn.outputs.at); err != nil {
			return res, e.dev.explain(err)
		}
		if err := e.stream.Synchronize(); err != nil { // where there was no output to wait for
			return res, e.dev.explain(err)
		}
		fn.pace = max(1, time.Since(start)/time.Duration(todo))
		e.unpack(res, f, down, todo)
		res.Steps += todo
	}
	return res, nil
}

// chunk is the number of steps to queue at once.
func (fn *function) chunk() int {
	if fn.pace == 0 {
		return min(firstSteps, fn.capacity)
	}
	return max(1, min(fn.capacity, int(lookEvery/fn.pace)))
}

// replay uploads where the steps begin, their rows and feeds, and queues them.
func (e *executable) replay(fn *function, up []uint32, steps int) error {
	if err := e.stream.Upload(fn.position.at, driver.Bytes(up)); err != nil {
		return err
	}
	if fn.graph != nil {
		return fn.graph.Launch(e.stream, steps)
	}
	for range steps {
		if err := e.stream.Run(&fn.launches); err != nil {
			return err
		}
	}
	return nil
}

// pack lays out nm_position and the records of so many steps.
func (e *executable) pack(to []uint32, fn *function, s *engine.Schedule, first, steps int) []uint32 {
	number := s.FirstStep + uint64(first)
	to = append(to, uint32(s.Seed), uint32(s.Seed>>32), uint32(number), uint32(number>>32), 0, 0, 0, 0)
	for i := first; i < first+steps; i++ {
		for _, r := range s.Rows[i*fn.batch : (i+1)*fn.batch] {
			to = append(to, uint32(r))
		}
		for _, id := range fn.feeds {
			n := e.p.Tensors[id].Len()
			for _, v := range s.Feeds[id][i*n : (i+1)*n] {
				to = append(to, math.Float32bits(float32(v)))
			}
		}
	}
	return to
}

// unpack appends the outputs of so many steps to the result.
func (e *executable) unpack(res *engine.Result, f *engine.Func, from []uint32, steps int) {
	for range steps {
		for k, id := range f.Outputs {
			t := &e.p.Tensors[id]
			n := t.Len()
			for _, w := range from[:n] {
				v := float64(int32(w))
				if t.Type == engine.Float {
					v = float64(math.Float32frombits(w))
				}
				res.Outputs[k] = append(res.Outputs[k], v)
			}
			from = from[n:]
		}
	}
}
