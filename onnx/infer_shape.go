package onnx

import (
	"errors"
	"fmt"
	"math"
)

func init() {
	inferRules["Reshape"] = (*inference).reshape
	inferRules["Flatten"] = (*inference).flatten
	inferRules["Transpose"] = (*inference).transpose
	inferRules["Squeeze"] = (*inference).squeeze
	inferRules["Unsqueeze"] = (*inference).unsqueeze
	inferRules["Concat"] = (*inference).concat
	inferRules["Split"] = (*inference).split
	inferRules["Slice"] = (*inference).slice
	inferRules["Pad"] = (*inference).pad
	inferRules["Expand"] = (*inference).expand
	inferRules["Tile"] = (*inference).tile
	inferRules["DepthToSpace"] = func(c *inference) error { return c.blocks(false) }
	inferRules["SpaceToDepth"] = func(c *inference) error { return c.blocks(true) }
	inferRules["Resize"] = (*inference).resize
	inferRules["Upsample"] = (*inference).resize
}

// reshape: 0 copies a dimension (unless allowzero), -1 is what is left. A symbol is kept where the others cancel.
func (c *inference) reshape() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	var want []integer
	if attr, ok := c.node.Ints("shape"); ok && c.opset < 5 {
		for _, d := range attr {
			want = append(want, number(d))
		}
	} else if v, ok := c.env.value(c.node.Input(1)); ok {
		want = v.v
	} else {
		if n, ok := c.lengthOf(1); ok {
			c.outRanked(0, elem, int(n))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	out := make([]Dim, len(want))
	free := -1
	for i, d := range want {
		switch {
		case !d.known || d.n > 0:
			out[i] = d.dim()
		case d.n == 0 && c.node.Int("allowzero", 0) != 0:
			out[i] = NewDim(0)
		case d.n == 0 && okX && i >= len(x):
			return fmt.Errorf("shape %s copies dimension %d of an input of shape %s", integersString(want), i, shapeString(x))
		case d.n == 0 && okX:
			out[i] = x[i]
			out[i].Denotation = ""
		case d.n == 0:
			out[i] = NewDim(-1)
		case d.n == -1 && free < 0:
			free = i
			out[i] = NewDim(1) // neutral in the product below
		default:
			return fmt.Errorf("shape %s has more than one -1 or a negative number", integersString(want))
		}
	}
	if !okX {
		if free >= 0 {
			out[free] = NewDim(-1)
		}
		c.out(0, elem, out)
		return nil
	}
	total, rest, cancelled := productOf(x).without(productOf(out))
	if !cancelled {
		if free >= 0 {
			out[free] = NewDim(-1)
		}
		c.out(0, elem, out)
		return nil
	}
	if err := fitReshape(x, want, out, free, total, rest); err != nil {
		return err
	}
	c.out(0, elem, out)
	return nil
}

// fitReshape sets the free dimension from what is left of the input's elements, and compares the numbers of
// elements where both are plain numbers.
func fitReshape(x []Dim, want []integer, out []Dim, free int, total, rest product) error {
	mismatch := func() error {
		return fmt.Errorf("an input of shape %s cannot become %s", shapeString(x), integersString(want))
	}
	if free < 0 {
		if n, ok := total.number(); ok && n != rest.n {
			return mismatch()
		}
		return nil
	}
	out[free] = NewDim(-1)
	n, plain := total.number()
	switch {
	case rest.n == 0:
		if plain && n != 0 {
			return mismatch()
		}
	case plain && n%rest.n != 0:
		return mismatch()
	case total.n%rest.n == 0:
		out[free] = product{total.n / rest.n, total.syms, true}.integer().dim()
	}
	return nil
}

func integersString(v []integer) string {
	dims := make([]Dim, len(v))
	s := "["
	for i, x := range v {
		if i > 0 {
			s += ","
		}
		if dims[i] = x.dim(); x.known {
			s += fmt.Sprint(x.n)
		} else {
			s += dims[i].String()
		}
	}
	return s + "]"
}

func (c *inference) flatten() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outRanked(0, elem, 2)
		return nil
	}
	axis := c.node.Int("axis", 1)
	if axis < -int64(len(x)) || axis > int64(len(x)) {
		return fmt.Errorf("axis %d is outside an input of shape %s", axis, shapeString(x))
	}
	if axis < 0 {
		axis += int64(len(x))
	}
	c.out(0, elem, []Dim{productOf(x[:axis]).integer().dim(), productOf(x[axis:]).integer().dim()})
	return nil
}

func (c *inference) transpose() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	perm, ok := c.node.Ints("perm")
	if !ok {
		for i := range x {
			perm = append(perm, int64(len(x)-1-i))
		}
	}
	set, err := axesOf(perm, len(x))
	if err != nil || len(set) != len(x) {
		return fmt.Errorf("perm %v is no permutation of an input of shape %s", perm, shapeString(x))
	}
	out := make([]Dim, len(x))
	for i, p := range perm {
		k, _ := axisOf(p, len(x))
		out[i] = x[k]
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) squeeze() error {
	elem := c.in(0).Elem
	axes, given, known := c.intsFrom("axes", 1)
	x, ok := c.shape(0)
	if !ok || !known {
		if n, okN := c.lengthOf(1); ok && okN && int(n) <= len(x) {
			c.outRanked(0, elem, len(x)-int(n))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	set, err := axesOf(axes, len(x))
	if err != nil {
		return err
	}
	out := []Dim{}
	for i, d := range x {
		switch {
		case given && !set[i]:
			out = append(out, d)
		case given && d.Known() && d.Value != 1:
			return fmt.Errorf("axis %d of %s is not 1", i, shapeString(x))
		case !given && !d.Known(): // it may or may not be 1
			c.outUnshaped(0, elem)
			return nil
		case !given && d.Value != 1:
			out = append(out, d)
		}
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) unsqueeze() error {
	elem := c.in(0).Elem
	axes, _, known := c.intsFrom("axes", 1)
	x, ok := c.shape(0)
	if !ok || !known {
		if n, okN := c.lengthOf(1); ok && okN {
			c.outRanked(0, elem, len(x)+int(n))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	rank := len(x) + len(axes)
	set, err := axesOf(axes, rank)
	if err != nil {
		return err
	}
	out := make([]Dim, rank)
	for i := range out {
		if set[i] {
			out[i] = NewDim(1)
			continue
		}
		out[i], x = x[0], x[1:]
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) concat() error {
	all := make([]int, len(c.node.Inputs))
	for i := range all {
		all[i] = i
	}
	if err := c.sameElem(all...); err != nil {
		return err
	}
	elem := c.in(0).Elem
	first, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	def := int64(1)
	if c.opset >= 4 {
		def = 0
	}
	axis, err := axisOf(c.node.Int("axis", def), len(first))
	if err != nil {
		return err
	}
	out := append([]Dim(nil), first...)
	for i := 1; i < len(c.node.Inputs); i++ {
		x, ok := c.shape(i)
		if !ok {
			out[axis] = NewDim(-1)
			continue
		}
		if len(x) != len(out) {
			return fmt.Errorf("inputs of shapes %s and %s differ in rank", shapeString(first), shapeString(x))
		}
		for k := range out {
			if k == axis {
				if sum := out[k].Value + x[k].Value; out[k].Known() && x[k].Known() && sum >= 0 {
					out[k] = NewDim(sum)
				} else {
					out[k] = NewDim(-1)
				}
				continue
			}
			if out[k], ok = sameDim(out[k], x[k]); !ok {
				return fmt.Errorf("inputs of shapes %s and %s differ in axis %d", shapeString(first), shapeString(x), k)
			}
		}
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) split() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		for i := range c.outs {
			c.outUnshaped(i, elem)
		}
		return nil
	}
	axis, err := axisOf(c.node.Int("axis", 0), len(x))
	if err != nil {
		return err
	}
	sizes, given, known := c.intsFrom("split", 1)
	part := func(i int, d Dim) {
		out := append([]Dim(nil), x...)
		out[axis] = d
		c.out(i, elem, out)
	}
	n := int64(len(c.outs))
	if want := c.node.Int("num_outputs", n); want != n {
		return fmt.Errorf("num_outputs is %d, the node has %d outputs", want, n)
	}
	switch {
	case given && known:
		if int64(len(sizes)) != n {
			return fmt.Errorf("split is %v, the node has %d outputs", sizes, n)
		}
		sum, err := int64(0), error(nil)
		for i, s := range sizes {
			if s < 0 || s > math.MaxInt64-sum {
				return fmt.Errorf("split is %v", sizes)
			}
			sum += s
			part(i, NewDim(s))
		}
		if x[axis].Known() && sum != x[axis].Value {
			err = fmt.Errorf("split is %v, axis %d of %s is not their sum", sizes, axis, shapeString(x))
		}
		return err
	case given || !x[axis].Known():
		for i := range c.outs {
			part(i, NewDim(-1))
		}
	default: // equal parts, the last one smaller
		size := (x[axis].Value + n - 1) / n
		for i := range c.outs {
			part(i, NewDim(max(min(size, x[axis].Value-int64(i)*size), 0)))
		}
	}
	return nil
}

// sliceRange returns where a slice of a dimension starts and how many elements it has.
func sliceRange(dim, start, end, step int64) (from, count int64) {
	clamp := func(v, low, high int64) int64 {
		if v < 0 {
			v += dim
		}
		return min(max(v, low), high)
	}
	if step > 0 {
		from, end = clamp(start, 0, dim), clamp(end, 0, dim)
		if end <= from {
			return from, 0
		}
		return from, (end-from-1)/step + 1
	}
	from, end = clamp(start, 0, dim-1), clamp(end, -1, dim-1)
	if step == 0 || step == math.MinInt64 || from <= end {
		return from, 0
	}
	return from, (from-end-1)/-step + 1
}

func (c *inference) slice() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	starts, _, ok1 := c.intsFrom("starts", 1)
	ends, _, ok2 := c.intsFrom("ends", 2)
	axes, givenAxes, ok3 := c.intsFrom("axes", 3)
	steps, givenSteps, ok4 := c.intsFrom("steps", 4)
	if !ok3 || !ok1 && !givenAxes {
		c.outRanked(0, elem, len(x))
		return nil
	}
	if !givenAxes {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if ok1 && len(starts) != len(axes) || ok2 && len(ends) != len(axes) || givenSteps && ok4 && len(steps) != len(axes) {
		return fmt.Errorf("starts %v, ends %v, axes %v and steps %v differ in length", starts, ends, axes, steps)
	}
	if _, err := axesOf(axes, len(x)); err != nil {
		return err
	}
	out := append([]Dim(nil), x...)
	for i, a := range axes {
		k, _ := axisOf(a, len(x))
		if !ok1 || !ok2 || !ok4 {
			out[k] = NewDim(-1)
			continue
		}
		step := int64(1)
		if givenSteps {
			step = steps[i]
		}
		switch {
		case step == 0:
			return errors.New("a step of 0")
		case x[k].Known():
			_, n := sliceRange(x[k].Value, starts[i], ends[i], step)
			out[k] = NewDim(n)
		case starts[i] == 0 && ends[i] >= math.MaxInt32 && step == 1: // all of it, as exporters write
		default:
			out[k] = NewDim(-1)
		}
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) pad() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	attr := "pads"
	if c.opset < 2 {
		attr = "paddings"
	}
	pads, _, known := c.intsFrom(attr, 1)
	axes, given, knownAxes := c.intsFrom("axes", 3)
	if !known || !knownAxes {
		c.outRanked(0, elem, len(x))
		return nil
	}
	if !given {
		for i := range x {
			axes = append(axes, int64(i))
		}
	}
	if _, err := axesOf(axes, len(x)); err != nil {
		return err
	}
	if len(pads) != 2*len(axes) {
		return fmt.Errorf("pads is %v, an input of shape %s needs %d numbers", pads, shapeString(x), 2*len(axes))
	}
	out := append([]Dim(nil), x...)
	for i, a := range axes {
		k, _ := axisOf(a, len(x))
		b, e := pads[i], pads[len(axes)+i]
		if b < -maxWindow || b > maxWindow || e < -maxWindow || e > maxWindow {
			return fmt.Errorf("pads is %v", pads)
		}
		switch {
		case b == 0 && e == 0:
		case !x[k].Known() || x[k].Value > math.MaxInt64-2*maxWindow:
			out[k] = NewDim(-1)
		case x[k].Value+b+e < 0:
			return fmt.Errorf("pads %v cut more than axis %d of %s has", pads, k, shapeString(x))
		default:
			out[k] = NewDim(x[k].Value + b + e)
		}
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) expand() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	v, ok := c.env.value(c.node.Input(1))
	if !okX || !ok {
		if n, ok := c.lengthOf(1); ok && okX {
			c.outRanked(0, elem, max(int(n), len(x)))
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
	out, err := broadcastDims(x, shape)
	if err != nil {
		return err
	}
	c.out(0, elem, out)
	return nil
}

func (c *inference) tile() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	v, ok := c.env.value(c.node.Input(1))
	if !ok || c.opset < 6 {
		c.outRanked(0, elem, len(x))
		return nil
	}
	if len(v.v) != len(x) {
		return fmt.Errorf("repeats is %s, an input of shape %s needs %d numbers", integersString(v.v), shapeString(x), len(x))
	}
	out := make([]Dim, len(x))
	for i, d := range x {
		if v.v[i].known && v.v[i].n < 0 {
			return fmt.Errorf("repeats is %s", integersString(v.v))
		}
		out[i] = fold2one("Mul", d.integer(), v.v[i]).dim()
	}
	c.out(0, elem, out)
	return nil
}

// blocks: DepthToSpace moves blocksize² channels into space, SpaceToDepth the other way.
func (c *inference) blocks(toDepth bool) error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	b := c.node.Int("blocksize", 0)
	if len(x) != 4 || b < 1 || b > math.MaxInt16 {
		return fmt.Errorf("blocksize is %d, X has shape %s; it needs [batch, channels, height, width]", b, shapeString(x))
	}
	grow, shrink := []int{1}, []int{2, 3}
	grown, shrunk := b*b, b
	if !toDepth {
		grow, shrink, grown, shrunk = shrink, grow, b, b*b
	}
	out := append([]Dim(nil), x...)
	for _, i := range grow {
		out[i] = fold2one("Mul", x[i].integer(), number(grown)).dim()
	}
	for _, i := range shrink {
		if x[i].Known() && x[i].Value%shrunk != 0 {
			return fmt.Errorf("dimension %s of %s is no multiple of %d", x[i], shapeString(x), shrunk)
		}
		out[i] = fold2one("Div", x[i].integer(), number(shrunk)).dim()
	}
	c.out(0, elem, out)
	return nil
}

// resize: sizes gives the output's dimensions, scales multiplies the input's and rounds down.
func (c *inference) resize() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		return nil
	}
	scalesAt := 2
	if c.node.OpType == "Upsample" || c.opset < 11 {
		scalesAt = 1
	}
	axes := make([]int, len(x))
	for i := range axes {
		axes[i] = i
	}
	if list, ok := c.node.Ints("axes"); ok {
		axes = axes[:0]
		for _, a := range list {
			k, err := axisOf(a, len(x))
			if err != nil {
				return err
			}
			axes = append(axes, k)
		}
	}
	out := append([]Dim(nil), x...)
	sizes, okSizes := c.env.value(c.node.Input(3))
	scales, okScales := c.node.Floats("scales")
	if t := c.env.constant(c.node.Input(scalesAt)); t != nil {
		if v, err := t.Float32s(); err == nil && len(v) > 0 {
			scales, okScales = v, true
		}
	}
	for i, k := range axes {
		out[k] = NewDim(-1)
		switch {
		case okSizes && len(sizes.v) == len(axes):
			if c.node.String("keep_aspect_ratio_policy", "stretch") == "stretch" {
				out[k] = sizes.v[i].dim()
			}
		case okScales && len(scales) == len(axes):
			if y := float64(x[k].Value) * float64(scales[i]); x[k].Known() && y >= 0 && y < 1<<53 {
				out[k] = NewDim(int64(math.Floor(y)))
			} else if scales[i] == 1 {
				out[k] = x[k]
			}
		}
	}
	c.out(0, elem, out)
	return nil
}
