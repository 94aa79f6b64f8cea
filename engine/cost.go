package engine

// Flops is the number of floating-point operations of one step of a function: two for every multiply-add of MatMul, convolutions and recurrent layers, one
// for every element that any other op reads or writes, whichever is more. It is a declared measure, the same on every device and machine,
// so that a budget counted in it replays exactly.
func (p *Program) Flops(f *Func) float64 {
	total := 0.0
	for i := range f.Ops {
		total += p.opFlops(&f.Ops[i])
	}
	return total
}

func (p *Program) opFlops(op *Op) float64 {
	size := func(id TensorID) float64 {
		if id == None {
			return 0
		}
		return float64(p.Tensors[id].Len())
	}
	switch op.Kind {
	case Reshape:
		return 0
	case MatMul:
		a := p.Tensors[op.In[0]].Shape
		k := a[len(a)-1]
		if op.TransA {
			k = a[len(a)-2]
		}
		return 2 * size(op.Out[0]) * float64(k)
	case Conv, ConvDX, ConvDW:
		y, w := op.Out[0], op.In[1] // Conv
		switch op.Kind {
		case ConvDX:
			y = op.In[0]
		case ConvDW:
			y, w = op.In[0], op.Out[0]
		}
		return 2 * size(y) * size(w) / float64(p.Tensors[w].Shape[0])
	case Recurrent, RecurrentGrad: // h·R of every step, and its two gradients
		r := op.Recurrence()
		y := r.X
		products := 2.0
		if op.Kind == RecurrentGrad {
			y, products = r.DX, 4
		}
		return products * size(y) * float64(p.Tensors[r.R].Shape[1])
	}
	in, out := 0.0, 0.0
	for _, id := range op.In {
		if op.Kind != Batch && op.Kind != Gather && op.Kind != Slice {
			in = max(in, size(id))
		}
	}
	for _, id := range op.Out {
		out = max(out, size(id))
	}
	return max(in, out)
}

// MatrixFlops is the part of Flops that matrix products, convolutions and recurrent layers make: what a share of a processor's matrix rate is taken of.
func (p *Program) MatrixFlops(f *Func) float64 {
	total := 0.0
	for i := range f.Ops {
		switch f.Ops[i].Kind {
		case MatMul, Conv, ConvDX, ConvDW, Recurrent, RecurrentGrad:
			total += p.opFlops(&f.Ops[i])
		}
	}
	return total
}
