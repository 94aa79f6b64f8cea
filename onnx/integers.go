package onnx

import (
	"math"
	"math/bits"
	"slices"
)

// maxFolded is how many elements a tensor may have to be followed through shape computations: far more than any
// shape has dimensions.
const maxFolded = 1024

// maxFoldedTotal bounds the integers kept for a whole model (32 bytes each); what comes later is unknown.
const maxFoldedTotal = 1 << 22

// integer is one element of a tensor of integers: a number, a symbolic dimension, or unknown.
type integer struct {
	n     int64
	known bool
	sym   string // a dimension's name; such an element is not negative
}

// integers are the contents of a small integer or bool tensor of rank 0 or 1.
type integers struct {
	v      []integer
	scalar bool
}

func number(n int64) integer { return integer{n: n, known: true} }

func (d Dim) integer() integer {
	if d.Known() {
		return number(d.Value)
	}
	return integer{sym: d.Param}
}

// dim returns the element as a dimension; a negative number makes an unknown one.
func (x integer) dim() Dim {
	if x.known {
		return NewDim(x.n)
	}
	return SymbolicDim(x.sym)
}

// numbers returns the elements where all of them are numbers.
func (v integers) numbers() ([]int64, bool) {
	out := make([]int64, len(v.v))
	for i, x := range v.v {
		if !x.known {
			return nil, false
		}
		out[i] = x.n
	}
	return out, true
}

func integersOf(t *Tensor) (integers, bool) {
	if t == nil || len(t.Dims) > 1 || t.Type != Int64 && t.Type != Int32 && t.Type != Bool {
		return integers{}, false
	}
	n, err := t.NumElements()
	if err != nil || n > maxFolded {
		return integers{}, false
	}
	data, err := t.Int64s()
	if err != nil {
		return integers{}, false
	}
	out := integers{scalar: len(t.Dims) == 0}
	for _, x := range data {
		out.v = append(out.v, number(x))
	}
	return out, true
}

// fold computes the contents of the node's first output where its inputs' are known and it is a small tensor of
// integers. Operators that are not here just have unknown contents.
func (c *inference) fold() {
	if len(c.outs) == 0 || c.outs[0].Kind != KindTensor {
		return
	}
	t := c.outs[0]
	if !t.HasShape || len(t.Shape) > 1 || t.Elem != Int64 && t.Elem != Int32 && t.Elem != Bool {
		return
	}
	n := int64(1)
	if len(t.Shape) == 1 {
		n = t.Shape[0].Value
	}
	if n < 0 || n > maxFolded || c.folded > maxFoldedTotal {
		return
	}
	c.folded += int(n)
	if v, ok := c.contents(n); ok && int64(len(v)) == n {
		c.outVals[0] = integers{v: v, scalar: len(t.Shape) == 0}
	}
}

func (c *inference) contents(n int64) ([]integer, bool) {
	a, okA := c.env.value(c.node.Input(0))
	switch c.node.OpType {
	case "Shape":
		return c.foldShape()
	case "Size":
		shape, ok := c.shape(0)
		if !ok {
			return nil, false
		}
		return []integer{productOf(shape).integer()}, true
	case "Constant":
		return c.foldConstant()
	case "ConstantOfShape":
		v := number(0)
		if t := c.node.Tensor("value"); t != nil {
			w, ok := integersOf(t)
			if !ok || len(w.v) != 1 {
				return nil, false
			}
			v = w.v[0]
		}
		return slices.Repeat([]integer{v}, int(n)), true
	case "Range":
		return c.foldRange(n)
	case "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten":
		from := c.in(0).Elem // a cast from floats has no known contents; one to bool changes them
		return a.v, okA && (from == c.outs[0].Elem || from != Bool && c.outs[0].Elem != Bool)
	case "Neg", "Not", "Abs":
		return fold1(c.node.OpType, a), okA
	case "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal", "And", "Or", "Less", "Greater":
		b, okB := c.env.value(c.node.Input(1))
		if !okA || !okB || len(c.node.Inputs) != 2 {
			return nil, false
		}
		return fold2(c.node.OpType, a, b, n)
	case "Where":
		return c.foldWhere(a, okA, n)
	case "Concat":
		return c.foldConcat()
	case "Gather":
		return c.foldGather(a, okA)
	case "Slice":
		return c.foldSlice(a, okA)
	}
	return nil, false
}

func (c *inference) foldShape() ([]integer, bool) {
	shape, ok := c.shape(0)
	if !ok {
		return nil, false
	}
	start, end := shapeRange(c.node, len(shape))
	var v []integer
	for _, d := range shape[start:end] {
		v = append(v, d.integer())
	}
	return v, true
}

// shapeRange returns the part of the shape that Shape's start and end ask for, clamped as the operator does.
func shapeRange(n *Node, rank int) (start, end int) {
	clamp := func(v int64) int {
		if v < 0 {
			v += int64(rank)
		}
		return int(min(max(v, 0), int64(rank)))
	}
	start, end = clamp(n.Int("start", 0)), clamp(n.Int("end", int64(rank)))
	return start, max(start, end)
}

func (c *inference) foldConstant() ([]integer, bool) {
	if t := c.node.Tensor("value"); t != nil {
		v, ok := integersOf(t)
		return v.v, ok
	}
	if a := c.node.attr("value_int", AttrInt); a != nil {
		return []integer{number(a.Int)}, true
	}
	if list, ok := c.node.Ints("value_ints"); ok {
		var v []integer
		for _, x := range list {
			v = append(v, number(x))
		}
		return v, true
	}
	return nil, false
}

func (c *inference) foldRange(n int64) ([]integer, bool) {
	start, ok := c.scalarInput(0)
	step, ok2 := c.scalarInput(2)
	if !ok || !ok2 {
		return nil, false
	}
	v := make([]integer, n)
	for i := range v {
		v[i] = number(start + int64(i)*step)
	}
	return v, true
}

// scalarInput returns the number that input i holds, where it is known.
func (c *inference) scalarInput(i int) (int64, bool) {
	v, ok := c.env.value(c.node.Input(i))
	if !ok || len(v.v) != 1 || !v.v[0].known {
		return 0, false
	}
	return v.v[0].n, true
}

func (c *inference) foldWhere(cond integers, ok bool, n int64) ([]integer, bool) {
	x, okX := c.env.value(c.node.Input(1))
	y, okY := c.env.value(c.node.Input(2))
	if !ok || !okX || !okY {
		return nil, false
	}
	v := make([]integer, n)
	for i := range v {
		p, q, r := at(cond, i), at(x, i), at(y, i)
		switch {
		case !p.known:
			if q == r {
				v[i] = q
			}
		case p.n != 0:
			v[i] = q
		default:
			v[i] = r
		}
	}
	return v, true
}

func (c *inference) foldConcat() ([]integer, bool) {
	var v []integer
	for _, name := range c.node.Inputs {
		x, ok := c.env.value(name)
		if !ok {
			return nil, false
		}
		v = append(v, x.v...)
		if len(v) > maxFolded {
			return nil, false
		}
	}
	return v, true
}

func (c *inference) foldGather(a integers, ok bool) ([]integer, bool) {
	idx, okI := c.env.value(c.node.Input(1))
	if !ok || !okI || a.scalar {
		return nil, false
	}
	var v []integer
	for _, i := range idx.v {
		k := i.n
		if k < 0 {
			k += int64(len(a.v))
		}
		if !i.known || k < 0 || k >= int64(len(a.v)) {
			return nil, false
		}
		v = append(v, a.v[k])
	}
	return v, true
}

func (c *inference) foldSlice(a integers, ok bool) ([]integer, bool) {
	if !ok || a.scalar {
		return nil, false
	}
	starts, _, ok1 := c.intsFrom("starts", 1)
	ends, _, ok2 := c.intsFrom("ends", 2)
	steps, given, ok3 := c.intsFrom("steps", 4)
	if !ok1 || !ok2 || !ok3 || len(starts) != 1 || len(ends) != 1 || given && len(steps) != 1 {
		return nil, false
	}
	step := int64(1)
	if given {
		step = steps[0]
	}
	from, count := sliceRange(int64(len(a.v)), starts[0], ends[0], step)
	v := make([]integer, count)
	for i := range v {
		v[i] = a.v[from+int64(i)*step]
	}
	return v, true
}

// at returns element i of v broadcast along its only axis.
func at(v integers, i int) integer {
	if len(v.v) == 1 {
		return v.v[0]
	}
	if i < len(v.v) {
		return v.v[i]
	}
	return integer{}
}

func fold1(op string, a integers) []integer {
	out := make([]integer, len(a.v))
	for i, x := range a.v {
		switch {
		case op == "Abs" && (!x.known || x.n >= 0):
			out[i] = x
		case !x.known || x.n == math.MinInt64:
		case op == "Not":
			out[i] = number(1 - x.n)
		default: // Neg, and Abs of a negative number
			out[i] = number(-x.n)
		}
	}
	return out
}

func fold2(op string, a, b integers, n int64) ([]integer, bool) {
	out := make([]integer, n)
	for i := range out {
		out[i] = fold2one(op, at(a, i), at(b, i))
	}
	return out, true
}

func truth(b bool) integer {
	if b {
		return number(1)
	}
	return number(0)
}

// fold2one computes one element; an overflow, a division by zero or an unknown operand gives an unknown result.
func fold2one(op string, x, y integer) integer {
	if !x.known || !y.known {
		named := func(s integer) bool { return !s.known && s.sym != "" }
		is := func(v integer, n int64) bool { return v.known && v.n == n }
		switch {
		case (op == "Add" || op == "Sub") && is(y, 0), (op == "Mul" || op == "Div") && is(y, 1):
			return x
		case op == "Add" && is(x, 0), op == "Mul" && is(x, 1):
			return y
		case op == "Equal" && named(x) && y.known && y.n < 0, op == "Equal" && named(y) && x.known && x.n < 0:
			return number(0) // a dimension is never negative
		case op == "Equal" && named(x) && x == y:
			return number(1)
		}
		return integer{}
	}
	switch op {
	case "Add":
		if s := x.n + y.n; (s > x.n) == (y.n > 0) {
			return number(s)
		}
	case "Sub":
		if s := x.n - y.n; (s < x.n) == (y.n > 0) {
			return number(s)
		}
	case "Mul":
		hi, lo := bits.Mul64(uint64(max(x.n, -x.n)), uint64(max(y.n, -y.n)))
		if hi == 0 && lo <= math.MaxInt64 && x.n != math.MinInt64 && y.n != math.MinInt64 {
			return number(x.n * y.n)
		}
	case "Div": // ONNX truncates, as Go does
		if y.n != 0 && x.n != math.MinInt64 {
			return number(x.n / y.n)
		}
	case "Mod": // of non-negative numbers only, where Python's and C's agree
		if y.n > 0 && x.n >= 0 {
			return number(x.n % y.n)
		}
	case "Min":
		return number(min(x.n, y.n))
	case "Max":
		return number(max(x.n, y.n))
	case "Equal":
		return truth(x.n == y.n)
	case "Less":
		return truth(x.n < y.n)
	case "Greater":
		return truth(x.n > y.n)
	case "And":
		return truth(x.n != 0 && y.n != 0)
	case "Or":
		return truth(x.n != 0 || y.n != 0)
	}
	return integer{}
}

// product is a product of dimensions: a number times symbols; !ok where a factor is unknown or it overflows.
type product struct {
	n    int64
	syms []string
	ok   bool
}

func productOf(shape []Dim) product {
	p := product{n: 1, ok: true}
	for _, d := range shape {
		switch {
		case d.Known():
			hi, lo := bits.Mul64(uint64(p.n), uint64(d.Value))
			if hi != 0 || lo > math.MaxInt64 {
				return product{}
			}
			p.n = int64(lo)
		case d.Param != "":
			p.syms = append(p.syms, d.Param)
		default:
			p.ok = false
		}
	}
	return p
}

// integer returns the product as one number or one symbol, or an unknown one.
func (p product) integer() integer {
	switch {
	case p.ok && (len(p.syms) == 0 || p.n == 0):
		return number(p.n)
	case p.ok && len(p.syms) == 1 && p.n == 1:
		return integer{sym: p.syms[0]}
	}
	return integer{}
}

// number reports whether the product is a plain number.
func (p product) number() (int64, bool) { return p.n, p.ok && len(p.syms) == 0 }

// without cancels the symbols that both products have; false where q has one that p lacks.
func (p product) without(q product) (product, product, bool) {
	if !p.ok || !q.ok {
		return p, q, false
	}
	rest := slices.Clone(p.syms)
	for _, s := range q.syms {
		i := slices.Index(rest, s)
		if i < 0 {
			return p, q, false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return product{p.n, rest, true}, product{q.n, nil, true}, true
}
