//go:build cgo && amd64

package cpu_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"netmend/engine"
	"netmend/engine/cpu"
)

// deep is a training of layers of 3 x 3 convolutions and batch normalisation with running means: steps of some tens of milliseconds, of many
// operations that take a millisecond or two on two threads.
type deep struct {
	p      *engine.Program
	states []engine.TensorID
	coefs  engine.TensorID
}

const deepBatch, deepChannels, deepSide, deepLayers = 32, 32, 32, 6

func newDeep(t testing.TB) *deep {
	t.Helper()
	d := &deep{p: engine.NewProgram(deepBatch)}
	x := d.p.NewData("x", engine.Float, []int{deepChannels, deepSide, deepSide})
	d.coefs = d.p.NewFeed("coefs", []int{engine.RuleCoefs})
	b := d.p.NewFunc("step", deepBatch)
	h := b.Batch(x)
	one, pad := []int{1, 1}, []int{1, 1}
	win := engine.Window{Kernel: []int{3, 3}, Strides: one, Dilations: one, PadBegin: pad, PadEnd: pad, Group: 1}
	var weights []engine.TensorID
	for range deepLayers {
		w := d.p.NewState("w", []int{deepChannels, deepChannels, 3, 3})
		scale, bias, running := d.p.NewState("scale", []int{deepChannels}), d.p.NewState("bias", []int{deepChannels}), d.p.NewState("running", []int{deepChannels})
		y, mean, _ := b.BatchNorm(b.Conv(h, w, engine.None, win), scale, bias, 1e-5)
		b.Lerp(running, mean, 0.9, 0.1)
		h = b.Unary(engine.Relu, y)
		weights = append(weights, w, scale, bias)
		d.states = append(d.states, running)
	}
	loss := b.Reduce(engine.Mean, b.Mul(h, h), false)
	b.Output(loss)
	for i, g := range b.Gradient(loss, weights) {
		b.Update(engine.Rule{Kind: engine.RuleLinear}, weights[i], g, d.coefs)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	d.states = append(d.states, weights...)
	return d
}

// open compiles the training and loads what depends on nothing but the shapes.
func (d *deep) open(t testing.TB, dev engine.Device) engine.Executable {
	t.Helper()
	e, err := dev.Compile(d.p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	for _, id := range append([]engine.TensorID{d.p.Find("x")}, d.states...) {
		v := make([]float32, d.p.Tensors[id].Len())
		for i := range v {
			v[i] = float32(i*7919%1009)/1009 - 0.4
		}
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func (d *deep) schedule(first, steps int) engine.Schedule {
	s := engine.Schedule{FirstStep: uint64(first), Feeds: map[engine.TensorID][]float64{}}
	for range steps {
		for r := range deepBatch {
			s.Rows = append(s.Rows, int32(r))
		}
		s.Feeds[d.coefs] = append(s.Feeds[d.coefs], 1, 0, 0, 0, 0.01)
	}
	return s
}

func (d *deep) run(t testing.TB, e engine.Executable, steps int) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := e.Run(t.Context(), d.schedule(0, steps)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func (d *deep) fetch(t testing.TB, e engine.Executable) []float32 {
	t.Helper()
	var all []float32
	for _, id := range d.states {
		v := make([]float32, d.p.Tensors[id].Len())
		if err := e.Fetch(id, v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v...)
	}
	return all
}

// TestCancelWithinAStep: a step is given up in its midst, which leaves no trace, the running statistics included: the rest of the training is as
// if nothing had been.
func TestCancelWithinAStep(t *testing.T) {
	const steps = 6
	d, dev := newDeep(t), open(t, cpu.Options{Threads: 2})
	whole := d.open(t, dev)
	step := d.run(t, whole, steps) / steps
	e := d.open(t, dev)
	var waits []time.Duration
	for done, i := 0, 0; done < steps; i++ {
		ctx, cancel := context.WithCancel(t.Context())
		var at time.Time
		if i < 8 {
			time.AfterFunc(step*time.Duration(1+2*i)/8, func() { at = time.Now(); cancel() })
		}
		res, err := e.Run(ctx, d.schedule(done, steps-done))
		if errors.Is(err, context.Canceled) {
			waits = append(waits, time.Since(at))
		} else if err != nil {
			t.Fatal(err)
		}
		cancel()
		done += res.Steps
	}
	if !slices.Equal(d.fetch(t, whole), d.fetch(t, e)) {
		t.Error("a training that was interrupted within steps ends with other weights or running means")
	}
	slices.Sort(waits)
	if len(waits) < 3 {
		t.Fatalf("only %d interruptions", len(waits))
	}
	t.Logf("a step takes %v, a cancelled one returned within %v to %v", step, waits[0], waits[len(waits)-1])
	if m := waits[len(waits)/2]; m > step/3 {
		t.Errorf("a cancelled step returns within %v, a whole one takes %v", m, step)
	}
}

// threadTimes are the processor times of the threads of this process by their ids; empty where there is no /proc.
func threadTimes() map[string]time.Duration {
	const tick = 10 * time.Millisecond // sysconf(_SC_CLK_TCK) of Linux
	times := make(map[string]time.Duration)
	stats, _ := filepath.Glob("/proc/self/task/*/stat")
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(raw[strings.LastIndex(string(raw), ")")+1:])) // from the state on, proc(5)
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		times[name] = time.Duration(user+system) * tick
	}
	return times
}

// TestTwoTrainingsShareTheCores: two trainings at once on as many threads each as there are cores make together about as many steps as one after the
// other, on one thread per core.
func TestTwoTrainingsShareTheCores(t *testing.T) {
	const long, most = 700 * time.Millisecond, 1000
	d, dev := newDeep(t), open(t, cpu.Options{})
	steps := func(e engine.Executable) float64 {
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		res, err := e.Run(ctx, d.schedule(0, most))
		if res == nil {
			t.Error(err)
			return 0
		}
		return float64(res.Steps)
	}
	a, b := d.open(t, dev), d.open(t, dev)
	first, second := steps(a), steps(b)
	var group sync.WaitGroup
	var made [2]float64
	before := threadTimes()
	for i, e := range []engine.Executable{a, b} {
		group.Go(func() { made[i] = steps(e) })
	}
	group.Wait()
	busy := 0
	for id, now := range threadTimes() {
		if now-before[id] > long*2/5 {
			busy++
		}
	}
	share := (made[0] + made[1]) / ((first + second) / 2)
	t.Logf("%d cores: %g and %g steps one after the other, %g and %g at once in the time of one, on %d threads: %.2f of the throughput", runtime.NumCPU(), first, second,
		made[0], made[1], busy, share)
	if busy > max(2, runtime.NumCPU()) {
		t.Errorf("%d threads were busy on %d cores", busy, runtime.NumCPU())
	}
	if share < 0.6 { // other processes may disturb either
		t.Errorf("two trainings at once reach %.2f of the throughput of one after the other", share)
	}
}

// TestSharingChangesNoBits: what a training computes does not depend on how many of its threads it may use meanwhile.
func TestSharingChangesNoBits(t *testing.T) {
	const steps = 3
	d, dev := newDeep(t), open(t, cpu.Options{Threads: 3})
	solo := d.open(t, dev)
	d.run(t, solo, steps)
	var group sync.WaitGroup
	both := []engine.Executable{d.open(t, dev), d.open(t, dev)}
	for _, e := range both {
		group.Go(func() { d.run(t, e, steps) })
	}
	group.Wait()
	for _, e := range both {
		if !slices.Equal(d.fetch(t, e), d.fetch(t, solo)) {
			t.Error("a training that shares the cores computes other bits")
		}
	}
}
