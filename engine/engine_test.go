package engine

import (
	"slices"
	"strings"
	"testing"
)

// Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10).
func TestPhilox(t *testing.T) {
	for _, c := range []struct {
		seed, step    uint64
		stream, block uint32
		want          [4]uint32
	}{
		{0, 0, 0, 0, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{1<<64 - 1, 1<<64 - 1, 1<<32 - 1, 1<<32 - 1, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3, 0x243f6a88, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.seed, c.step, c.stream, c.block); got != c.want {
			t.Errorf("Philox(%x, %x, %x, %x) = %x, want %x", c.seed, c.step, c.stream, c.block, got, c.want)
		}
	}
}

func TestGradientEmitsOnlyWhatIsNeeded(t *testing.T) {
	p := NewProgram(10)
	x := p.NewData("x", Float, []int{3, 8, 8})
	w := p.NewState("w", []int{4, 3, 3, 3})
	b := p.NewFunc("train", 2)
	win := Window{Kernel: []int{3, 3}, Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{1, 1}, PadEnd: []int{1, 1}, Group: 1}
	y := b.Unary(Relu, b.Conv(b.Batch(x), w, None, win))
	g := b.Gradient(b.Reduce(Sum, y, false), []TensorID{w})
	b.Output(g[0])
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	for _, op := range b.Func().Ops {
		kinds = append(kinds, op.Kind)
	}
	if slices.Contains(kinds, ConvDX) || !slices.Contains(kinds, ConvDW) {
		t.Errorf("ops %v: the input needs no gradient, the weights do", kinds)
	}
	if !slices.Equal(b.Shape(g[0]), []int{4, 3, 3, 3}) {
		t.Errorf("gradient has shape %v", b.Shape(g[0]))
	}
}

func TestBuilderNamesTheOperation(t *testing.T) {
	p := NewProgram(1)
	b := p.NewFunc("f", 0)
	b.Label("fc1")
	b.MatMul(p.NewState("a", []int{2, 3}), p.NewState("b", []int{4, 5}), None, false, false)
	if err := b.Err(); err == nil || !strings.Contains(err.Error(), `MatMul "fc1"`) || !strings.Contains(err.Error(), "3 against 4") {
		t.Errorf("error %v does not name the operation and the dimensions", err)
	}
}

func TestCheckFindsBadPrograms(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p *Program)
		want  string
	}{
		"read before written": {func(p *Program) { f := p.Funcs[0]; f.Ops[0], f.Ops[1] = f.Ops[1], f.Ops[0] }, "read before it is written"},
		"wrong shape":         {func(p *Program) { p.Tensors[p.Funcs[0].Ops[1].Out[0]].Shape = []int{7} }, "the op gives"},
		"state overwritten":   {func(p *Program) { p.Funcs[0].Ops[1].Out[0] = 0 }, "may not be written"},
		"unwritten output":    {func(p *Program) { p.Funcs[0].Outputs = append(p.Funcs[0].Outputs, p.add(Tensor{})) }, "never written"},
		"data read directly":  {func(p *Program) { p.Funcs[0].Ops[1].In[0] = 1 }, "only Batch reads"},
	} {
		p := NewProgram(4)
		p.NewState("w", []int{2, 3})
		b := p.NewFunc("f", 2)
		b.Output(b.Unary(Exp, b.Batch(p.NewData("x", Float, []int{3}))))
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		c.spoil(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestFlops(t *testing.T) {
	p := NewProgram(8)
	x := p.NewData("x", Float, []int{3, 8, 8})
	w, v := p.NewState("w", []int{4, 3, 3, 3}), p.NewState("v", []int{4 * 6 * 6, 10})
	b := p.NewFunc("f", 2)
	win := Window{Kernel: []int{3, 3}, Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{0, 0}, PadEnd: []int{0, 0}, Group: 1}
	y := b.Conv(b.Batch(x), w, None, win)
	b.MatMul(b.Reshape(y, []int{2, 4 * 6 * 6}), v, None, false, false)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	batch, conv, dense := 2*3*8*8, 2*(2*4*6*6)*(3*3*3), 2*(2*10)*(4*6*6)
	if got, want := p.Flops(b.Func()), float64(batch+conv+dense); got != want {
		t.Errorf("Flops = %v, want %v", got, want)
	}
}

func TestNothingFlowsThroughDetach(t *testing.T) {
	p := NewProgram(1)
	w := p.NewState("w", []int{3})
	b := p.NewFunc("f", 0)
	if g := b.Gradient(b.Detach(b.Unary(Exp, w)), []TensorID{w}); g[0] != None {
		t.Errorf("gradient %d through Detach", g[0])
	}
	g := b.Gradient(b.Mul(w, b.Detach(w)), []TensorID{w})
	if g[0] == None || b.Err() != nil {
		t.Errorf("no gradient beside Detach: %v", b.Err())
	}
}

func TestDeviceModel(t *testing.T) {
	for name, want := range map[string]string{
		"cuda:0 (X 100, 9.0, driver 12.4: new)":   "cuda (X 100, 9.0, driver 12.4: new)",
		"cuda:0,2 (X 100, 9.0, driver 12.4: new)": "cuda (X 100, 9.0, driver 12.4: new)",
		"cpu (oneDNN 2.6.3, 2 threads, avx512)":   "cpu (oneDNN 2.6.3, 2 threads, avx512)",
		"reference":                               "reference",
	} {
		if got := DeviceModel(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
