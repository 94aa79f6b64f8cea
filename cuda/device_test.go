//go:build linux && cgo

package cuda_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netmend/cuda"
	"netmend/cuda/emulator"
	"netmend/engine"
	"netmend/engine/devicetest"
	"netmend/engine/reference"
)

var gpu = flag.Bool("cuda.gpu", false, "run the tests on the machine's GPU instead of the emulator")

// open makes the device: on the emulator with its settings, or on the machine's GPU.
func open(t testing.TB, o cuda.Options, settings string) engine.Device {
	t.Helper()
	if !*gpu {
		emulator.Use(t, settings)
	}
	dev, err := cuda.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// emulated skips a test of what only the emulator can bring about.
func emulated(t *testing.T) {
	t.Helper()
	if *gpu {
		t.Skip("the emulator makes this happen; a GPU does not")
	}
}

func TestDevice(t *testing.T) { devicetest.Run(t, open(t, cuda.Options{}, "")) }

// TestDeviceInReverse finds kernels that work only because threads and blocks happen to run from the first to the last.
func TestDeviceInReverse(t *testing.T) {
	emulated(t)
	if testing.Short() {
		t.Skip("-short")
	}
	devicetest.Run(t, open(t, cuda.Options{}, "reverse=1"))
}

// TestTensorCores: what the precisions round, and no more. The units are those of 10 and of 7 bits of mantissa. On a GPU the whole table of cases is
// run; the emulator, which takes a microsecond for what a tensor core does in a cycle, multiplies a few matrices and convolves a few images.
func TestTensorCores(t *testing.T) {
	for _, p := range []struct {
		name string
		unit float64
	}{{"tf32", 1.0 / (1 << 11)}, {"bf16", 1.0 / (1 << 8)}} {
		t.Run(p.name, func(t *testing.T) {
			dev := open(t, cuda.Options{Precision: p.name}, "compute=80")
			if !strings.HasSuffix(dev.Name(), ", "+p.name+")") {
				t.Errorf("name is %q", dev.Name())
			}
			if *gpu {
				devicetest.RunRounded(t, dev, p.unit)
				return
			}
			want, got := products(t, reference.NewFloat64()), products(t, dev)
			for k := range want {
				square, off := 0.0, 0.0
				for i, w := range want[k] {
					square += w * w / float64(len(want[k]))
					off = max(off, math.Abs(got[k][i]-w))
				}
				if rms := math.Sqrt(square); !(off <= 6*p.unit*rms) || off < p.unit*rms/50 {
					t.Errorf("output %d: off by %.2g of the root mean square, wants some, and at most %.2g", k, off/rms, 6*p.unit)
				}
			}
		})
	}
	if !*gpu {
		emulator.Use(t, "compute=75")
		if _, err := cuda.New(cuda.Options{Precision: "bf16"}); err == nil || !strings.Contains(err.Error(), "use float32") {
			t.Errorf("without such tensor cores: error %v", err)
		}
	}
}

// products are outputs and gradients of matrix products, large and small, and of a convolution.
func products(t *testing.T, dev engine.Device) [][]float64 {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 8))
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	load := make(map[engine.TensorID][]float32)
	var in, out []engine.TensorID
	x := func(shape ...int) engine.TensorID {
		id := p.NewState(fmt.Sprint("s", len(p.Tensors)), shape)
		v := make([]float32, engine.Len(shape))
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		load[id], in = v, append(in, id)
		return id
	}
	one := []int{1, 1}
	out = append(out, b.MatMul(x(150, 70), x(70, 140), engine.None, false, false), b.MatMul(x(40, 60), x(50, 60), engine.None, false, true),
		b.Conv(x(2, 5, 9, 8), x(20, 5, 3, 3), engine.None, engine.Window{Kernel: []int{3, 3}, Strides: []int{1, 2}, Dilations: one, PadBegin: one, PadEnd: one, Group: 1}))
	loss := engine.None
	for _, y := range slices.Clone(out) {
		l := b.Reduce(engine.Sum, b.Mul(y, x(b.Shape(y)...)), false)
		in = in[:len(in)-1]
		if loss != engine.None {
			l = b.Add(l, loss)
		}
		loss = l
	}
	for _, id := range append(out, b.Gradient(loss, in)...) {
		b.Output(id)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for id, v := range load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Run(t.Context(), engine.Schedule{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	return res.Outputs
}

func TestName(t *testing.T) {
	if name := open(t, cuda.Options{}, "").Name(); !strings.HasPrefix(name, "cuda:0 (") || !strings.Contains(name, ", driver ") {
		t.Errorf("name is %q", name)
	}
}

func TestOptions(t *testing.T) {
	open(t, cuda.Options{}, "")
	for _, o := range []cuda.Options{{Index: -1}, {Index: 99}, {MemoryLimit: -1}, {Precision: "float8"}} {
		if dev, err := cuda.New(o); err == nil {
			dev.Close()
			t.Errorf("%+v: no error", o)
		}
	}
}

const netRows, netBatch, netClasses = 40, 8, 3

// network is a small convolutional network with batch norm and dropout, trained by Adam: its program, what is to be loaded, and its state.
func network(t *testing.T) (p *engine.Program, load map[engine.TensorID]any, coefs engine.TensorID) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	p, load = engine.NewProgram(netRows), make(map[engine.TensorID]any)
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64()) / 3
		}
		return v
	}
	x, label := p.NewData("x", engine.Float, []int{2, 6, 6}), p.NewData("label", engine.Int, nil)
	load[x] = values(netRows * 72)
	labels := make([]int32, netRows)
	for i := range labels {
		labels[i] = int32(i % netClasses)
	}
	load[label] = labels
	coefs = p.NewFeed("coefs", []int{engine.RuleCoefs})
	state := func(shape ...int) engine.TensorID {
		id := p.NewState(fmt.Sprint("s", len(p.Tensors)), shape)
		load[id] = values(engine.Len(shape))
		return id
	}
	b := p.NewFunc("train", netBatch)
	one := []int{1, 1}
	h := b.Conv(b.Batch(x), state(4, 2, 3, 3), state(4), engine.Window{Kernel: []int{3, 3}, Strides: one, Dilations: one, PadBegin: one, PadEnd: one, Group: 1})
	h, _, _ = b.BatchNorm(b.Unary(engine.Relu, h), state(4), state(4), 1e-5)
	h = b.Dropout(b.Reshape(h, []int{netBatch, 4 * 36}), 0.25, 1)
	h = b.MatMul(h, state(4*36, netClasses), state(netClasses), false, false)
	picked := b.Mul(b.LogSoftmax(h, 1), b.OneHot(b.Batch(label), netClasses))
	loss := b.Affine(b.Reduce(engine.Sum, picked, false), -1.0/netBatch, 0)
	b.Output(loss)
	b.Output(b.ArgMax(h, 1))
	var params []engine.TensorID
	for id, n := range p.Tensors {
		if n.Role == engine.State {
			params = append(params, engine.TensorID(id))
		}
	}
	for i, g := range b.Gradient(loss, params) {
		shape := p.Tensors[params[i]].Shape
		b.Update(engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.99, EpsOut: 1e-7}, params[i], g, coefs, p.NewState(fmt.Sprint("m", i), shape), p.NewState(fmt.Sprint("v", i), shape))
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return p, load, coefs
}

// train runs so many steps and returns the losses and predictions, then all state.
func train(t *testing.T, e engine.Executable, steps int) (outputs [][]float64, state []float32) {
	t.Helper()
	p, load, coefs := network(t)
	for id, v := range load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	s := engine.Schedule{Seed: 9, Feeds: map[engine.TensorID][]float64{}}
	for i := range steps {
		for k := range netBatch {
			s.Rows = append(s.Rows, int32((i*13+k*5)%netRows))
		}
		s.Feeds[coefs] = append(s.Feeds[coefs], 1, 0.01/float64(i+1), 0.001, 1, 0)
	}
	res, err := e.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range p.Tensors {
		if n.Role != engine.State {
			continue
		}
		v := make([]float32, n.Len())
		if err := e.Fetch(engine.TensorID(id), v); err != nil {
			t.Fatal(err)
		}
		state = append(state, v...)
	}
	return res.Outputs, state
}

func compile(t *testing.T, dev engine.Device) engine.Executable {
	t.Helper()
	p, _, _ := network(t)
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestReplay: a graph that is replayed does what its launches do, to the bit; and one executable what another does beside it.
func TestReplay(t *testing.T) {
	dev := open(t, cuda.Options{}, "")
	const steps, executables = 60, 3
	var outputs [executables + 1][][]float64
	var state [executables + 1][]float32
	list := make([]engine.Executable, executables)
	for i := range list {
		list[i] = compile(t, dev)
	}
	var wait sync.WaitGroup
	for i, e := range list {
		wait.Go(func() { outputs[i], state[i] = train(t, e, steps) })
	}
	wait.Wait()
	cuda.Direct(dev)
	outputs[executables], state[executables] = train(t, compile(t, dev), steps)
	for i := 1; i <= executables; i++ {
		for k := range outputs[0] {
			if !slices.Equal(outputs[i][k], outputs[0][k]) {
				t.Errorf("run %d: output %d differs", i, k)
			}
		}
		if !slices.Equal(state[i], state[0]) {
			t.Errorf("run %d: the state differs", i)
		}
	}
	if n := len(outputs[0][0]); n != steps || !(outputs[0][0][n-1] < outputs[0][0][0]) {
		t.Errorf("%d losses, from %g to %g", n, outputs[0][0][0], outputs[0][0][n-1])
	}
}

// TestSixteenAtOnce: sixteen executables that train at the same time give the bits of one that trains alone. On a GPU the seconds of both are logged.
func TestSixteenAtOnce(t *testing.T) {
	steps := 5
	if *gpu {
		steps = 2000
	}
	dev := open(t, cuda.Options{}, "")
	lone := compile(t, dev)
	train(t, lone, steps) // after its first run an executable knows how long a step takes
	start := time.Now()
	outputs, state := train(t, lone, steps)
	alone := time.Since(start)
	var list [16]engine.Executable
	for i := range list {
		list[i] = compile(t, dev)
		train(t, list[i], steps)
	}
	var same [16]bool
	var wait sync.WaitGroup
	start = time.Now()
	for i, e := range list {
		wait.Go(func() {
			o, s := train(t, e, steps)
			same[i] = slices.Equal(o[0], outputs[0]) && slices.Equal(s, state)
		})
	}
	wait.Wait()
	t.Logf("%d steps: one executable takes %.3f s, sixteen at once %.3f s", steps, alone.Seconds(), time.Since(start).Seconds())
	for i := range same {
		if !same[i] {
			t.Errorf("executable %d gives other bits", i)
		}
	}
}

// TestLaunches: what can be done by one launch is.
func TestLaunches(t *testing.T) {
	got := cuda.Launches(compile(t, open(t, cuda.Options{}, "")), 0)
	t.Logf("%d launches: %v", len(got), got)
	if len(got) > mostLaunches {
		t.Errorf("%d launches, at most %d are needed: %v", len(got), mostLaunches, got)
	}
}

// mostLaunches is what the network takes: one for every product, convolution, softmax, ArgMax and statistic, four for chains and the loss, and three for the
// beginning, the optimizer and the end.
const mostLaunches = 18

// TestOutOfMemory: an allocation that fails is engine.ErrMemory, and leaves nothing behind.
func TestOutOfMemory(t *testing.T) {
	emulated(t)
	dev := open(t, cuda.Options{}, "")
	before := emulator.Get(t, "allocations")
	p, _, _ := network(t)
	for n := int64(1); n <= 2; n++ {
		emulator.Set(t, "fail_alloc", n)
		e, err := dev.Compile(p)
		if !errors.Is(err, engine.ErrMemory) {
			t.Errorf("allocation %d: error %v", n, err)
		}
		if err == nil {
			e.Close()
		}
		emulator.Set(t, "fail_alloc", 0)
	}
	e := compile(t, dev)
	train(t, e, 2)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := dev.Close(); err != nil { // frees the data set too
		t.Error(err)
	}
	if after := emulator.Get(t, "allocations"); after != before {
		t.Errorf("%d allocations are left", after-before)
	}
}

// TestLost: a GPU that is lost is an error that says so, and not out of memory.
func TestLost(t *testing.T) {
	emulated(t)
	dev := open(t, cuda.Options{}, "")
	e := compile(t, dev)
	emulator.Set(t, "lost_launch", 7)
	_, load, coefs := network(t)
	for id, v := range load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	s := engine.Schedule{Rows: make([]int32, netBatch), Feeds: map[engine.TensorID][]float64{coefs: {1, 0, 0, 1, 0}}}
	if _, err := e.Run(t.Context(), s); !errors.Is(err, engine.ErrDeviceLost) || !strings.Contains(err.Error(), "device lost") || errors.Is(err, engine.ErrMemory) {
		t.Errorf("error %v", err)
	}
	if _, err := e.Run(t.Context(), s); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("a lost GPU runs: error %v", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	devicetest.MemoryLimit(t, open(t, cuda.Options{MemoryLimit: 1 << 20}, ""))
}

func TestUnsupported(t *testing.T) { devicetest.Unsupported(t, open(t, cuda.Options{}, "")) }
