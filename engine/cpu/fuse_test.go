//go:build cgo && amd64

package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
)

// odd are numbers that show whether two ways of computing are the same to the bit.
var odd = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), 1e-40, -1e-40, 3e38, -1e20, 1e-20}

// chain builds programs of which most operations are elementwise.
type chain struct {
	*engine.Builder
	p      *engine.Program
	r      *rand.Rand
	states []engine.TensorID
	share  float64 // of odd numbers among the values
	values map[engine.TensorID][]float32
	batch  int
	feed   engine.TensorID
}

func newChain(batch int, seed uint64, share float64) *chain {
	c := &chain{p: engine.NewProgram(batch), r: rand.New(rand.NewPCG(seed, 1)), share: share, values: make(map[engine.TensorID][]float32), batch: batch}
	c.feed = c.p.NewFeed("coefs", []int{engine.RuleCoefs})
	c.Builder = c.p.NewFunc("step", batch)
	return c
}

func (c *chain) fill(id engine.TensorID) engine.TensorID {
	v := make([]float32, c.p.Tensors[id].Len())
	for i := range v {
		if v[i] = float32(c.r.NormFloat64()) / 2; c.r.Float64() < c.share {
			v[i] = odd[c.r.IntN(len(odd))]
		}
	}
	c.values[id] = v
	return id
}

func (c *chain) data(row ...int) engine.TensorID {
	return c.Batch(c.fill(c.p.NewData(fmt.Sprintf("data%d", len(c.values)), engine.Float, row)))
}

func (c *chain) state(shape ...int) engine.TensorID {
	id := c.fill(c.p.NewState(fmt.Sprintf("state%d", len(c.values)), shape))
	c.states = append(c.states, id)
	return id
}

// train adds the gradient of the mean square of y and the updates.
func (c *chain) train(y engine.TensorID) {
	loss := c.Reduce(engine.Mean, c.Mul(y, y), false)
	c.Output(loss)
	for i, g := range c.Gradient(loss, c.states) {
		if g != engine.None {
			c.Update(engine.Rule{Kind: engine.RuleLinear}, c.states[i], g, c.feed)
		}
	}
}

// run makes a few steps and returns all bits of outputs and states. NaN has one pattern: the sign of one that comes of two depends on which of them the
// compiler takes first, in whole vectors or in what is left of a range.
func (c *chain) run(t *testing.T, dev engine.Device) []uint64 {
	t.Helper()
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	e, err := dev.Compile(c.p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for id, v := range c.values {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	s := engine.Schedule{Seed: 7, Feeds: map[engine.TensorID][]float64{}}
	for range 2 {
		for i := range c.batch {
			s.Rows = append(s.Rows, int32(i))
		}
		s.Feeds[c.feed] = append(s.Feeds[c.feed], 1, 0, 0, 0, 0.01)
	}
	res, err := e.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var bits []uint64
	add := func(v float64) {
		if v != v {
			v = math.NaN()
		}
		bits = append(bits, math.Float64bits(v))
	}
	for _, out := range res.Outputs {
		for _, v := range out {
			add(v)
		}
	}
	for _, id := range c.states {
		v := make([]float32, c.p.Tensors[id].Len())
		if err := e.Fetch(id, v); err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			add(float64(x))
		}
	}
	return bits
}

func pick[E any](c *chain, list ...E) E { return list[c.r.IntN(len(list))] }

func (c *chain) unary(h engine.TensorID) engine.TensorID {
	var fns []engine.Fn
	for _, fn := range engine.Fns() {
		if fn.Unary() {
			fns = append(fns, fn)
		}
	}
	fn := pick(c, append(fns, engine.Relu, engine.Relu, engine.Sigmoid, engine.Tanh, engine.LeakyRelu, engine.Elu)...)
	return c.Unary(fn, h, 0.7, 0.9)
}

var binaries = []engine.Fn{engine.Add, engine.Sub, engine.Mul, engine.Div, engine.Max, engine.Min, engine.Less, engine.Add, engine.Mul}

// image is a run of layers on a batch of images, of which earlier ones are added or multiplied now and then.
func (c *chain) image(n int) engine.TensorID {
	const channels = 6
	side := 1 + c.r.IntN(19)
	one, pad := []int{1, 1}, []int{1, 1}
	win := engine.Window{Kernel: []int{3, 3}, Strides: one, Dilations: one, PadBegin: pad, PadEnd: pad, Group: 1}
	h := c.data(channels, side, side)
	before := []engine.TensorID{h}
	for range n {
		switch c.r.IntN(9) {
		case 0:
			bias := engine.None
			if c.r.IntN(2) == 0 {
				bias = c.state(channels)
			}
			h = c.Conv(h, c.state(channels, channels, 3, 3), bias, win)
		case 1:
			h, _, _ = c.BatchNorm(h, c.state(channels), c.state(channels), 1e-5)
		case 2:
			h = c.Binary(pick(c, binaries...), h, pick(c, before...))
		case 3:
			h = c.Binary(pick(c, binaries...), pick(c, before...), h)
		case 4:
			h = c.Binary(pick(c, binaries...), h, c.state(channels, 1, 1))
		case 5:
			h = c.Where(c.Binary(engine.Greater, h, c.Scalar(0.1)), h, pick(c, before...))
		default:
			h = c.unary(h)
		}
		before = append(before, h)
	}
	return h
}

// rows is a run of layers on stacks of matrices: products, rows, columns and softmax.
func (c *chain) rows(n int) engine.TensorID {
	length := 1 + c.r.IntN(40)
	h := c.data(2, 30, length)
	before := []engine.TensorID{h}
	for range n {
		switch c.r.IntN(11) {
		case 0:
			h = c.MatMul(h, c.state(length, length), engine.None, false, c.r.IntN(2) == 0)
		case 1:
			h = c.MatMul(c.MatMul(h, pick(c, before...), engine.None, false, true), h, engine.None, false, false)
		case 2:
			h = c.Binary(pick(c, binaries...), h, pick(c, before...))
		case 3:
			h = c.Binary(pick(c, binaries...), h, c.state(length))
		case 4:
			h = c.Binary(pick(c, binaries...), h, c.Reduce(engine.Mean, h, true, 3))
		case 5:
			h = c.Mul(c.Broadcast(c.state(length), c.Shape(h)), h)
		case 6:
			h = c.Softmax(h, 2+c.r.IntN(2))
		case 7:
			h = c.Dropout(h, 0.3, uint32(n))
		default:
			h = c.unary(h)
		}
		before = append(before, h)
	}
	return h
}

// TestFusedBits: operations that are done along with others give the bits that they give apart, whatever the numbers are; and take no more memory.
func TestFusedBits(t *testing.T) {
	programs := 120
	if testing.Short() {
		programs = 40
	}
	each(t, func(t *testing.T) {
		for _, threads := range []int{1, 2} {
			dev := open(t, cpu.Options{Threads: threads})
			fewer := 0
			for i := range programs {
				c := newChain(12, uint64(i), []float64{0, 1e-4, 0.05}[i%3])
				h := engine.None
				if i%2 == 0 {
					h = c.image(2 + i%9)
				} else {
					h = c.rows(2 + i%9)
				}
				if i%4 < 2 {
					c.train(h)
				} else {
					c.Output(h)
				}
				fused, bytes := cpu.Layout(dev, c.p)
				apart, most := cpu.Layout(cpu.Apart(dev), c.p)
				if fused > apart || bytes > most {
					t.Errorf("program %d on %d threads: %d steps and %d bytes, apart %d steps and %d bytes", i, threads, fused, bytes, apart, most)
				}
				if fused < apart {
					fewer++
				}
				if !slices.Equal(c.run(t, dev), c.run(t, cpu.Apart(dev))) {
					t.Errorf("program %d on %d threads: other bits than apart", i, threads)
				}
			}
			if fewer < programs/2 {
				t.Errorf("%d of %d programs have fewer steps than operations apart", fewer, programs)
			}
		}
	})
}
