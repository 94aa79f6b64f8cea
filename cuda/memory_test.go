//go:build linux && cgo

package cuda_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"netmend/cuda"
	"netmend/cuda/emulator"
	"netmend/engine"
)

// block is a program with so many MiB of state.
func block(mib int) *engine.Program {
	p := engine.NewProgram(0)
	s := p.NewState("s", []int{mib << 18})
	b := p.NewFunc("f", 0)
	b.Output(b.Slice(s, []int{0}, []int{1}, []int{1}))
	return p
}

// compiled compiles blocks of so many MiB at the same time.
func compiled(devs []engine.Device, mib ...int) (list []engine.Executable, errs []error) {
	list, errs = make([]engine.Executable, len(mib)), make([]error, len(mib))
	var wait sync.WaitGroup
	for i := range mib {
		wait.Go(func() { list[i], errs[i] = devs[i%len(devs)].Compile(block(mib[i])) })
	}
	wait.Wait()
	return list, errs
}

// TestMemoryInUse: what does not fit beside others is told apart from what never fits, over all devices that are open on the GPU.
func TestMemoryInUse(t *testing.T) {
	emulated(t)
	devs := []engine.Device{open(t, cuda.Options{}, "memory=268435456"), open(t, cuda.Options{}, "memory=268435456")}
	list, errs := compiled(devs, 100, 100)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, dev := range devs {
		_, err := dev.Compile(block(100))
		if !errors.Is(err, engine.ErrMemoryInUse) || !errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), " MiB are free") {
			t.Errorf("a third training: error %v", err)
		}
		if _, err := dev.Compile(block(300)); !errors.Is(err, engine.ErrMemory) || errors.Is(err, engine.ErrMemoryInUse) {
			t.Errorf("a training larger than the GPU: error %v", err)
		}
	}
	if err := list[0].Close(); err != nil {
		t.Fatal(err)
	}
	third, err := devs[1].Compile(block(100))
	if err != nil {
		t.Fatalf("beside one: %v", err)
	}
	if err := errors.Join(third.Close(), list[1].Close()); err != nil {
		t.Fatal(err)
	}
	emulator.Set(t, "taken", 200<<20)
	if _, err := devs[0].Compile(block(100)); !errors.Is(err, engine.ErrMemoryInUse) || !strings.Contains(err.Error(), "0 MiB are held by other trainings") {
		t.Errorf("beside another program: error %v", err)
	}
	limited := open(t, cuda.Options{MemoryLimit: 50 << 20}, "memory=268435456")
	if _, err := limited.Compile(block(60)); !errors.Is(err, engine.ErrMemory) || errors.Is(err, engine.ErrMemoryInUse) {
		t.Errorf("beyond the limit: error %v", err)
	}
}

// TestCompileAtOnce: of many that are compiled at the same time, as many get memory as fit, and the others are refused by us and not by the driver; the
// memory that the driver needs stays free.
func TestCompileAtOnce(t *testing.T) {
	emulated(t)
	const memory, each, many = 256 << 20, 60, 12
	settings := fmt.Sprintf("memory=%d", memory)
	devs := []engine.Device{open(t, cuda.Options{}, settings), open(t, cuda.Options{}, settings)}
	before := emulator.Get(t, "bytes")
	sizes := slices.Repeat([]int{each}, many)
	for range 3 {
		list, errs := compiled(devs, sizes...)
		if used := emulator.Get(t, "bytes"); used > memory-memory/64 {
			t.Errorf("%d MiB of %d are used", used>>20, memory>>20)
		}
		fit := 0
		for i, e := range list {
			if errs[i] == nil {
				fit++
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			} else if !errors.Is(errs[i], engine.ErrMemoryInUse) || strings.Contains(errs[i].Error(), "cuMemAlloc") {
				t.Errorf("error %v", errs[i])
			}
		}
		if want := 4; fit != want {
			t.Errorf("%d fit, want %d", fit, want)
		}
		if after := emulator.Get(t, "bytes"); after != before {
			t.Errorf("%d bytes are left", after-before)
		}
	}
}

// picker is a program that gives the rows of a data set, for an executable that was handed them.
func picker(t *testing.T, dev engine.Device, rows, width int) (engine.Executable, engine.TensorID) {
	t.Helper()
	p := engine.NewProgram(rows)
	x := p.NewData("x", engine.Float, []int{width})
	b := p.NewFunc("f", 1)
	b.Output(b.Batch(x))
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, x
}

// picks checks that an executable reads these values.
func picks(t *testing.T, e engine.Executable, values []float32, width int, rows ...int32) {
	t.Helper()
	res, err := e.Run(t.Context(), engine.Schedule{Rows: rows})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		for k, v := range values[int(r)*width : (int(r)+1)*width] {
			if got := res.Outputs[0][i*width+k]; got != float64(v) {
				t.Fatalf("row %d, element %d: %v, want %v", r, k, got, v)
			}
		}
	}
}

func randoms(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = r.Float32()
	}
	return v
}

// TestDataIsUploadedOnce: executables on one GPU share the data that they load, at whatever time, until they load other.
func TestDataIsUploadedOnce(t *testing.T) {
	emulated(t)
	const rows, width = 23, 150_001 // more than both halves of the staging memory, twice, with a rest
	dev := open(t, cuda.Options{}, "")
	second := open(t, cuda.Options{}, "")
	values := randoms(1, rows*width)
	first, x := picker(t, dev, rows, width)
	load := func(e engine.Executable, v any) (uploaded, allocated int64) {
		t.Helper()
		uploaded, allocated = emulator.Get(t, "uploaded"), emulator.Get(t, "bytes")
		if err := e.Load(x, v); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Run(t.Context(), engine.Schedule{Rows: []int32{0}}); err != nil {
			t.Fatal(err)
		}
		return emulator.Get(t, "uploaded") - uploaded, emulator.Get(t, "bytes") - allocated
	}
	const bytes = 4 * rows * width
	if up, _ := load(first, values); up < bytes {
		t.Errorf("%d bytes were uploaded, the data has %d", up, bytes)
	}
	picks(t, first, values, width, 22, 0, 7, 3)

	// The same data, in another slice and from other numbers, beside the first and on another device of the GPU.
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	shared := []engine.Executable{}
	for i, v := range []any{slices.Clone(values), wide, values} {
		e, _ := picker(t, []engine.Device{dev, second}[i%2], rows, width)
		if up, more := load(e, v); up > bytes/100 || more != 0 {
			t.Errorf("executable %d: %d bytes more were uploaded, %d allocated", i, up, more)
		}
		picks(t, e, values, width, 22, 0)
		shared = append(shared, e)
	}

	// The slice is the caller's again: who loads it changed gets the change, and nobody else does.
	was := slices.Clone(values)
	values[22*width+5] += 1
	if up, more := load(shared[0], values); up < bytes || more < bytes {
		t.Errorf("changed data: %d bytes were uploaded, %d allocated", up, more)
	}
	picks(t, shared[0], values, width, 22, 21)
	for _, e := range []engine.Executable{first, shared[1], shared[2]} {
		picks(t, e, was, width, 22, 21)
	}

	// It stays for those who come later.
	for _, e := range append(shared, first) {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	late, _ := picker(t, dev, rows, width)
	if up, more := load(late, was); up > bytes/100 || more != 0 {
		t.Errorf("a later executable: %d bytes were uploaded, %d allocated", up, more)
	}
	picks(t, late, was, width, 22, 0)
}

// TestDataAtOnce: those who load the same at the same time wait for the one that uploads.
func TestDataAtOnce(t *testing.T) {
	emulated(t)
	const rows, width, many = 40, 50_000, 8
	dev := open(t, cuda.Options{}, "")
	values := randoms(2, rows*width)
	var list [many]engine.Executable
	var x engine.TensorID
	for i := range list {
		list[i], x = picker(t, dev, rows, width)
	}
	uploaded := emulator.Get(t, "uploaded")
	var errs [many]error
	var wait sync.WaitGroup
	for i, e := range list {
		wait.Go(func() { errs[i] = e.Load(x, values) })
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		picks(t, e, values, width, 39, 1)
	}
	if up := emulator.Get(t, "uploaded") - uploaded; up < 4*rows*width || up > 4*rows*width*11/10 {
		t.Errorf("%d bytes were uploaded, the data has %d", up, 4*rows*width)
	}
}

// TestDataMakesRoom: data that nobody uses goes where memory is wanted, oldest first, and data that is used stays.
func TestDataMakesRoom(t *testing.T) {
	emulated(t)
	const rows, width = 10, 2 << 20 // 80 MiB
	dev := open(t, cuda.Options{}, "memory=268435456")
	var sets [3][]float32
	for i := range sets {
		sets[i] = randoms(uint64(3+i), rows*width)
	}
	used, x := picker(t, dev, rows, width)
	if err := used.Load(x, sets[0]); err != nil {
		t.Fatal(err)
	}
	idle, _ := picker(t, dev, rows, width)
	if err := errors.Join(idle.Load(x, sets[1]), idle.Close()); err != nil {
		t.Fatal(err)
	}
	next, _ := picker(t, dev, rows, width)
	if err := next.Load(x, sets[2]); err != nil { // 80 MiB in use, 80 idle
		t.Fatal(err)
	}
	picks(t, used, sets[0], width, 9, 0)
	picks(t, next, sets[2], width, 9, 0)
	last, _ := picker(t, dev, rows, width)
	if err := last.Load(x, sets[1]); !errors.Is(err, engine.ErrMemoryInUse) {
		t.Fatalf("more data than fits: error %v", err)
	}
	if _, err := last.Run(t.Context(), engine.Schedule{Rows: []int32{0}}); err == nil || !strings.Contains(err.Error(), `"x" is not loaded`) {
		t.Errorf("data that is not loaded: error %v", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if err := last.Load(x, sets[1]); err != nil {
		t.Fatal(err)
	}
	picks(t, last, sets[1], width, 0, 9)
	if _, err := dev.Compile(block(100)); !errors.Is(err, engine.ErrMemoryInUse) {
		t.Errorf("beside 160 MiB of data in use: error %v", err)
	}
}

// TestDataThatCannotBeHad: a column that is refused leaves nothing behind, and what was loaded before stays.
func TestDataThatCannotBeHad(t *testing.T) {
	emulated(t)
	const rows, width = 4, 1000
	dev := open(t, cuda.Options{}, "")
	e, x := picker(t, dev, rows, width)
	values, others := randoms(8, rows*width), randoms(9, rows*width)
	if err := e.Load(x, values); err != nil {
		t.Fatal(err)
	}
	before := emulator.Get(t, "bytes")
	emulator.Set(t, "fail_alloc", 1)
	if err := e.Load(x, others); !errors.Is(err, engine.ErrMemoryInUse) {
		t.Fatalf("error %v", err)
	}
	if after := emulator.Get(t, "bytes"); after != before {
		t.Errorf("%d bytes are left", after-before)
	}
	picks(t, e, values, width, 3, 0)
}

// BenchmarkContent measures what telling data sets apart costs, beside the hash that would withstand an adversary.
func BenchmarkContent(b *testing.B) {
	values := make([]byte, 256<<20)
	for i := range values {
		values[i] = byte(i * 7)
	}
	for _, h := range []struct {
		name string
		hash func([]byte)
	}{{"ours", func(v []byte) { cuda.ContentOf(v) }}, {"SHA-256", func(v []byte) { sha256.Sum256(v) }}} {
		b.Run(h.name, func(b *testing.B) {
			b.SetBytes(int64(len(values)))
			for b.Loop() {
				h.hash(values)
			}
		})
	}
}
