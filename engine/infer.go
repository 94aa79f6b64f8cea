package engine

import (
	"fmt"
	"slices"
)

// infer returns the shapes and types of an op's outputs, or says what is wrong with the op. It is the only place that knows them.
func (p *Program) infer(f *Func, op *Op) ([][]int, []DType, error) {
	in := make([][]int, len(op.In))
	for i, id := range op.In {
		if id != None {
			in[i] = p.Tensors[id].Shape
		}
	}
	if err := p.checkInputs(op); err != nil {
		return nil, nil, err
	}
	one := func(shape []int, err error) ([][]int, []DType, error) {
		return [][]int{shape}, []DType{Float}, err
	}
	switch op.Kind {
	case Batch:
		if p.Tensors[op.In[0]].Role != Data {
			return nil, nil, fmt.Errorf("reads a %v tensor, wants data", p.Tensors[op.In[0]].Role)
		}
		return [][]int{append([]int{f.Batch}, in[0][1:]...)}, []DType{p.Tensors[op.In[0]].Type}, nil
	case Unary:
		if !op.Fn.Unary() {
			return nil, nil, fmt.Errorf("%s is not a unary function", op.Fn)
		}
		return one(in[0], nil)
	case UnaryGrad, SoftmaxGrad, LogSoftmaxGrad, Lerp:
		if !slices.Equal(in[0], in[1]) {
			return nil, nil, fmt.Errorf("shapes %v and %v differ", in[0], in[1])
		}
		if op.Kind == UnaryGrad && !(op.Fn.Unary() && op.Fn.Differentiable()) {
			return nil, nil, fmt.Errorf("%s has no unary gradient", op.Fn)
		}
		if op.Kind == Lerp && (len(op.Out) != 1 || op.In[0] != op.Out[0]) {
			return nil, nil, fmt.Errorf("writes another tensor than it reads")
		}
		return one(in[1], nil)
	case Softmax, LogSoftmax, Dropout:
		return one(in[0], nil)
	case Binary:
		if !op.Fn.Binary() {
			return nil, nil, fmt.Errorf("%s is not a binary function", op.Fn)
		}
		return one(BroadcastShapes(in[0], in[1]))
	case Where:
		s, err := BroadcastShapes(in[0], in[1])
		if err == nil {
			s, err = BroadcastShapes(s, in[2])
		}
		return one(s, err)
	case Broadcast:
		s, err := BroadcastShapes(in[0], op.Shape)
		if err == nil && !slices.Equal(s, op.Shape) {
			err = fmt.Errorf("cannot broadcast %v to %v", in[0], op.Shape)
		}
		return one(s, err)
	case Reduce:
		return one(reduceShape(in[0], op))
	case MatMul:
		return one(matMulShape(in, op))
	case Conv:
		return one(convShape(in, op))
	case ConvDX, ConvDW:
		return convGradShapes(in, op)
	case MaxPool, AvgPool:
		s, err := WindowShape(in[0], op.Window)
		return one(append(slices.Clone(in[0][:min(2, len(in[0]))]), s...), err)
	case MaxPoolGrad, AvgPoolGrad:
		return one(poolGradShape(in, op))
	case BatchNorm, BatchNormGrad, BatchNormInfer:
		return batchNormShapes(in, op)
	case Recurrent:
		return recurrentShapes(in, op)
	case RecurrentGrad:
		return recurrentGradShapes(in, op)
	case Update:
		return p.updateShapes(in, op)
	case Moments:
		return one([]int{MomentsLen}, nil)
	}
	return p.inferMove(in, op)
}

// inferMove is infer for the operations that move elements or change their type.
func (p *Program) inferMove(in [][]int, op *Op) ([][]int, []DType, error) {
	t := p.Tensors[op.In[0]].Type
	one := func(shape []int, t DType, err error) ([][]int, []DType, error) {
		return [][]int{shape}, []DType{t}, err
	}
	switch op.Kind {
	case Transpose:
		if len(op.Axes) != len(in[0]) {
			return nil, nil, fmt.Errorf("%v is no permutation of the axes of %v", op.Axes, in[0])
		}
		s := make([]int, len(op.Axes))
		seen := make([]bool, len(in[0]))
		for i, a := range op.Axes {
			if a < 0 || a >= len(in[0]) || seen[a] {
				return nil, nil, fmt.Errorf("%v is no permutation of the axes of %v", op.Axes, in[0])
			}
			seen[a], s[i] = true, in[0][a]
		}
		return one(s, t, nil)
	case Reshape:
		if Len(in[0]) != Len(op.Shape) {
			return nil, nil, fmt.Errorf("cannot reshape %v to %v", in[0], op.Shape)
		}
		return one(op.Shape, t, nil)
	case Concat:
		for _, id := range op.In {
			if p.Tensors[id].Type != t {
				return nil, nil, fmt.Errorf("joins %v and %v", t, p.Tensors[id].Type)
			}
		}
		return one(concatShape(in, op), t, concatCheck(in, op))
	case Slice:
		return one(op.Shape, t, checkPlaced(in[0], op.Shape, op))
	case Pad:
		return one(op.Shape, t, checkPlaced(op.Shape, in[0], op))
	case Gather:
		a := op.Axes[0]
		return one(slices.Concat(in[0][:a], in[1], in[0][a+1:]), t, nil)
	case GatherGrad:
		if len(op.Axes) != 1 || op.Axes[0] < 0 || op.Axes[0] >= len(op.Shape) {
			return nil, nil, fmt.Errorf("axes %v of shape %v, wants one", op.Axes, op.Shape)
		}
		a := op.Axes[0]
		if y := slices.Concat(op.Shape[:a], in[1], op.Shape[a+1:]); !slices.Equal(y, in[0]) {
			return nil, nil, fmt.Errorf("dy has shape %v, wants %v", in[0], y)
		}
		return one(op.Shape, Float, nil)
	case Cast:
		return one(in[0], op.Type, nil)
	case OneHot:
		n := len(op.Shape) - 1
		if n != len(in[0]) || !slices.Equal(op.Shape[:n], in[0]) {
			return nil, nil, fmt.Errorf("shape %v does not extend %v by one axis", op.Shape, in[0])
		}
		return one(op.Shape, Float, nil)
	case ArgMax:
		s := slices.Clone(in[0])
		s[op.Axes[0]] = 1
		return one(s, Int, nil)
	}
	return nil, nil, fmt.Errorf("unknown kind %d", op.Kind)
}

// arity is the least and the largest number of inputs of a kind.
var arity = [numKinds][2]int{Batch: {1, 1}, Unary: {1, 1}, UnaryGrad: {2, 2}, Binary: {2, 2}, Where: {3, 3}, Broadcast: {1, 1}, Reduce: {1, 1},
	MatMul: {2, 3}, Conv: {2, 3}, ConvDX: {2, 2}, ConvDW: {2, 2}, MaxPool: {1, 1}, MaxPoolGrad: {3, 3}, AvgPool: {1, 1}, AvgPoolGrad: {1, 1},
	BatchNorm: {3, 3}, BatchNormGrad: {5, 5}, BatchNormInfer: {5, 5}, Softmax: {1, 1}, SoftmaxGrad: {2, 2}, LogSoftmax: {1, 1},
	LogSoftmaxGrad: {2, 2}, Dropout: {1, 1}, Transpose: {1, 1}, Reshape: {1, 1}, Concat: {1, 1 << 20}, Slice: {1, 1}, Pad: {1, 1}, Gather: {2, 2},
	GatherGrad: {2, 2}, Cast: {1, 1}, OneHot: {1, 1}, ArgMax: {1, 1}, Recurrent: {7, 7},
	RecurrentGrad: {12, 12}, Lerp: {2, 2}, Update: {3, 6}, Moments: {1, 1}}

func (p *Program) checkInputs(op *Op) error {
	if op.Kind >= numKinds {
		return fmt.Errorf("is not known")
	}
	if n := arity[op.Kind]; len(op.In) < n[0] || len(op.In) > n[1] {
		return fmt.Errorf("%d inputs, wants %d to %d", len(op.In), n[0], n[1])
	}
	for i, id := range op.In {
		if id == None {
			if !optional(op, i) {
				return fmt.Errorf("input %d is absent", i)
			}
			continue
		}
		t := p.Tensors[id].Type
		wantInt := op.Kind == OneHot || i == 1 && (op.Kind == Gather || op.Kind == GatherGrad)
		either := op.Kind == Batch || op.Kind == Reshape || op.Kind == Transpose || op.Kind == Concat || op.Kind == Slice || op.Kind == Pad ||
			op.Kind == Cast || op.Kind == Gather && i == 0
		if !either && (t == Int) != wantInt {
			return fmt.Errorf("input %d is %v", i, t)
		}
	}
	switch op.Kind {
	case Softmax, LogSoftmax, SoftmaxGrad, LogSoftmaxGrad, Gather, ArgMax, Concat, Reduce:
		n := len(p.Tensors[op.In[0]].Shape)
		for _, a := range op.Axes {
			if a < 0 || a >= n {
				return fmt.Errorf("axis %d of a tensor of %d dimensions", a, n)
			}
		}
		if len(op.Axes) != 1 && op.Kind != Reduce {
			return fmt.Errorf("%d axes, wants 1", len(op.Axes))
		}
	case Conv, ConvDX, ConvDW, MaxPool, MaxPoolGrad, AvgPool, AvgPoolGrad:
		if op.Window == nil {
			return fmt.Errorf("no window")
		}
	case Update:
		if op.Rule == nil {
			return fmt.Errorf("no rule")
		}
		if op.Rule.Kind >= numRules {
			return fmt.Errorf("rule %s is not known", op.Rule.Kind)
		}
	case Recurrent, RecurrentGrad:
		return checkCell(op)
	}
	return nil
}

// optional says that input i may be absent: the bias of a product, and what cells need not have (checkCell says which).
func optional(op *Op, i int) bool {
	return i >= 2 && (op.Kind == MatMul || op.Kind == Conv || op.Kind == Recurrent) || op.Kind == RecurrentGrad
}

// BroadcastShapes is numpy's rule: shapes are aligned at the end, and a dimension of size 1 stretches.
func BroadcastShapes(a, b []int) ([]int, error) {
	n := max(len(a), len(b))
	s := make([]int, n)
	for i := range n {
		da, db := 1, 1
		if j := i - (n - len(a)); j >= 0 {
			da = a[j]
		}
		if j := i - (n - len(b)); j >= 0 {
			db = b[j]
		}
		switch {
		case da == db || db == 1:
			s[i] = da
		case da == 1:
			s[i] = db
		default:
			return nil, fmt.Errorf("cannot broadcast %v with %v: %d against %d", a, b, da, db)
		}
	}
	return s, nil
}

func reduceShape(in []int, op *Op) ([]int, error) {
	if !op.Fn.Reduces() {
		return nil, fmt.Errorf("%s is not a reduction", op.Fn)
	}
	s := slices.Clone(in)
	for _, a := range op.Axes {
		s[a] = 1
	}
	return s, nil
}

func matMulShape(in [][]int, op *Op) ([]int, error) {
	a, b := in[0], in[1]
	if len(a) < 2 || len(b) < 2 {
		return nil, fmt.Errorf("wants matrices, got %v and %v", a, b)
	}
	m, k := a[len(a)-2], a[len(a)-1]
	if op.TransA {
		m, k = k, m
	}
	k2, n := b[len(b)-2], b[len(b)-1]
	if op.TransB {
		k2, n = n, k2
	}
	if k != k2 {
		return nil, fmt.Errorf("inner dimensions of %v and %v differ: %d against %d", a, b, k, k2)
	}
	if len(in) > 2 && in[2] != nil && !slices.Equal(in[2], []int{n}) {
		return nil, fmt.Errorf("bias has shape %v, wants [%d]", in[2], n)
	}
	s, err := BroadcastShapes(a[:len(a)-2], b[:len(b)-2])
	return append(s, m, n), err
}

// WindowShape is the spatial shape that a window leaves of x (N, C, spatial…): floor or ceil of (in+pads-extent)/stride + 1.
func WindowShape(x []int, w *Window) ([]int, error) {
	n := len(x) - 2
	if n < 1 || len(w.Kernel) != n || len(w.Strides) != n || len(w.Dilations) != n || len(w.PadBegin) != n || len(w.PadEnd) != n {
		return nil, fmt.Errorf("window of %d dimensions over %v", len(w.Kernel), x)
	}
	s := make([]int, n)
	for i := range n {
		if w.Kernel[i] < 1 || w.Strides[i] < 1 || w.Dilations[i] < 1 || w.PadBegin[i] < 0 || w.PadEnd[i] < 0 {
			return nil, fmt.Errorf("window %+v: kernel, strides and dilations must be positive, pads not negative", *w)
		}
		free := x[2+i] + w.PadBegin[i] + w.PadEnd[i] - (w.Dilations[i]*(w.Kernel[i]-1) + 1)
		if free < 0 {
			return nil, fmt.Errorf("kernel %v does not fit into %v", w.Kernel, x)
		}
		s[i] = free/w.Strides[i] + 1
		if w.Ceil && free%w.Strides[i] != 0 && s[i]*w.Strides[i] < x[2+i]+w.PadBegin[i] {
			s[i]++
		}
	}
	return s, nil
}

func convShape(in [][]int, op *Op) ([]int, error) {
	x, w := in[0], in[1]
	g := op.Window.Group
	if len(x) < 3 || len(w) != len(x) || g < 1 || x[1] != w[1]*g || w[0]%g != 0 || !slices.Equal(w[2:], op.Window.Kernel) {
		return nil, fmt.Errorf("weights %v do not fit the input %v in %d groups", w, x, g)
	}
	if len(in) > 2 && in[2] != nil && !slices.Equal(in[2], w[:1]) {
		return nil, fmt.Errorf("bias has shape %v, wants [%d]", in[2], w[0])
	}
	s, err := WindowShape(x, op.Window)
	return append([]int{x[0], w[0]}, s...), err
}

// convGradShapes checks that the convolution whose gradient op is gives the shape of its dy.
func convGradShapes(in [][]int, op *Op) ([][]int, []DType, error) {
	x, w := op.Shape, in[1]
	if op.Kind == ConvDW {
		x, w = in[1], op.Shape
	}
	y, err := convShape([][]int{x, w}, op)
	if err == nil && !slices.Equal(y, in[0]) {
		err = fmt.Errorf("dy has shape %v, wants %v", in[0], y)
	}
	if err != nil {
		return nil, nil, err
	}
	if op.Kind == ConvDW && len(op.Out) == 2 {
		return [][]int{w, {w[0]}}, []DType{Float, Float}, nil
	}
	return [][]int{op.Shape}, []DType{Float}, nil
}

// poolGradShape checks that the pool whose gradient op is gives the shape of its dy.
func poolGradShape(in [][]int, op *Op) ([]int, error) {
	x := op.Shape
	if op.Kind == MaxPoolGrad {
		x = in[1]
	}
	s, err := WindowShape(x, op.Window)
	if err != nil {
		return nil, err
	}
	y := append(slices.Clone(x[:2]), s...)
	for i, have := range in {
		if !(op.Kind == MaxPoolGrad && i == 1) && !slices.Equal(have, y) {
			return nil, fmt.Errorf("input %d has shape %v, wants %v", i, have, y)
		}
	}
	return x, nil
}

func batchNormShapes(in [][]int, op *Op) ([][]int, []DType, error) {
	x, params := in[0], in[1:]
	if op.Kind == BatchNormGrad {
		x, params = in[1], in[2:]
		if !slices.Equal(in[0], x) {
			return nil, nil, fmt.Errorf("dy has shape %v, x %v", in[0], x)
		}
	}
	if len(x) < 2 {
		return nil, nil, fmt.Errorf("wants at least 2 dimensions, got %v", x)
	}
	c := []int{x[1]}
	for _, s := range params {
		if !slices.Equal(s, c) {
			return nil, nil, fmt.Errorf("parameter of shape %v for %d channels", s, x[1])
		}
	}
	if op.Kind == BatchNormInfer {
		return [][]int{x}, []DType{Float}, nil
	}
	return [][]int{x, c, c}, []DType{Float, Float, Float}, nil
}

func (p *Program) updateShapes(in [][]int, op *Op) ([][]int, []DType, error) {
	n := 1 + op.Rule.Slots()
	if len(op.In) != n+2 || len(op.Out) != n {
		return nil, nil, fmt.Errorf("%d inputs and %d outputs for %d slots", len(op.In), len(op.Out), n-1)
	}
	if !slices.Equal(in[2], []int{RuleCoefs}) {
		return nil, nil, fmt.Errorf("coefficients have shape %v, want [%d]", in[2], RuleCoefs)
	}
	shapes, types := make([][]int, n), make([]DType, n)
	for i := range n {
		j := i
		if i > 0 {
			j = i + 2
		}
		if op.Out[i] != op.In[j] {
			return nil, nil, fmt.Errorf("output %d is not input %d", i, j)
		}
		if !slices.Equal(in[j], in[1]) {
			return nil, nil, fmt.Errorf("input %d has shape %v, the gradient %v", j, in[j], in[1])
		}
		shapes[i] = in[0]
	}
	return shapes, types, nil
}

func concatShape(in [][]int, op *Op) []int {
	s := slices.Clone(in[0])
	for _, x := range in[1:] {
		if op.Axes[0] < len(x) {
			s[op.Axes[0]] += x[op.Axes[0]]
		}
	}
	return s
}

func concatCheck(in [][]int, op *Op) error {
	for _, x := range in[1:] {
		same := len(x) == len(in[0])
		for i := 0; same && i < len(x); i++ {
			same = i == op.Axes[0] || x[i] == in[0][i]
		}
		if !same {
			return fmt.Errorf("cannot join %v and %v along axis %d", in[0], x, op.Axes[0])
		}
	}
	return nil
}

// checkPlaced says whether small, placed by Starts and Steps, lies inside big.
func checkPlaced(big, small []int, op *Op) error {
	n := len(big)
	if len(small) != n || len(op.Starts) != n || len(op.Steps) != n {
		return fmt.Errorf("%v in %v with starts %v, steps %v: dimensions differ", small, big, op.Starts, op.Steps)
	}
	for i := range n {
		if small[i] == 0 {
			continue
		}
		last := op.Starts[i] + (small[i]-1)*op.Steps[i]
		if op.Steps[i] == 0 || op.Starts[i] < 0 || op.Starts[i] >= big[i] || last < 0 || last >= big[i] {
			return fmt.Errorf("%v in %v with starts %v, steps %v: outside in axis %d", small, big, op.Starts, op.Steps, i)
		}
	}
	return nil
}
