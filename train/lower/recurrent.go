package lower

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"netmend/engine"
	"netmend/onnx"
)

// recurrent layers are one operation (engine.Recurrent) behind one product of the input weights with all steps at once, where their functions
// are the default ones. Elsewhere they are unrolled: every step of the sequence becomes operations of its own. Formulas and letters are those
// of the ONNX operators.
var recurrent = map[string]lowering{"RNN": lowerRecurrent, "GRU": lowerRecurrent, "LSTM": lowerRecurrent}

// maxSteps bounds the operations that an unrolled sequence becomes.
const maxSteps = 4096

// layer is what the directions of a recurrent node share.
type layer struct {
	*env
	n                          *onnx.Node
	x                          engine.TensorID // (steps, batch, input)
	steps, batch, hidden       int
	gates                      int // matrices of hidden rows that W and R are made of
	directions                 int
	clip                       float64 // 0: none
	inputForget, resetLinearly bool
	plain                      bool              // the engine has this cell
	lens                       engine.TensorID   // (batch) the sequences' lengths; None when all are full
	masks                      []engine.TensorID // of an unrolled layer, per step (batch, 1): 1 while the sequence lasts
	first                      bool              // layout 1: the batch is the first axis
}

// direction is one direction's weights and functions.
type direction struct {
	*layer
	w, r, wb, rb engine.TensorID    // (gates·hidden, input), (gates·hidden, hidden), (gates·hidden) or None
	peepholes    engine.TensorID    // (3·hidden) or None
	peep         [3]engine.TensorID // the same of i, o, f of an unrolled layer: (hidden), or None
	act          []func(engine.TensorID) engine.TensorID
	rt, rht      engine.TensorID // GRU without linear_before_reset: R of z and r, and R of h
	inner        engine.TensorID // GRU with linear_before_reset: the recurrent bias, zeros but for h; or None
}

func lowerRecurrent(e *env, n *onnx.Node) error {
	l, err := e.layer(n)
	if err != nil {
		return err
	}
	ways := map[string][]bool{"forward": {false}, "reverse": {true}, "bidirectional": {false, true}}[n.String("direction", "forward")]
	if ways == nil {
		return fmt.Errorf("direction %q is unknown: forward, reverse or bidirectional", n.String("direction", ""))
	}
	l.directions = len(ways)
	functions, err := l.functions()
	if err == nil && !l.plain {
		err = l.unrollable()
	}
	if err != nil {
		return err
	}
	var ys, hs, cs []engine.TensorID
	for k, reverse := range ways {
		d, h, c, err := l.direction(k, functions)
		if err != nil {
			return err
		}
		y, h, c := d.run(h, c, reverse)
		ys, hs, cs = append(ys, y), append(hs, h), append(cs, c)
	}
	return l.finish(ys, hs, cs)
}

// layer reads what does not depend on the direction.
func (e *env) layer(n *onnx.Node) (*layer, error) {
	l := &layer{env: e, n: n, gates: map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[n.OpType], clip: float64(n.Float("clip", 0)),
		inputForget: n.OpType == "LSTM" && n.Int("input_forget", 0) != 0, resetLinearly: n.OpType == "GRU" && n.Int("linear_before_reset", 0) != 0,
		lens: engine.None, first: n.Int("layout", 0) != 0}
	x, err := e.inFloat(0)
	if err != nil {
		return nil, err
	}
	if len(e.Shape(x)) != 3 {
		return nil, fmt.Errorf("input has shape %v, wants 3 dimensions", e.Shape(x))
	}
	if l.first {
		x = e.Transpose(x, 1, 0, 2)
	}
	r, err := e.inFloat(2)
	if err != nil {
		return nil, err
	}
	if s := e.Shape(r); len(s) != 3 || s[1] != l.gates*s[2] || s[2] < 1 {
		return nil, fmt.Errorf("R has shape %v, wants [directions, %d·hidden, hidden]", s, l.gates)
	}
	l.x, l.steps, l.batch, l.hidden = x, e.Shape(x)[0], e.Shape(x)[1], e.Shape(r)[2]
	if hs := n.Int("hidden_size", int64(l.hidden)); hs != int64(l.hidden) {
		return nil, fmt.Errorf("hidden_size is %d, R has shape %v", hs, e.Shape(r))
	}
	if l.steps < 1 {
		return nil, fmt.Errorf("sequences of %d steps, wants at least 1", l.steps)
	}
	if l.clip < 0 {
		return nil, fmt.Errorf("clip %v is negative", l.clip)
	}
	return l, l.lengths()
}

// lengths reads input sequence_lens.
func (l *layer) lengths() error {
	if !l.has(4) {
		return nil
	}
	v, err := l.arg(4)
	if err != nil {
		return err
	}
	if s := l.shape(v); len(s) != 1 || s[0] != l.batch {
		return fmt.Errorf("sequence_lens has shape %v, wants [%d]", s, l.batch)
	}
	if v.host != nil {
		lens := v.host.toInts()
		if slices.Min(lens) < 0 || slices.Max(lens) > l.steps {
			return fmt.Errorf("sequence_lens %v are outside 0..%d", lens, l.steps)
		}
		if slices.Min(lens) == l.steps {
			return nil
		}
	}
	l.lens = l.Reshape(l.deviceFloat(v), []int{l.batch})
	return nil
}

// unrollable says whether a layer that the engine has no cell of is short enough, and makes its masks.
func (l *layer) unrollable() error {
	if l.steps > maxSteps {
		return fmt.Errorf("sequences of %d steps, wants 1 to %d where clip, input_forget or activations are not the default", l.steps, maxSteps)
	}
	if l.lens == engine.None {
		return nil
	}
	lens := l.Reshape(l.lens, []int{l.batch, 1})
	for t := range l.steps {
		l.masks = append(l.masks, l.Binary(engine.Greater, lens, l.Scalar(float64(t))))
	}
	return nil
}

// functions are the activation functions of all directions, one after the other: f of an RNN, f and g of a GRU, f, g and h of an LSTM.
func (l *layer) functions() ([]func(engine.TensorID) engine.TensorID, error) {
	defaults := map[string][]string{"RNN": {"Tanh"}, "GRU": {"Sigmoid", "Tanh"}, "LSTM": {"Sigmoid", "Tanh", "Tanh"}}[l.n.OpType]
	names, given := l.n.Strings("activations")
	if !given {
		for range l.directions {
			names = append(names, defaults...)
		}
	}
	if len(names) != len(defaults)*l.directions {
		return nil, fmt.Errorf("%d activations, wants %d for %d directions", len(names), len(defaults)*l.directions, l.directions)
	}
	l.plain = l.clip == 0 && !l.inputForget
	for i, name := range names {
		l.plain = l.plain && strings.EqualFold(name, defaults[i%len(defaults)])
	}
	alpha, _ := l.n.Floats("activation_alpha")
	beta, _ := l.n.Floats("activation_beta")
	var out []func(engine.TensorID) engine.TensorID
	for _, name := range names {
		f, err := l.function(name, &alpha, &beta)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// cellFunctions are the functions of recurrent layers with the parameters that they take and their defaults.
var cellFunctions = map[string]struct {
	fn     engine.Fn
	params []float64
}{
	"relu": {engine.Relu, nil}, "tanh": {engine.Tanh, nil}, "sigmoid": {engine.Sigmoid, nil}, "softsign": {engine.Softsign, nil},
	"softplus": {engine.Softplus, nil}, "leakyrelu": {engine.LeakyRelu, []float64{0.01}}, "thresholdedrelu": {engine.ThresholdedRelu, []float64{1}},
	"elu": {engine.Elu, []float64{1}}, "hardsigmoid": {engine.HardSigmoid, []float64{0.2, 0.5}},
}

// function is one activation function. It takes its parameters from the front of the lists: a function without parameters leaves them to
// the next one, as ONNX Runtime does. clip bounds what it is applied to.
func (l *layer) function(name string, alpha, beta *[]float32) (func(engine.TensorID) engine.TensorID, error) {
	take := func(list *[]float32, otherwise float64) float64 {
		if len(*list) == 0 {
			return otherwise
		}
		v := float64((*list)[0])
		*list = (*list)[1:]
		return v
	}
	clipped := func(f func(engine.TensorID) engine.TensorID) func(engine.TensorID) engine.TensorID {
		if l.clip == 0 {
			return f
		}
		return func(x engine.TensorID) engine.TensorID { return f(l.Unary(engine.Clip, x, -l.clip, l.clip)) }
	}
	lower := strings.ToLower(name)
	if lower == "affine" || lower == "scaledtanh" {
		if len(*alpha) == 0 || len(*beta) == 0 {
			return nil, fmt.Errorf("activation %s needs activation_alpha and activation_beta", name)
		}
		a, b := take(alpha, 0), take(beta, 0)
		if lower == "affine" {
			return clipped(func(x engine.TensorID) engine.TensorID { return l.Affine(x, a, b) }), nil
		}
		return clipped(func(x engine.TensorID) engine.TensorID {
			return l.Affine(l.Unary(engine.Tanh, l.Affine(x, b, 0)), a, 0)
		}), nil
	}
	f, ok := cellFunctions[lower]
	if !ok {
		return nil, fmt.Errorf("activation %q is unknown", name)
	}
	params := slices.Clone(f.params)
	for i, list := range []*[]float32{alpha, beta}[:len(params)] {
		params[i] = take(list, params[i])
	}
	return clipped(func(x engine.TensorID) engine.TensorID { return l.Unary(f.fn, x, params...) }), nil
}

// part is element k of the first axis of input i, which must have the given shape behind it; None when the input is absent.
func (l *layer) part(i, k int, shape ...int) (engine.TensorID, error) {
	x, err := l.inFloat(i)
	if err != nil || x == engine.None {
		return x, err
	}
	want := append([]int{l.directions}, shape...)
	if !slices.Equal(l.Shape(x), want) {
		return x, fmt.Errorf("input %d has shape %v, wants %v", i, l.Shape(x), want)
	}
	return l.rows(l.Reshape(x, append([]int{l.directions}, engine.Len(shape))), k, k+1, shape...), l.Err()
}

// rows are the rows from lo to hi of a matrix, as shape.
func (l *layer) rows(x engine.TensorID, lo, hi int, shape ...int) engine.TensorID {
	if l.Err() != nil {
		return engine.None
	}
	s := l.Shape(x)
	if lo != 0 || hi != s[0] {
		x = l.Slice(x, []int{lo, 0}, []int{1, 1}, []int{hi - lo, s[1]})
	}
	return l.Reshape(x, shape)
}

// state is an initial state of direction k: zeros when it is absent. A state that was exported for one row serves all.
func (l *layer) state(i, k int) (engine.TensorID, error) {
	x, err := l.inFloat(i)
	if err != nil {
		return x, err
	}
	if x == engine.None {
		return l.Broadcast(l.Scalar(0), []int{l.batch, l.hidden}), nil
	}
	if l.first && len(l.Shape(x)) == 3 {
		x = l.Transpose(x, 1, 0, 2)
	}
	s := l.Shape(x)
	if len(s) != 3 || s[0] != l.directions || s[1] != l.batch && s[1] != 1 || s[2] != l.hidden {
		return x, fmt.Errorf("input %d has shape %v, wants %d directions of %d rows of %d", i, l.Shape(x), l.directions, l.batch, l.hidden)
	}
	h := l.rows(l.Reshape(x, []int{s[0], s[1] * s[2]}), k, k+1, s[1], s[2])
	return l.Broadcast(h, []int{l.batch, l.hidden}), l.Err()
}

// direction reads the weights and initial states of direction k.
func (l *layer) direction(k int, functions []func(engine.TensorID) engine.TensorID) (d *direction, h, c engine.TensorID, err error) {
	per := len(functions) / l.directions
	d = &direction{layer: l, act: functions[k*per : (k+1)*per], wb: engine.None, rb: engine.None, inner: engine.None,
		peepholes: engine.None, peep: [3]engine.TensorID{engine.None, engine.None, engine.None}}
	rows := l.gates * l.hidden
	if d.w, err = l.part(1, k, rows, l.Shape(l.x)[2]); err != nil {
		return
	}
	if d.r, err = l.part(2, k, rows, l.hidden); err != nil {
		return
	}
	if d.w == engine.None || d.r == engine.None {
		return nil, 0, 0, errors.New("W or R is missing")
	}
	b, err := l.part(3, k, 2*rows)
	if err != nil {
		return
	}
	if b != engine.None {
		b = l.Reshape(b, []int{2, rows})
		d.wb, d.rb = l.rows(b, 0, 1, rows), l.rows(b, 1, 2, rows)
	}
	switch {
	case l.plain:
	case l.n.OpType == "GRU" && l.resetLinearly && b != engine.None:
		d.inner = d.Concat(0, d.Broadcast(d.Scalar(0), []int{2 * d.hidden}), d.vector(d.rb, 2, 3))
	case l.n.OpType == "GRU" && !l.resetLinearly:
		d.rt = l.rows(d.r, 0, 2*l.hidden, 2*l.hidden, l.hidden)
		d.rht = l.rows(d.r, 2*l.hidden, 3*l.hidden, l.hidden, l.hidden)
	}
	if h, err = l.state(5, k); err != nil {
		return
	}
	c = engine.None
	if l.n.OpType != "LSTM" {
		return
	}
	if c, err = l.state(6, k); err != nil {
		return
	}
	p, err := l.part(7, k, 3*l.hidden)
	d.peepholes = p
	if p != engine.None && err == nil && !l.plain {
		p = l.Reshape(p, []int{3, l.hidden})
		for i := range d.peep {
			d.peep[i] = l.rows(p, i, i+1, l.hidden)
		}
	}
	return
}

// run goes through the sequence; y is (steps, 1, batch, hidden). A row whose sequence is over keeps its state and gives zeros; in reverse
// it keeps the initial state until its last element. A row of no elements ends in its initial state, where ONNX Runtime gives zeros.
func (d *direction) run(h, c engine.TensorID, reverse bool) (y, lastH, lastC engine.TensorID) {
	bias := d.wb
	if bias != engine.None && (d.n.OpType != "GRU" || !d.resetLinearly) { // both biases act at the same place
		bias = d.Add(bias, d.rb)
	} else if bias != engine.None {
		// Of the reset gate's candidate the recurrent bias is inside the reset.
		zr := d.Add(d.vector(bias, 0, 2), d.vector(d.rb, 0, 2))
		bias = d.Concat(0, zr, d.vector(bias, 2, 3))
	}
	x := d.MatMul(d.x, d.w, bias, false, true)
	if d.plain {
		return d.cell(x, h, c, reverse)
	}
	xs := d.split(x)
	if d.Err() != nil {
		return engine.None, engine.None, engine.None
	}
	ys := make([]engine.TensorID, d.steps)
	zero := d.Scalar(0)
	for k := range d.steps {
		t := k
		if reverse {
			t = d.steps - 1 - k
		}
		newH, newC := d.step(xs[t], h, c)
		ys[t] = newH
		if d.masks != nil {
			ys[t] = d.Where(d.masks[t], newH, zero)
			newH = d.Where(d.masks[t], newH, h)
			if c != engine.None {
				newC = d.Where(d.masks[t], newC, c)
			}
		}
		h, c = newH, newC
		ys[t] = d.Reshape(ys[t], []int{1, 1, d.batch, d.hidden})
	}
	return d.Concat(0, ys...), h, c
}

// cell is run as one operation of the engine; x holds what the inputs give to the gates.
func (d *direction) cell(x, h, c engine.TensorID, reverse bool) (y, lastH, lastC engine.TensorID) {
	t := engine.Recurrence{X: x, R: d.r, Bias: engine.None, H: h, C: c, Peepholes: d.peepholes, Lens: d.lens}
	if d.resetLinearly && d.rb != engine.None {
		t.Bias = d.vector(d.rb, 2, 3)
	}
	if t.Peepholes != engine.None {
		t.Peepholes = d.Reshape(t.Peepholes, []int{3, d.hidden})
	}
	kind := map[string]engine.CellKind{"RNN": engine.CellRNN, "GRU": engine.CellGRU, "LSTM": engine.CellLSTM}[d.n.OpType]
	y, lastH, lastC = d.Recurrent(engine.Cell{Kind: kind, Reverse: reverse, ResetLinearly: d.resetLinearly}, t)
	return d.Reshape(y, []int{d.steps, 1, d.batch, d.hidden}), lastH, lastC
}

// vector is gates lo to hi of a bias.
func (d *direction) vector(x engine.TensorID, lo, hi int) engine.TensorID {
	return d.Slice(x, []int{lo * d.hidden}, []int{1}, []int{(hi - lo) * d.hidden})
}

// split cuts (steps, batch, n) into steps of (batch, n), by halves: the gradient of a slice is as large as what it was cut from, and would
// be that for every step otherwise.
func (d *direction) split(x engine.TensorID) []engine.TensorID {
	if d.Err() != nil {
		return nil
	}
	s := d.Shape(x)
	if s[0] == 1 {
		return []engine.TensorID{d.Reshape(x, s[1:])}
	}
	half := s[0] / 2
	a := d.Slice(x, []int{0, 0, 0}, []int{1, 1, 1}, []int{half, s[1], s[2]})
	b := d.Slice(x, []int{half, 0, 0}, []int{1, 1, 1}, []int{s[0] - half, s[1], s[2]})
	return append(d.split(a), d.split(b)...)
}

// gate is columns lo·hidden to hi·hidden.
func (d *direction) gate(x engine.TensorID, lo, hi int) engine.TensorID {
	return d.Slice(x, []int{0, lo * d.hidden}, []int{1, 1}, []int{d.batch, (hi - lo) * d.hidden})
}

func (d *direction) step(x, h, c engine.TensorID) (newH, newC engine.TensorID) {
	switch d.n.OpType {
	case "LSTM":
		return d.lstm(x, h, c)
	case "GRU":
		return d.gru(x, h), engine.None
	}
	// Ht = f(Xt·Wᵀ + Ht-1·Rᵀ + Wb + Rb)
	return d.act[0](d.Add(x, d.MatMul(h, d.r, engine.None, false, true))), engine.None
}

// lstm: it, ot, ft = f(Xt·Wᵀ + Ht-1·Rᵀ + P∘C + Wb + Rb), of Ct for o and of Ct-1 for the others; ct = g(…); Ct = ft∘Ct-1 + it∘ct;
// Ht = ot∘h(Ct). input_forget: ft = 1-it. Gers and Schmidhuber 2000 have the peepholes P.
func (d *direction) lstm(x, h, c engine.TensorID) (newH, newC engine.TensorID) {
	all := d.Add(x, d.MatMul(h, d.r, engine.None, false, true))
	look := func(x engine.TensorID, i int, c engine.TensorID) engine.TensorID {
		if d.peep[i] == engine.None {
			return x
		}
		return d.Add(x, d.Mul(d.peep[i], c))
	}
	f, g, out := d.act[0], d.act[1], d.act[2]
	i := f(look(d.gate(all, 0, 1), 0, c))
	var forget engine.TensorID
	if d.inputForget {
		forget = d.Affine(i, -1, 1)
	} else {
		forget = f(look(d.gate(all, 2, 3), 2, c))
	}
	newC = d.Add(d.Mul(forget, c), d.Mul(i, g(d.gate(all, 3, 4))))
	o := f(look(d.gate(all, 1, 2), 1, newC))
	return d.Mul(o, out(newC)), newC
}

// gru: zt, rt = f(Xt·Wᵀ + Ht-1·Rᵀ + Wb + Rb); ht = g(Xt·Wᵀ + (rt∘Ht-1)·Rᵀ + Rb + Wb), or g(Xt·Wᵀ + rt∘(Ht-1·Rᵀ + Rb) + Wb) with
// linear_before_reset; Ht = (1-zt)∘ht + zt∘Ht-1. Cho et al. 2014.
func (d *direction) gru(x, h engine.TensorID) engine.TensorID {
	f, g := d.act[0], d.act[1]
	var zr, inner engine.TensorID
	if d.resetLinearly {
		all := d.MatMul(h, d.r, d.inner, false, true)
		zr, inner = d.gate(all, 0, 2), d.gate(all, 2, 3)
	} else {
		zr = d.MatMul(h, d.rt, engine.None, false, true)
	}
	zr = d.Add(d.gate(x, 0, 2), zr)
	z, r := f(d.gate(zr, 0, 1)), f(d.gate(zr, 1, 2))
	if d.resetLinearly {
		inner = d.Mul(r, inner)
	} else {
		inner = d.MatMul(d.Mul(r, h), d.rht, engine.None, false, true)
	}
	candidate := g(d.Add(d.gate(x, 2, 3), inner))
	return d.Add(candidate, d.Mul(z, d.Sub(h, candidate)))
}

// finish joins the directions: Y (steps, directions, batch, hidden), Y_h and Y_c (directions, batch, hidden), or with the batch in front.
func (l *layer) finish(ys, hs, cs []engine.TensorID) error {
	y := l.Concat(1, ys...)
	if l.first {
		y = l.Transpose(y, 2, 0, 1, 3)
	}
	if err := l.setTensor(0, y); err != nil {
		return err
	}
	for i, states := range [][]engine.TensorID{hs, cs} {
		if l.n.Output(1+i) == "" {
			continue
		}
		joined := make([]engine.TensorID, len(states))
		for k, s := range states {
			joined[k] = l.Reshape(s, []int{1, l.batch, l.hidden})
		}
		s := l.Concat(0, joined...)
		if l.first {
			s = l.Transpose(s, 1, 0, 2)
		}
		if err := l.setTensor(1+i, s); err != nil {
			return err
		}
	}
	return nil
}
