package devicetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

const (
	netRows  = 64
	netBatch = 16
	netRest  = 5 // batch of the second function: an epoch's remainder
	netSteps = 20
	classesN = 3
)

// net is a small network with its training program: function 0 trains on netBatch rows, function 1 on netRest, function 2 evaluates.
type net struct {
	name   string
	p      *engine.Program
	load   map[engine.TensorID]any
	coefs  engine.TensorID
	coef   []float64
	params []engine.TensorID // all state
}

// layers builds the logits of a network; train says whether it is for training.
type layers func(m *maker, x engine.TensorID, train bool) engine.TensorID

// maker hands out a network's parameters: the same ones for every function.
type maker struct {
	*engine.Builder
	n      *net
	r      *rand.Rand
	next   int
	weight []engine.TensorID // those that the optimizer changes
	stream uint32
}

// param is the next parameter, drawn around mid with a spread.
func (m *maker) param(mid, spread float64, shape ...int) engine.TensorID {
	if m.next < len(m.weight) {
		m.next++
		return m.weight[m.next-1]
	}
	id := m.state(shape, func() float64 { return mid + spread*(2*m.r.Float64()-1) })
	m.weight = append(m.weight, id)
	m.next++
	return id
}

func (m *maker) state(shape []int, value func() float64) engine.TensorID {
	id := m.Program().NewState(fmt.Sprintf("state%d", len(m.n.params)), shape)
	v := make([]float32, engine.Len(shape))
	for i := range v {
		v[i] = float32(value())
	}
	m.n.load[id] = v
	m.n.params = append(m.n.params, id)
	return id
}

func (m *maker) dropout(x engine.TensorID, rate float64) engine.TensorID {
	m.stream++
	return m.Dropout(x, rate, m.stream)
}

// mlp is a perceptron with dropout.
func mlp(m *maker, x engine.TensorID, train bool) engine.TensorID {
	x = m.Reshape(x, ints{m.Shape(x)[0], 2 * 8 * 8})
	x = m.Unary(engine.Tanh, m.MatMul(x, m.param(0, 0.1, 2*8*8, 12), m.param(0, 0.1, 12), false, false))
	if train {
		x = m.dropout(x, 0.25)
	}
	x = m.Unary(engine.Gelu, m.MatMul(x, m.param(0, 0.4, 9, 12), engine.None, false, true))
	return m.MatMul(x, m.param(0, 0.4, 9, classesN), m.param(0, 0.1, classesN), false, false)
}

// cnn is convolution, ReLU, max pooling, batch norm with running statistics, flatten, dense.
func cnn(m *maker, x engine.TensorID, train bool) engine.TensorID {
	x = m.Conv(x, m.param(0, 0.3, 6, 2, 3, 3), m.param(0, 0.1, 6), win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1))
	x = m.MaxPool(m.Unary(engine.Relu, x), win(ints{2, 2}, ints{2, 2}, nil, nil, nil, 0))
	x = m.norm(x, 6, train)
	return m.MatMul(m.Reshape(x, ints{m.Shape(x)[0], 6 * 4 * 4}), m.param(0, 0.2, 6*4*4, classesN), m.param(0, 0.1, classesN), false, false)
}

// norm is a batch norm; its running statistics are the two states behind the weights.
func (m *maker) norm(x engine.TensorID, channels int, train bool) engine.TensorID {
	scale, bias := m.param(1, 0.1, channels), m.param(0, 0.1, channels)
	mean := m.Program().Find(fmt.Sprintf("mean%d", scale))
	variance := m.Program().Find(fmt.Sprintf("variance%d", scale))
	if mean == engine.None {
		mean = m.state(ints{channels}, func() float64 { return 0 })
		variance = m.state(ints{channels}, func() float64 { return 1 })
		m.Program().Tensors[mean].Name, m.Program().Tensors[variance].Name = fmt.Sprintf("mean%d", scale), fmt.Sprintf("variance%d", scale)
	}
	if !train {
		return m.BatchNormInfer(x, scale, bias, mean, variance, 1e-3)
	}
	y, mu, v := m.BatchNorm(x, scale, bias, 1e-3)
	m.Lerp(mean, mu, 0.9, 0.1)
	m.Lerp(variance, v, 0.9, 0.1)
	return y
}

// residual adds a block to its input, and a broadcast bias; it ends in global average pooling.
func residual(m *maker, x engine.TensorID, train bool) engine.TensorID {
	same := win(ints{3, 3}, nil, nil, ints{1, 1}, ints{1, 1}, 1)
	x = m.Unary(engine.Relu, m.Conv(x, m.param(0, 0.3, 8, 2, 3, 3), engine.None, win(ints{3, 3}, ints{2, 2}, nil, ints{1, 1}, ints{1, 1}, 1)))
	h := m.Unary(engine.Relu, m.norm(m.Conv(x, m.param(0, 0.15, 8, 8, 3, 3), engine.None, same), 8, train))
	h = m.Conv(h, m.param(0, 0.15, 8, 8, 3, 3), engine.None, same)
	x = m.Unary(engine.Relu, m.Add(m.Add(h, m.param(0, 0.1, 8, 1, 1)), x))
	x = m.Reshape(m.AvgPool(x, win(ints{4, 4}, nil, nil, nil, nil, 0)), ints{m.Shape(x)[0], 8})
	return m.MatMul(x, m.param(0, 0.4, 8, classesN), m.param(0, 0.1, classesN), false, false)
}

// recurrentNet reads the image's rows as a sequence, forwards by an LSTM and backwards by a GRU, and ends with both last states.
func recurrentNet(m *maker, x engine.TensorID, _ bool) engine.TensorID {
	const hidden = 10
	n := m.Shape(x)[0]
	x = m.Reshape(m.Transpose(x, 2, 0, 1, 3), ints{8, n, 2 * 8})
	zeros := m.Broadcast(m.Scalar(0), ints{n, hidden})
	run := func(c engine.Cell) (y, h engine.TensorID) {
		rows := c.Kind.Gates() * hidden
		t := engine.Recurrence{X: m.MatMul(x, m.param(0, 0.2, rows, 16), m.param(0, 0.1, rows), false, true), R: m.param(0, 0.3, rows, hidden), H: zeros,
			C: engine.None, Bias: engine.None, Peepholes: engine.None, Lens: engine.None}
		if c.Kind == engine.CellLSTM {
			t.C = zeros
		}
		y, h, _ = m.Recurrent(c, t)
		return y, h
	}
	y, h := run(engine.Cell{Kind: engine.CellLSTM})
	_, back := run(engine.Cell{Kind: engine.CellGRU, Reverse: true, ResetLinearly: true})
	x = m.Concat(1, h, back, m.Reduce(engine.Mean, y, false, 0))
	return m.MatMul(x, m.param(0, 0.4, 3*hidden, classesN), m.param(0, 0.1, classesN), false, false)
}

// coefOf is a learning rate that lets every rule descend in a few steps.
func coefOf(k engine.RuleKind, momentum bool) []float64 {
	switch k {
	case engine.RuleLinear:
		if momentum {
			return []float64{1, 0.9, 1, 0.02, 0.01}
		}
		return []float64{0.999, 0, 0, 0, 0.05}
	case engine.RuleRMSprop:
		return []float64{1, 0.5, 1, 0.002, 0}
	case engine.RuleAdadelta:
		return []float64{1, 1, 0, 0, 0}
	case engine.RuleAdagrad:
		return []float64{1, 0.02, 0, 0, 0}
	}
	return []float64{1, 0.001, 0.0005, 1, 0}
}

func newNet(name string, build layers, rule engine.Rule) *net {
	r := rand.New(rand.NewPCG(*seed, 7))
	n := &net{name: name, p: engine.NewProgram(netRows), load: make(map[engine.TensorID]any), coef: coefOf(rule.Kind, rule.Momentum)}
	x, label := n.p.NewData("x", engine.Float, ints{2, 8, 8}), n.p.NewData("label", engine.Int, nil)
	n.coefs = n.p.NewFeed("coefs", ints{engine.RuleCoefs})
	images, labels := make([]float32, netRows*2*8*8), make([]int32, netRows)
	for i := range labels {
		labels[i] = int32(r.IntN(classesN))
		for k := range 128 {
			images[i*128+k] = float32(r.NormFloat64() + math.Sin(float64(k*int(labels[i]+1))/7))
		}
	}
	n.load[x], n.load[label] = images, labels
	var weight []engine.TensorID
	slots := make(map[engine.TensorID][]engine.TensorID)
	for i, batch := range []int{netBatch, netRest, netBatch} {
		m := &maker{Builder: n.p.NewFunc([]string{"train", "rest", "eval"}[i], batch), n: n, r: r, weight: weight}
		train := i < 2
		out := m.LogSoftmax(build(m, m.Batch(x), train), -1)
		weight = m.weight
		target := m.OneHot(m.Batch(label), classesN)
		m.Output(m.Affine(m.Reduce(engine.Sum, m.Mul(out, target), false), -1/float64(batch), 0))
		if train {
			loss := m.Affine(m.Reduce(engine.Sum, m.Mul(out, target), false), -1/float64(batch), 0)
			for k, g := range m.Gradient(loss, weight) {
				w := weight[k]
				for len(slots[w]) < rule.Slots() {
					slots[w] = append(slots[w], m.state(m.Shape(w), func() float64 { return 0 }))
				}
				m.Update(rule, w, g, n.coefs, slots[w]...)
			}
		} else {
			m.Output(m.ArgMax(out, 1))
		}
		if m.Err() != nil {
			panic(m.Err()) // a bug of this file
		}
	}
	return n
}

// nets is the networks that are trained.
func nets() []*net {
	adam := engine.Rule{Kind: engine.RuleAdam, B1: 0.9, B2: 0.999, EpsOut: 1e-7}
	list := []*net{newNet("cnn", cnn, adam), newNet("recurrent", recurrentNet, adam), newNet("residual", residual, engine.Rule{Kind: engine.RuleLinear, Momentum: true})}
	for i, r := range rules() {
		list = append(list, newNet(fmt.Sprintf("mlp %s %d", r.Kind, i), mlp, r))
	}
	return list
}

// open compiles the net and loads its start.
func (n *net) open(t *testing.T, dev engine.Device) engine.Executable {
	t.Helper()
	e, err := dev.Compile(n.p)
	if err != nil {
		t.Fatal(err)
	}
	n.reset(t, e)
	return e
}

func (n *net) reset(t *testing.T, e engine.Executable) {
	t.Helper()
	for id, v := range n.load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
}

// schedule is so many steps of a function from a step on; its rows depend on the step's number only.
func (n *net) schedule(f, first, count int) engine.Schedule {
	s := engine.Schedule{Func: f, Seed: 3, FirstStep: uint64(first), Feeds: map[engine.TensorID][]float64{}}
	for i := first; i < first+count; i++ {
		for k := range n.p.Funcs[f].Batch {
			s.Rows = append(s.Rows, int32((i*37+k*11)%netRows))
		}
		s.Feeds[n.coefs] = append(s.Feeds[n.coefs], n.coef...)
	}
	if f == 2 {
		s.Feeds = nil
	}
	return s
}

func (n *net) run(t *testing.T, e engine.Executable, f, first, count int) *engine.Result {
	t.Helper()
	res, err := e.Run(context.Background(), n.schedule(f, first, count))
	if err != nil {
		t.Fatal(err)
	}
	if res.Steps != count {
		t.Fatalf("%d steps, want %d", res.Steps, count)
	}
	return res
}

// train runs everything: full batches, the remainder's function, evaluation.
func (n *net) train(t *testing.T, e engine.Executable) (losses []float64, predicted []float64) {
	t.Helper()
	losses = append(losses, n.run(t, e, 0, 0, netSteps).Outputs[0]...)
	losses = append(losses, n.run(t, e, 1, netSteps, 3).Outputs[0]...)
	eval := n.run(t, e, 2, 0, 3)
	return append(losses, eval.Outputs[0]...), eval.Outputs[1]
}

// fetch reads all state.
func (n *net) fetch(t *testing.T, e engine.Executable) []float32 {
	t.Helper()
	var all []float32
	for _, id := range n.params {
		v := make([]float32, n.p.Tensors[id].Len())
		if err := e.Fetch(id, v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v...)
	}
	return all
}

func networks(t *testing.T, dev engine.Device, unit float64) {
	for _, n := range nets() {
		t.Run(n.name, func(t *testing.T) {
			oracle := n.open(t, reference.NewFloat64())
			defer oracle.Close()
			e := n.open(t, dev)
			defer e.Close()
			want, _ := n.train(t, oracle)
			got, predicted := n.train(t, e)
			for i, w := range want {
				// The cross-entropy of a confident network is e^-margin: its relative error is the margin's absolute one, and rounded factors err by so many units of a
				// margin that has grown to the logarithm of what the loss fell by.
				if !same(got[i], w, max(1e-3, 6*unit*(1+max(0, math.Log(want[0]/w))))*math.Abs(w)) {
					t.Errorf("loss of step %d: %.7g, want %.7g (%s)", i, got[i], w, replay(t))
					break
				}
			}
			if n := len(got); !(got[n-1] < got[0]) {
				t.Errorf("the loss went from %g to %g: nothing was learnt (%s)", got[0], got[n-1], replay(t))
			}
			for _, c := range predicted {
				if c != math.Trunc(c) || c < 0 || c >= classesN {
					t.Errorf("predicted class %g", c)
				}
			}
			n.repeats(t, dev, e, got)
		})
	}
}

// repeats: the same executable from the same state, another executable, and the same steps in two runs give the same bits.
func (n *net) repeats(t *testing.T, dev engine.Device, e engine.Executable, losses []float64) {
	t.Helper()
	state := n.fetch(t, e)
	check := func(what string, e engine.Executable, got []float64) {
		for i := range losses {
			if math.Float64bits(got[i]) != math.Float64bits(losses[i]) {
				t.Errorf("%s: loss of step %d is %v, was %v (%s)", what, i, got[i], losses[i], replay(t))
				return
			}
		}
		for i, v := range n.fetch(t, e) {
			if math.Float32bits(v) != math.Float32bits(state[i]) {
				t.Errorf("%s: state element %d is %v, was %v (%s)", what, i, v, state[i], replay(t))
				return
			}
		}
	}
	n.reset(t, e)
	again, _ := n.train(t, e)
	check("second run", e, again)
	other := n.open(t, dev)
	defer other.Close()
	again, _ = n.train(t, other)
	check("second executable", other, again)
	n.reset(t, other)
	const cut = 7
	parts := n.run(t, other, 0, 0, cut).Outputs[0]
	parts = append(parts, n.run(t, other, 0, cut, netSteps-cut).Outputs[0]...)
	parts = append(parts, n.run(t, other, 1, netSteps, 3).Outputs[0]...)
	parts = append(parts, n.run(t, other, 2, 0, 3).Outputs[0]...)
	check("run in two parts", other, parts)
}
