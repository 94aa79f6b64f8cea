package engine

import (
	"fmt"
	"slices"
)

// CellKind is what a recurrent layer is made of. The formulas are those of the ONNX operators of these names with their default functions,
// gates in their order; ∘ is the product of elements, σ the logistic function; x holds Xt·Wᵀ and all biases but Cell.ResetLinearly's.
type CellKind uint8

const (
	// CellRNN: ht = tanh(xt + ht-1·Rᵀ). Elman 1990.
	CellRNN CellKind = iota
	// CellGRU, gates z, r, n: z, r = σ(x + ht-1·Rᵀ); n = tanh(x + (r∘ht-1)·Rᵀ), or tanh(x + r∘(ht-1·Rᵀ + bias)) with Cell.ResetLinearly;
	// ht = (1-z)∘n + z∘ht-1. Cho et al. 2014.
	CellGRU
	// CellLSTM, gates i, o, f, g: i, o, f = σ(x + ht-1·Rᵀ + p∘c), c being ct for o and ct-1 for the others, the peepholes p optional;
	// g = tanh(x + ht-1·Rᵀ); ct = f∘ct-1 + i∘g; ht = o∘tanh(ct). Hochreiter and Schmidhuber 1997; Gers and Schmidhuber 2000.
	CellLSTM

	numCells
)

func (k CellKind) String() string { return nameOf([]string{"RNN", "GRU", "LSTM"}, "cell", k) }

// Gates is the number of matrices of hidden rows that R is made of.
func (k CellKind) Gates() int {
	if k >= numCells {
		return 0
	}
	return []int{1, 3, 4}[k]
}

// Cells lists everything that a device has to know; tests of completeness go through them.
func Cells() []CellKind { return upTo(numCells) }

// Cell is the layer of Recurrent and RecurrentGrad.
type Cell struct {
	Kind          CellKind
	Reverse       bool // from the last step to the first
	ResetLinearly bool // GRU: linear_before_reset
}

// saves says what Recurrent keeps for RecurrentGrad: the gates after their functions, and of every step c (LSTM) or ht-1·Rᵀ + bias of n
// (GRU with ResetLinearly).
func (c *Cell) saves() (gates, extra bool) {
	return c.Kind != CellRNN, c.Kind == CellLSTM || c.ResetLinearly
}

// Recurrence names the tensors of a Recurrent or a RecurrentGrad. With T steps, N sequences, H hidden units and G gates: X is (T, N, G·H),
// R (G·H, H), Bias (H), H and C, the initial states, (N, H), Peepholes (3, H) for i, o, f, Lens (N) the numbers of steps that the sequences have
// (nil: T; step t belongs to a sequence where t < its length). Y is (T, N, H), LastH and LastC are (N, H), Gates (T, N, G·H) and Extra (T, N, H).
// Where a sequence is over, Y, Gates, Extra and DX are 0 and the states stay as they are.
//
// Bias belongs to ResetLinearly and may be absent; C and LastC belong to the LSTM; Peepholes and Lens may be absent. DY, DLastH and DLastC are
// the gradients of the outputs, absent for 0; DX, DR, DH, DC, DBias and DPeepholes those of the inputs.
type Recurrence struct {
	X, R, Bias, H, C, Peepholes, Lens TensorID
	Y, LastH, LastC, Gates, Extra     TensorID
	DY, DLastH, DLastC                TensorID
	DX, DR, DH, DC, DBias, DPeepholes TensorID
}

// Recurrence reads the inputs and outputs of a Recurrent or a RecurrentGrad that has been checked.
func (op *Op) Recurrence() Recurrence {
	r := Recurrence{X: None, R: None, Bias: None, H: None, C: None, Peepholes: None, Lens: None, Y: None, LastH: None, LastC: None, Gates: None,
		Extra: None, DY: None, DLastH: None, DLastC: None, DX: None, DR: None, DH: None, DC: None, DBias: None, DPeepholes: None}
	in, out := r.inputs(op.Kind), r.outputs(op.Kind, op.Cell, op.In)
	for i, id := range op.In {
		*in[i] = id
	}
	for i, id := range op.Out {
		*out[i] = id
	}
	return r
}

// inputs are the inputs of Recurrent or RecurrentGrad in the order of Op.In.
func (r *Recurrence) inputs(k Kind) []*TensorID {
	if k == Recurrent {
		return []*TensorID{&r.X, &r.R, &r.Bias, &r.H, &r.C, &r.Peepholes, &r.Lens}
	}
	return []*TensorID{&r.DY, &r.DLastH, &r.DLastC, &r.R, &r.Bias, &r.H, &r.C, &r.Peepholes, &r.Lens, &r.Y, &r.Gates, &r.Extra}
}

// outputs are the outputs that an op with these inputs has, in the order of Op.Out.
func (r *Recurrence) outputs(k Kind, c *Cell, in []TensorID) []*TensorID {
	if k == Recurrent {
		out := []*TensorID{&r.Y, &r.LastH}
		if c.Kind == CellLSTM {
			out = append(out, &r.LastC)
		}
		gates, extra := c.saves()
		if gates {
			out = append(out, &r.Gates)
		}
		if extra {
			out = append(out, &r.Extra)
		}
		return out
	}
	out := []*TensorID{&r.DX, &r.DR, &r.DH}
	if c.Kind == CellLSTM {
		out = append(out, &r.DC)
	}
	if in[4] != None {
		out = append(out, &r.DBias)
	}
	if in[7] != None {
		out = append(out, &r.DPeepholes)
	}
	return out
}

// checkCell says which of the inputs that may be absent are missing or too many.
func checkCell(op *Op) error {
	if op.Cell == nil {
		return fmt.Errorf("no cell")
	}
	c := op.Cell
	if c.Kind >= numCells {
		return fmt.Errorf("%s is not known", c.Kind)
	}
	if c.ResetLinearly && c.Kind != CellGRU {
		return fmt.Errorf("%s has no reset", c.Kind)
	}
	lstm := c.Kind == CellLSTM
	gates, extra := c.saves()
	r := Recurrence{}
	has := func(id TensorID) bool { return id != None }
	for i, id := range r.inputs(op.Kind) {
		*id = op.In[i]
	}
	grad := op.Kind == RecurrentGrad
	for _, x := range []struct {
		name        string
		id          TensorID
		must, mayBe bool
	}{{"x", r.X, !grad, true}, {"R", r.R, true, true}, {"bias", r.Bias, false, c.ResetLinearly}, {"h", r.H, true, true}, {"c", r.C, lstm, lstm},
		{"peepholes", r.Peepholes, false, lstm}, {"the last c's gradient", r.DLastC, false, lstm || !grad}, {"y", r.Y, grad, true},
		{"gates", r.Gates, grad && gates, gates || !grad}, {"the saved states", r.Extra, grad && extra, extra || !grad}} {
		if x.must && !has(x.id) {
			return fmt.Errorf("%s is absent", x.name)
		}
		if !x.mayBe && has(x.id) {
			return fmt.Errorf("%s has no %s", c.Kind, x.name)
		}
	}
	return nil
}

// sizes are steps, sequences and hidden units.
func (r *recurrenceShapes) sizes(op *Op, x []int) (t, n, h int, err error) {
	g := op.Cell.Kind.Gates()
	if len(x) != 3 || len(r.R) != 2 || r.R[1] < 1 || r.R[0] != g*r.R[1] || x[2] != r.R[0] {
		return 0, 0, 0, fmt.Errorf("%s wants (steps, batch, %d·hidden) and R of (%d·hidden, hidden), got %v and %v", op.Cell.Kind, g, g, x, r.R)
	}
	if x[0] < 1 {
		return 0, 0, 0, fmt.Errorf("sequences of no steps")
	}
	return x[0], x[1], r.R[1], nil
}

// recurrenceShapes are the shapes of inputs by name; nil where absent.
type recurrenceShapes struct{ R, Bias, H, C, Peepholes, Lens []int }

func (r *recurrenceShapes) check(n, h int) error {
	for _, x := range []struct {
		name       string
		have, want []int
	}{{"bias", r.Bias, []int{h}}, {"h", r.H, []int{n, h}}, {"c", r.C, []int{n, h}}, {"peepholes", r.Peepholes, []int{3, h}}, {"lens", r.Lens, []int{n}}} {
		if x.have != nil && !slices.Equal(x.have, x.want) {
			return fmt.Errorf("%s has shape %v, wants %v", x.name, x.have, x.want)
		}
	}
	return nil
}

// present gives the inputs that are there without dimensions a shape that is not nil.
func present(in [][]int, op *Op) [][]int {
	in = slices.Clone(in)
	for i, id := range op.In {
		if id != None && in[i] == nil {
			in[i] = []int{}
		}
	}
	return in
}

func floatTypes(n int) []DType { return make([]DType, n) }

func recurrentShapes(in [][]int, op *Op) ([][]int, []DType, error) {
	in = present(in, op)
	r := recurrenceShapes{R: in[1], Bias: in[2], H: in[3], C: in[4], Peepholes: in[5], Lens: in[6]}
	t, n, h, err := r.sizes(op, in[0])
	if err == nil {
		err = r.check(n, h)
	}
	if err != nil {
		return nil, nil, err
	}
	out := [][]int{{t, n, h}, {n, h}}
	if op.Cell.Kind == CellLSTM {
		out = append(out, []int{n, h})
	}
	gates, extra := op.Cell.saves()
	if gates {
		out = append(out, in[0])
	}
	if extra {
		out = append(out, []int{t, n, h})
	}
	return out, floatTypes(len(out)), nil
}

func recurrentGradShapes(in [][]int, op *Op) ([][]int, []DType, error) {
	in = present(in, op)
	r := recurrenceShapes{R: in[3], Bias: in[4], H: in[5], C: in[6], Peepholes: in[7], Lens: in[8]}
	y := in[9]
	if len(y) != 3 {
		return nil, nil, fmt.Errorf("y has shape %v, wants (steps, batch, hidden)", y)
	}
	dx := []int{y[0], y[1], op.Cell.Kind.Gates() * y[2]}
	t, n, h, err := r.sizes(op, dx)
	if err == nil {
		err = r.check(n, h)
	}
	if err != nil {
		return nil, nil, err
	}
	for i, want := range map[int][]int{0: {t, n, h}, 1: {n, h}, 2: {n, h}, 10: dx, 11: {t, n, h}} {
		if in[i] != nil && !slices.Equal(in[i], want) {
			return nil, nil, fmt.Errorf("input %d has shape %v, wants %v", i, in[i], want)
		}
	}
	out := [][]int{dx, r.R, {n, h}}
	for _, s := range [][]int{r.C, r.Bias, r.Peepholes} {
		if s != nil {
			out = append(out, s)
		}
	}
	return out, floatTypes(len(out)), nil
}

// Recurrent runs a recurrent layer over the inputs that t names; those that the cell has none of are None. lastC is None but for an LSTM.
func (b *Builder) Recurrent(cell Cell, t Recurrence) (y, lastH, lastC TensorID) {
	op := Op{Kind: Recurrent, Cell: &cell}
	for _, id := range t.inputs(Recurrent) {
		op.In = append(op.In, *id)
	}
	out := b.Emit(op)
	if cell.Kind == CellLSTM {
		return out[0], out[1], out[2]
	}
	return out[0], out[1], None
}

// recurrent is backward for Recurrent, of which up to three outputs have gradients.
func (g *differ) recurrent(op *Op) {
	t := op.Recurrence()
	of := func(id TensorID) TensorID {
		if d, ok := g.grad[id]; ok && id != None {
			return d
		}
		return None
	}
	t.DY, t.DLastH, t.DLastC = of(t.Y), of(t.LastH), of(t.LastC)
	if t.DY == None && t.DLastH == None && t.DLastC == None {
		return
	}
	d := Op{Kind: RecurrentGrad, Cell: op.Cell}
	for _, id := range t.inputs(RecurrentGrad) {
		d.In = append(d.In, *id)
	}
	out := g.Emit(d)
	if g.err != nil {
		return
	}
	for i, id := range t.outputs(RecurrentGrad, op.Cell, d.In) {
		*id = out[i]
	}
	for _, x := range [][2]TensorID{{t.X, t.DX}, {t.R, t.DR}, {t.H, t.DH}, {t.C, t.DC}, {t.Bias, t.DBias}, {t.Peepholes, t.DPeepholes}} {
		if x[0] != None {
			g.give(x[0], x[1])
		}
	}
}
