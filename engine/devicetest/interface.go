package devicetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"netmend/engine"
)

// interfaces tests what Executable promises beyond numbers.
func interfaces(t *testing.T, dev engine.Device) {
	t.Run("schedule errors", func(t *testing.T) { scheduleErrors(t, dev) })
	t.Run("load and fetch", func(t *testing.T) { loadFetch(t, dev) })
	t.Run("feeds", func(t *testing.T) { feeds(t, dev) })
	t.Run("random streams", func(t *testing.T) { randomStreams(t, dev) })
	t.Run("cancel", func(t *testing.T) { cancelled(t, dev) })
	t.Run("bad program", func(t *testing.T) { badProgram(t, dev) })
	t.Run("several goroutines", func(t *testing.T) { severalGoroutines(t, dev) })
	t.Run("out of memory", func(t *testing.T) { outOfMemory(t, dev) })
	t.Run("closed", func(t *testing.T) { closed(t, dev) })
	t.Run("empty schedule", func(t *testing.T) { emptySchedule(t, dev) })
}

// closed: an executable may be closed twice, and then refuses everything.
func closed(t *testing.T, dev engine.Device) {
	p := engine.NewProgram(0)
	s := p.NewState("s", []int{2})
	p.NewFunc("f", 0).Output(s)
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if err := e.Load(s, []float32{1, 2}); err == nil {
		t.Error("a closed executable loads")
	}
	if err := e.Fetch(s, []float32{1, 2}); err == nil {
		t.Error("a closed executable fetches")
	}
	if _, err := e.Run(context.Background(), engine.Schedule{Steps: 1}); err == nil {
		t.Error("a closed executable runs")
	}
}

func sgdNet() *net { return newNet("sgd", mlp, engine.Rule{Kind: engine.RuleLinear}) }

// scheduleErrors: a wrong schedule is an error before the first step, and leaves the state alone.
func scheduleErrors(t *testing.T, dev engine.Device) {
	n := sgdNet()
	e := n.open(t, dev)
	defer e.Close()
	before := n.fetch(t, e)
	for name, spoil := range map[string]func(s *engine.Schedule){
		"row too large":         func(s *engine.Schedule) { s.Rows[3] = netRows },
		"row in the last step":  func(s *engine.Schedule) { s.Rows[len(s.Rows)-1] = math.MaxInt32 },
		"negative row":          func(s *engine.Schedule) { s.Rows[0] = -1 },
		"rows of a half step":   func(s *engine.Schedule) { s.Rows = s.Rows[:len(s.Rows)-1] },
		"another step count":    func(s *engine.Schedule) { s.Steps = 5 },
		"negative step count":   func(s *engine.Schedule) { s.Steps = -1 },
		"no such function":      func(s *engine.Schedule) { s.Func = 3 },
		"negative function":     func(s *engine.Schedule) { s.Func = -1 },
		"no feeds":              func(s *engine.Schedule) { s.Feeds = nil },
		"feeds for fewer steps": func(s *engine.Schedule) { s.Feeds[n.coefs] = s.Feeds[n.coefs][:engine.RuleCoefs] },
		"feeds for more steps":  func(s *engine.Schedule) { s.Feeds[n.coefs] = append(s.Feeds[n.coefs], 1) },
	} {
		s := n.schedule(0, 0, 3)
		spoil(&s)
		if _, err := e.Run(context.Background(), s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if !slices.Equal(before, n.fetch(t, e)) {
		t.Error("a refused schedule changed the state")
	}
	n.run(t, e, 0, 0, 1) // still usable
}

func loadFetch(t *testing.T, dev engine.Device) {
	n := sgdNet()
	e := n.open(t, dev)
	defer e.Close()
	w := n.params[0]
	size := n.p.Tensors[w].Len()
	v := make([]float64, size)
	for i := range v {
		v[i] = float64(float32(float64(i)/7 - 3))
	}
	v[0], v[1], v[2], v[3] = nan, inf, -inf, math.Copysign(0, -1)
	if err := e.Load(w, v); err != nil {
		t.Fatal(err)
	}
	f64, f32 := make([]float64, size), make([]float32, size)
	if err := errors.Join(e.Fetch(w, f64), e.Fetch(w, f32)); err != nil {
		t.Fatal(err)
	}
	for i := range v {
		if !same(f64[i], v[i], 0) || !same(float64(f32[i]), v[i], 0) || math.Signbit(f64[i]) != math.Signbit(v[i]) && !math.IsNaN(v[i]) {
			t.Errorf("element %d: loaded %v, fetched %v and %v", i, v[i], f64[i], f32[i])
		}
	}
	x, label, temp := n.p.Find("x"), n.p.Find("label"), n.p.Funcs[0].Ops[0].Out[0]
	for name, err := range map[string]error{
		"load too short":          e.Load(w, f32[1:]),
		"load too long":           e.Load(w, append(f32, 0)),
		"load ints into floats":   e.Load(w, make([]int32, size)),
		"load floats into ints":   e.Load(label, make([]float32, netRows)),
		"load another type":       e.Load(w, make([]int, size)),
		"load nothing":            e.Load(w, nil),
		"load a feed":             e.Load(n.coefs, make([]float32, engine.RuleCoefs)),
		"load a temporary":        e.Load(temp, make([]float32, n.p.Tensors[temp].Len())),
		"load no tensor":          e.Load(engine.None, f32),
		"load beyond the tensors": e.Load(engine.TensorID(len(n.p.Tensors)), f32),
		"fetch too short":         e.Fetch(w, f32[1:]),
		"fetch another type":      e.Fetch(w, make([]int, size)),
		"fetch the data set":      e.Fetch(x, make([]float32, n.p.Tensors[x].Len())),
		"fetch no tensor":         e.Fetch(engine.None, f32),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	fresh, err := dev.Compile(n.p)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := fresh.Fetch(w, f32); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(f32, func(v float32) bool { return v != 0 }) {
		t.Error("state of a new executable is not zero")
	}
}

// feeds: every step gets its own value, in a function without a batch.
func feeds(t *testing.T, dev engine.Device) {
	p := engine.NewProgram(0)
	s := p.NewState("s", ints{2})
	a, c := p.NewFeed("a", ints{2}), p.NewFeed("c", nil)
	b := p.NewFunc("f", 0)
	b.Lerp(s, b.Mul(a, c), 1, 1)
	b.Output(s)
	b.Output(c)
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	res, err := e.Run(context.Background(), engine.Schedule{Steps: 3, Feeds: map[engine.TensorID][]float64{a: {1, 2, 3, 4, 5, 6}, c: {1, 10, 100}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{1, 2, 31, 42, 531, 642}; !slices.Equal(res.Outputs[0], want) {
		t.Errorf("state after each step %v, want %v", res.Outputs[0], want)
	}
	if want := []float64{1, 10, 100}; !slices.Equal(res.Outputs[1], want) {
		t.Errorf("fed %v, want %v", res.Outputs[1], want)
	}
}

// randomStreams: dropout's mask is that of Philox by (seed, step, stream, element), bit for bit.
func randomStreams(t *testing.T, dev engine.Device) {
	const n, rate, stream = 1003, 0.3, 9
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	b.Output(b.Dropout(p.NewConstant("", engine.Float, ints{n}, ones(n, 0.7)), rate, stream))
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, s := range []engine.Schedule{{Steps: 3, Seed: 5, FirstStep: 0}, {Steps: 2, Seed: 1<<63 + 11, FirstStep: 1<<32 - 1}} {
		res, err := e.Run(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range res.Outputs[0] {
			word := engine.Philox(s.Seed, s.FirstStep+uint64(i/n), stream, uint32(i%n/4))[i%n%4]
			if dropped := word < engine.DropThreshold(rate); dropped != (v == 0) || !dropped && math.Abs(v-1) > 1e-6 {
				t.Fatalf("step %d, element %d: %v, the random word is %d", i/n, i%n, v, word)
			}
		}
	}
}

// cancelled: an ended context returns the steps done, and the state is that after them.
func cancelled(t *testing.T, dev engine.Device) {
	n := sgdNet()
	e := n.open(t, dev)
	defer e.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	before := n.fetch(t, e)
	res, err := e.Run(ctx, n.schedule(0, 0, 3))
	if !errors.Is(err, context.Canceled) || res == nil || res.Steps != 0 {
		t.Fatalf("ended context: result %+v, error %v", res, err)
	}
	if !slices.Equal(before, n.fetch(t, e)) {
		t.Error("an ended context changed the state")
	}
	const many = 200_000
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	res, err = e.Run(ctx, n.schedule(0, 0, many))
	if !errors.Is(err, context.DeadlineExceeded) || res == nil {
		t.Fatalf("timeout: result %+v, error %v after %v", res, err, time.Since(start))
	}
	if res.Steps >= many || len(res.Outputs[0]) != res.Steps {
		t.Fatalf("%d steps, %d losses", res.Steps, len(res.Outputs[0]))
	}
	state := n.fetch(t, e)
	n.reset(t, e)
	if full := n.run(t, e, 0, 0, res.Steps); !slices.Equal(full.Outputs[0], res.Outputs[0]) || !slices.Equal(state, n.fetch(t, e)) {
		t.Errorf("%d steps after a timeout differ from as many steps without", res.Steps)
	}
}

func badProgram(t *testing.T, dev engine.Device) {
	n := sgdNet()
	n.p.Tensors[n.params[0]].Shape = ints{1, 2, 3}
	if _, err := dev.Compile(n.p); err == nil {
		t.Error("a program that fails Check was compiled")
	}
}

// outOfMemory: what no machine has is an error that says so, not a crash; so is a number of elements that overflows.
func outOfMemory(t *testing.T, dev engine.Device) {
	for _, shape := range []ints{{1 << 22, 1 << 22}, {1 << 40, 1 << 40}} {
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		b.Output(b.Reduce(engine.Sum, b.Broadcast(p.NewConstant("", engine.Float, nil, ones(1, 1)), shape), false))
		if b.Err() != nil {
			continue // refused before it reaches a device
		}
		e, err := dev.Compile(p)
		if err == nil {
			e.Close()
		}
		if !errors.Is(err, engine.ErrMemory) {
			t.Errorf("shape %v: error %v, want one that wraps engine.ErrMemory", shape, err)
		}
	}
}

// severalGoroutines: executables of one device run side by side without touching each other.
func severalGoroutines(t *testing.T, dev engine.Device) {
	n := newNet("cnn", cnn, engine.Rule{Kind: engine.RuleLinear})
	first := n.open(t, dev)
	defer first.Close()
	want, _ := n.train(t, first)
	var list [3]engine.Executable
	var got [3][]float64
	for i := range list {
		list[i] = n.open(t, dev)
		defer list[i].Close()
	}
	var wg sync.WaitGroup
	for i, e := range list {
		wg.Go(func() {
			if res, err := e.Run(context.Background(), n.schedule(0, 0, netSteps)); err == nil {
				got[i] = res.Outputs[0]
			}
		})
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], want[:netSteps]) {
			t.Errorf("executable %d beside others gives other losses", i)
		}
	}
}

func emptySchedule(t *testing.T, dev engine.Device) {
	n := sgdNet()
	e := n.open(t, dev)
	defer e.Close()
	res, err := e.Run(context.Background(), engine.Schedule{Feeds: map[engine.TensorID][]float64{n.coefs: {}}})
	if err != nil || res.Steps != 0 || len(res.Outputs) != 1 || len(res.Outputs[0]) != 0 {
		t.Errorf("no rows: result %+v, error %v", res, err)
	}
}
