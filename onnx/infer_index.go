package onnx

import (
	"fmt"
	"math"
)

func init() {
	inferRules["Shape"] = (*inference).shapeOp
	inferRules["Size"] = func(c *inference) error { c.out(0, Int64, []Dim{}); return nil }
	inferRules["Constant"] = (*inference).constantOp
	inferRules["ConstantOfShape"] = (*inference).constantOfShape
	inferRules["Range"] = (*inference).rangeOp
	inferRules["Gather"] = (*inference).gather
	inferRules["GatherElements"] = (*inference).gatherElements
	inferRules["GatherND"] = (*inference).gatherND
	inferRules["OneHot"] = (*inference).oneHot
	inferRules["NonZero"] = (*inference).nonZero
	inferRules["EyeLike"] = (*inference).fromLike
	inferRules["RandomNormalLike"] = (*inference).fromLike
	inferRules["RandomUniformLike"] = (*inference).fromLike
	inferRules["Bernoulli"] = (*inference).fromLike
	inferRules["RandomNormal"] = (*inference).random
	inferRules["RandomUniform"] = (*inference).random
	inferRules["If"] = (*inference).ifOp
}

func (c *inference) shapeOp() error {
	shape, ok := c.shape(0)
	if !ok {
		c.outRanked(0, Int64, 1)
		return nil
	}
	start, end := shapeRange(c.node, len(shape))
	c.out(0, Int64, []Dim{NewDim(int64(end - start))})
	return nil
}

func (c *inference) constantOp() error {
	for _, a := range c.node.Attrs {
		switch {
		case a.Name == "value" && a.Tensor != nil:
			if _, err := a.Tensor.NumElements(); err != nil {
				return err
			}
			c.out(0, a.Tensor.Type, dimsOf(a.Tensor.Dims))
		case a.Name == "sparse_value" && a.Sparse != nil && a.Sparse.Values != nil:
			c.out(0, a.Sparse.Values.Type, dimsOf(a.Sparse.Dims))
		case a.Name == "value_int":
			c.out(0, Int64, []Dim{})
		case a.Name == "value_ints":
			c.out(0, Int64, []Dim{NewDim(int64(len(a.Ints)))})
		case a.Name == "value_float":
			c.out(0, Float32, []Dim{})
		case a.Name == "value_floats":
			c.out(0, Float32, []Dim{NewDim(int64(len(a.Floats)))})
		case a.Name == "value_string":
			c.out(0, StringType, []Dim{})
		case a.Name == "value_strings":
			c.out(0, StringType, []Dim{NewDim(int64(len(a.Strings)))})
		}
	}
	return nil
}

func (c *inference) constantOfShape() error {
	elem := Float32
	if t := c.node.Tensor("value"); t != nil {
		elem = t.Type
	}
	v, ok := c.env.value(c.node.Input(0))
	if !ok {
		if n, ok := c.lengthOf(0); ok {
			c.outRanked(0, elem, int(n))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	shape := make([]Dim, len(v.v))
	for i, d := range v.v {
		if d.known && d.n < 0 {
			return fmt.Errorf("shape %s has a negative number", integersString(v.v))
		}
		shape[i] = d.dim()
	}
	c.out(0, elem, shape)
	return nil
}

// rangeOp: ceil((limit-start)/delta) elements.
func (c *inference) rangeOp() error {
	if err := c.sameElem(0, 1, 2); err != nil {
		return err
	}
	length := NewDim(-1)
	start, ok1 := c.scalarInput(0)
	limit, ok2 := c.scalarInput(1)
	delta, ok3 := c.scalarInput(2)
	if ok3 && delta == 0 {
		return fmt.Errorf("delta is 0")
	}
	if ok1 && ok2 && ok3 {
		if n := math.Ceil((float64(limit) - float64(start)) / float64(delta)); n < 1<<53 {
			length = NewDim(int64(max(n, 0)))
		}
	}
	c.out(0, c.in(0).Elem, []Dim{length})
	return nil
}

func (c *inference) gather() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	idx, okI := c.shape(1)
	if !okX || !okI {
		c.outUnshaped(0, elem)
		return nil
	}
	axis, err := axisOf(c.node.Int("axis", 0), len(x))
	if err != nil {
		return err
	}
	if v, ok := c.env.value(c.node.Input(1)); ok && x[axis].Known() {
		for _, i := range v.v {
			if i.known && (i.n < -x[axis].Value || i.n >= x[axis].Value) {
				return fmt.Errorf("index %d is outside axis %d of %s", i.n, axis, shapeString(x))
			}
		}
	}
	out := append([]Dim{}, x[:axis]...)
	out = append(append(out, idx...), x[axis+1:]...)
	c.out(0, elem, out)
	return nil
}

func (c *inference) gatherElements() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	idx, okI := c.shape(1)
	switch {
	case !okI:
		c.outUnshaped(0, elem)
	case okX && len(x) != len(idx):
		return fmt.Errorf("data has shape %s, indices %s; they need the same rank", shapeString(x), shapeString(idx))
	default:
		c.out(0, elem, idx)
	}
	return nil
}

func (c *inference) gatherND() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	idx, okI := c.shape(1)
	if !okX || !okI || len(idx) == 0 || !idx[len(idx)-1].Known() {
		c.outUnshaped(0, elem)
		return nil
	}
	from := idx[len(idx)-1].Value
	batch := c.node.Int("batch_dims", 0)
	if rank := int64(len(x)); batch < 0 || batch > rank || from < 0 || from > rank-batch {
		return fmt.Errorf("indices of shape %s do not fit data of shape %s", shapeString(idx), shapeString(x))
	}
	out := append([]Dim{}, idx[:len(idx)-1]...)
	c.out(0, elem, append(out, x[batch+from:]...))
	return nil
}

func (c *inference) oneHot() error {
	elem := c.in(2).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	axis, err := axisOf(c.node.Int("axis", -1), len(x)+1)
	if err != nil {
		return err
	}
	depth := NewDim(-1)
	if n, ok := c.scalarInput(1); ok {
		depth = NewDim(n)
	}
	out := append([]Dim{}, x[:axis]...)
	c.out(0, elem, append(append(out, depth), x[axis:]...))
	return nil
}

func (c *inference) nonZero() error {
	rank := NewDim(-1)
	if x, ok := c.shape(0); ok {
		rank = NewDim(int64(len(x)))
	}
	c.out(0, Int64, []Dim{rank, NewDim(-1)})
	return nil
}

// fromLike: the first input's shape with the element type that dtype names, or the input's.
func (c *inference) fromLike() error {
	elem, err := c.dtype(c.in(0).Elem)
	if err != nil {
		return err
	}
	return c.likeInput(elem)
}

func (c *inference) dtype(def DataType) (DataType, error) {
	v := c.node.Int("dtype", int64(def))
	if v != int64(def) && (v <= 0 || v != int64(DataType(v)) || !DataType(v).Valid()) {
		return 0, fmt.Errorf("attribute %q is %d, which is no element type", "dtype", v)
	}
	return DataType(v), nil
}

func (c *inference) random() error {
	elem, err := c.dtype(Float32)
	if err != nil {
		return err
	}
	dims, _ := c.node.Ints("shape")
	if _, err := Elements(dims); err != nil {
		return err
	}
	c.out(0, elem, dimsOf(dims))
	return nil
}

// ifOp: what both branches agree on.
func (c *inference) ifOp() error {
	var branches [2][]Type
	for i, name := range []string{"then_branch", "else_branch"} {
		g := c.node.Graph(name)
		if g == nil {
			return nil
		}
		var err error
		if branches[i], err = c.subgraph(g, nil); err != nil {
			return err
		}
		if len(branches[i]) != len(c.outs) {
			return fmt.Errorf("%s has %d outputs, the node %d", name, len(branches[i]), len(c.outs))
		}
	}
	for i := range c.outs {
		a, b := branches[0][i], branches[1][i]
		if a.Kind != KindTensor || b.Kind != KindTensor || a.Elem != b.Elem {
			continue
		}
		if !a.HasShape || !b.HasShape || len(a.Shape) != len(b.Shape) {
			c.outUnshaped(i, a.Elem)
			continue
		}
		shape := make([]Dim, len(a.Shape))
		for k := range shape {
			if shape[k] = a.Shape[k]; a.Shape[k] != b.Shape[k] {
				shape[k] = NewDim(-1)
			}
		}
		c.out(i, a.Elem, shape)
	}
	return nil
}
