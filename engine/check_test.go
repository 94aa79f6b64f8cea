package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
)

// everyKind is a valid training program with most kinds of operations.
func everyKind(t testing.TB) *Program {
	t.Helper()
	p := NewProgram(9)
	x, labels := p.NewData("x", Float, []int{2, 6, 6}), p.NewData("labels", Int, nil)
	w, bias := p.NewState("w", []int{4, 2, 3, 3}), p.NewState("bias", []int{4})
	scale, shift, mean := p.NewState("scale", []int{4}), p.NewState("shift", []int{4}), p.NewState("mean", []int{4})
	dense, table, coefs := p.NewState("dense", []int{16, 5}), p.NewState("table", []int{7, 5}), p.NewFeed("coefs", []int{RuleCoefs})
	b := p.NewFunc("train", 3)
	win := func(k, stride, pad int) Window {
		return Window{Kernel: []int{k, k}, Strides: []int{stride, stride}, Dilations: []int{1, 1}, PadBegin: []int{pad, pad}, PadEnd: []int{pad, pad}, Group: 1}
	}
	y, m, _ := b.BatchNorm(b.Conv(b.Batch(x), w, bias, win(3, 1, 1)), scale, shift, 1e-5)
	b.Lerp(mean, m, 0.9, 0.1)
	y = b.MaxPool(b.Dropout(b.Unary(Relu, y), 0.5, 1), win(2, 2, 0))
	y = b.AvgPool(b.Transpose(y, 0, 1, 3, 2), win(2, 1, 0))
	y = b.MatMul(b.Reshape(y, []int{3, 16}), dense, None, false, false)
	l := b.Batch(labels)
	y = b.Add(y, b.Gather(table, l, 0))
	y = b.Concat(1, y, b.Pad(b.Slice(y, []int{0, 4}, []int{1, -2}, []int{3, 3}), []int{0, 0}, []int{1, 1}, []int{3, 4}, 0))
	y = b.Where(b.Binary(Greater, y, b.Scalar(0)), y, b.Binary(Max, b.Broadcast(b.Scalar(1), []int{3, 9}), b.Softmax(y, 1)))
	rh := p.NewState("rh", []int{12, 3})
	seq, lastH, lastC := b.Recurrent(Cell{Kind: CellLSTM}, Recurrence{X: b.Reshape(b.Broadcast(y, []int{4, 3, 9}), []int{3, 3, 12}), R: rh, Bias: None,
		H: p.NewState("h0", []int{3, 3}), C: p.NewState("c0", []int{3, 3}), Peepholes: p.NewState("peep", []int{3, 3}), Lens: None})
	y = b.Add(y, b.Reshape(b.Concat(1, b.Reshape(b.Slice(seq, []int{1, 0, 0}, []int{1, 1, 1}, []int{1, 3, 3}), []int{3, 3}), lastH, lastC), []int{3, 9}))
	hot := b.OneHot(l, 9)
	loss := b.Reduce(Mean, b.Mul(hot, b.LogSoftmax(y, 1)), false)
	b.Output(loss)
	b.Output(b.ArgMax(y, 1))
	params := []TensorID{w, bias, scale, shift, dense, table, rh}
	for i, g := range b.Gradient(loss, params) {
		b.Output(b.Moments(g))
		slots := []TensorID{p.NewState(fmt.Sprint("m", i), b.Shape(params[i])), p.NewState(fmt.Sprint("v", i), b.Shape(params[i]))}
		b.Update(Rule{Kind: RuleAdam}, params[i], g, coefs, slots...)
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p
}

// mutate breaks one thing of a program.
func mutate(rng *rand.Rand, p *Program) {
	f := p.Funcs[0]
	op := &f.Ops[rng.IntN(len(f.Ops))]
	number := func() int {
		return []int{-1 << 62, -3, -1, 0, 1, 2, 3, 5, 1 << 31, 1 << 62}[rng.IntN(10)]
	}
	list := func(s *[]int) {
		switch rng.IntN(4) {
		case 0:
			*s = nil
		case 1:
			*s = append(slices.Clone(*s), number())
		default:
			if *s = slices.Clone(*s); len(*s) > 0 {
				(*s)[rng.IntN(len(*s))] = number()
			}
		}
	}
	id := func(s *[]TensorID) {
		switch n := len(*s); rng.IntN(4) {
		case 0:
			*s = (*s)[:n/2]
		case 1:
			*s = append(slices.Clone(*s), TensorID(rng.IntN(len(p.Tensors))))
		default:
			if *s = slices.Clone(*s); n > 0 {
				(*s)[rng.IntN(n)] = TensorID(rng.IntN(len(p.Tensors)+4) - 2)
			}
		}
	}
	t := &p.Tensors[rng.IntN(len(p.Tensors))]
	switch rng.IntN(20) {
	case 0:
		op.Kind = Kind(rng.IntN(256))
	case 1:
		op.Fn = Fn(rng.IntN(256))
	case 2:
		id(&op.In)
	case 3:
		id(&op.Out)
	case 4:
		list(&op.Axes)
	case 5:
		list(&op.Shape)
	case 6:
		list(&op.Starts)
	case 7:
		list(&op.Steps)
	case 8:
		op.Window = nil
	case 9, 10:
		w := Window{Kernel: []int{2, 2}, Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{0, 0}, PadEnd: []int{0, 0}, Group: number()}
		list([]*[]int{&w.Kernel, &w.Strides, &w.Dilations, &w.PadBegin, &w.PadEnd}[rng.IntN(5)])
		op.Window = &w
	case 11:
		op.Rule = []*Rule{nil, {Kind: RuleKind(rng.IntN(256)), Momentum: rng.IntN(2) == 0}}[rng.IntN(2)]
	case 12:
		op.TransA, op.TransB = !op.TransA, rng.IntN(2) == 0
	case 13:
		op.Type = DType(rng.IntN(4))
	case 14:
		t.Type = DType(rng.IntN(4))
	case 15:
		t.Role = Role(rng.IntN(8))
	case 16:
		list(&t.Shape)
	case 17:
		switch f.Batch = number(); rng.IntN(3) {
		case 0:
			p.Rows = number()
		case 1:
			p.Funcs = append(p.Funcs, nil)
		}
	case 18:
		op.Cell = []*Cell{nil, {Kind: CellKind(rng.IntN(5)), ResetLinearly: rng.IntN(2) == 0}}[rng.IntN(2)]
	case 19:
		i, k := rng.IntN(len(f.Ops)), rng.IntN(len(f.Ops))
		f.Ops[i], f.Ops[k] = f.Ops[k], f.Ops[i]
	}
}

// A program that is broken anywhere gives an error or is still a program; nothing panics, and what passes can be counted.
func TestCheckNeverPanics(t *testing.T) {
	refused := 0
	const tries = 20000
	for seed := range uint64(tries) {
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Logf("%s", debug.Stack())
					t.Fatalf("seed %d: panic: %v", seed, v)
				}
			}()
			p := everyKind(t)
			rng := rand.New(rand.NewPCG(seed, 0))
			for range 1 + rng.IntN(3) {
				mutate(rng, p)
			}
			if p.Check() != nil {
				refused++
				return
			}
			for _, f := range p.Funcs {
				p.Flops(f)
			}
		}()
	}
	if refused < tries/3 {
		t.Errorf("only %d of %d broken programs were refused", refused, tries)
	}
}

func TestUnknownNamesDoNotPanic(t *testing.T) {
	for _, s := range []fmt.Stringer{Kind(255), Fn(255), RuleKind(255), DType(255), Role(255)} {
		if s.String() == "" {
			t.Errorf("%T has no name", s)
		}
	}
}
