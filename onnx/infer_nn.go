package onnx

import (
	"errors"
	"fmt"
	"math"
)

func init() {
	inferRules["Gemm"] = (*inference).gemm
	inferRules["MatMul"] = func(c *inference) error { return c.matMul(c.in(0).Elem) }
	inferRules["MatMulInteger"] = func(c *inference) error { return c.matMul(Int32) }
	inferRules["Conv"] = (*inference).conv
	inferRules["ConvTranspose"] = (*inference).convTranspose
	for _, op := range []string{"MaxPool", "AveragePool", "LpPool"} {
		inferRules[op] = (*inference).pool
	}
	for _, op := range []string{"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"} {
		inferRules[op] = (*inference).globalPool
	}
	inferRules["BatchNormalization"] = (*inference).batchNorm
	inferRules["LayerNormalization"] = (*inference).layerNorm
	inferRules["LSTM"] = func(c *inference) error { return c.recurrent(4) }
	inferRules["GRU"] = func(c *inference) error { return c.recurrent(3) }
	inferRules["RNN"] = func(c *inference) error { return c.recurrent(1) }
}

// sameDim reports whether two dimensions may be equal, and the more definite of them.
func sameDim(a, b Dim) (Dim, bool) {
	switch {
	case a.Known() && b.Known():
		return a, a.Value == b.Value
	case a.Known():
		return a, true
	case b.Known():
		return b, true
	case a.Param != "":
		return a, true
	}
	return b, true
}

// gemm: Y [M,N] = alpha·A' [M,K] · B' [K,N] + beta·C, C broadcast to [M,N].
func (c *inference) gemm() error {
	if err := c.sameElem(0, 1, 2); err != nil {
		return err
	}
	elem := c.in(0).Elem
	a, okA := c.shape(0)
	b, okB := c.shape(1)
	if okA && len(a) != 2 || okB && len(b) != 2 {
		return fmt.Errorf("A has shape %s, B %s; both need two dimensions", shapeOrUnknown(a, okA), shapeOrUnknown(b, okB))
	}
	if !okA || !okB {
		c.outRanked(0, elem, 2)
		return nil
	}
	m, k := a[0], a[1]
	if c.node.Int("transA", 0) != 0 {
		m, k = k, m
	}
	k2, n := b[0], b[1]
	if c.node.Int("transB", 0) != 0 {
		k2, n = n, k2
	}
	if _, ok := sameDim(k, k2); !ok {
		return fmt.Errorf("A' is [%s,%s], B' is [%s,%s]: inner dimensions %s and %s differ", m, k, k2, n, k, k2)
	}
	y := []Dim{m, n}
	if bias, ok := c.shape(2); ok && c.opset >= 7 {
		sum, err := broadcastDims(y, bias)
		if err != nil {
			return fmt.Errorf("bias %q: %w", c.node.Input(2), err)
		}
		for i, d := range sum {
			if len(sum) != 2 || d.Known() && y[i].Known() && d.Value != y[i].Value {
				return fmt.Errorf("bias %q has shape %s, which does not broadcast to %s", c.node.Input(2), shapeString(bias), shapeString(y))
			}
		}
	}
	c.out(0, elem, y)
	return nil
}

func shapeOrUnknown(s []Dim, ok bool) string {
	if !ok {
		return "[...]"
	}
	return shapeString(s)
}

// matMul follows numpy.matmul: leading dimensions broadcast, a vector is a row on the left, a column on the right.
func (c *inference) matMul(elem DataType) error {
	a, okA := c.shape(0)
	b, okB := c.shape(1)
	if elem != Int32 {
		if err := c.sameElem(0, 1); err != nil {
			return err
		}
	}
	if !okA || !okB {
		c.outUnshaped(0, elem)
		return nil
	}
	if len(a) == 0 || len(b) == 0 {
		return errors.New("a scalar has no matrix product")
	}
	row, column := len(a) == 1, len(b) == 1
	p, q := a, b
	if row {
		p = []Dim{NewDim(1), a[0]}
	}
	if column {
		q = []Dim{b[0], NewDim(1)}
	}
	if _, ok := sameDim(p[len(p)-1], q[len(q)-2]); !ok {
		return fmt.Errorf("A is %s, B is %s: inner dimensions %s and %s differ", shapeString(a), shapeString(b), p[len(p)-1], q[len(q)-2])
	}
	lead, err := broadcastDims(p[:len(p)-2], q[:len(q)-2])
	if err != nil {
		return err
	}
	y := lead
	if !row {
		y = append(y, p[len(p)-2])
	}
	if !column {
		y = append(y, q[len(q)-1])
	}
	c.out(0, elem, y)
	return nil
}

// window holds the geometry of a convolution or pooling per spatial axis.
type window struct {
	kernel, strides, dilations, begin, end []int64
	autoPad                                string
}

// maxWindow bounds kernel sizes, strides, pads and dilations, so that the arithmetic on them cannot overflow.
const maxWindow = math.MaxInt32

// window reads the attributes for n spatial axes.
func (c *inference) window(kernel []int64, n int) (window, error) {
	w := window{kernel: kernel, autoPad: c.node.String("auto_pad", "NOTSET")}
	list := func(name string, n int, def, least int64) ([]int64, error) {
		v, ok := c.node.Ints(name)
		if !ok || len(v) == 0 {
			v = make([]int64, n)
			for i := range v {
				v[i] = def
			}
			return v, nil
		}
		if len(v) != n {
			return nil, fmt.Errorf("%s is %v; %d spatial dimensions need %d numbers", name, v, len(kernel), n)
		}
		for _, x := range v {
			if x < least || x > maxWindow {
				return nil, fmt.Errorf("%s is %v; %d is out of range", name, v, x)
			}
		}
		return v, nil
	}
	for _, k := range kernel {
		if k < 1 || k > maxWindow {
			return w, fmt.Errorf("kernel shape is %v; %d is out of range", kernel, k)
		}
	}
	var err error
	if w.strides, err = list("strides", n, 1, 1); err != nil {
		return w, err
	}
	if w.dilations, err = list("dilations", n, 1, 1); err != nil {
		return w, err
	}
	pads, err := list("pads", 2*n, 0, -maxWindow)
	if err != nil {
		return w, err
	}
	w.begin, w.end = pads[:n], pads[n:]
	switch w.autoPad {
	case "NOTSET", "", "SAME_UPPER", "SAME_LOWER", "VALID":
	default:
		return w, fmt.Errorf("auto_pad %q is none of NOTSET, SAME_UPPER, SAME_LOWER and VALID", w.autoPad)
	}
	return w, nil
}

// out returns the output size of spatial axis i for an input of size d:
// floor((d + pads - dilation·(kernel-1) - 1) / stride) + 1.
func (w window) out(i int, d Dim, ceil bool) (Dim, error) {
	if !d.Known() {
		if w.strides[i] == 1 && (w.autoPad == "SAME_UPPER" || w.autoPad == "SAME_LOWER" ||
			w.autoPad != "VALID" && w.begin[i]+w.end[i] == w.dilations[i]*(w.kernel[i]-1)) {
			return Dim{Value: -1, Param: d.Param}, nil // the size is kept whatever it is
		}
		return NewDim(-1), nil
	}
	if d.Value > math.MaxInt64/4 {
		return Dim{}, fmt.Errorf("spatial dimension %d is out of range", d.Value)
	}
	s, span := w.strides[i], w.dilations[i]*(w.kernel[i]-1)+1
	begin, end := w.begin[i], w.end[i]
	switch w.autoPad {
	case "SAME_UPPER", "SAME_LOWER":
		return NewDim((d.Value + s - 1) / s), nil
	case "VALID":
		begin, end = 0, 0
	}
	room := d.Value + begin + end - span
	if room < 0 {
		return Dim{}, fmt.Errorf("a window of %d does not fit spatial dimension %d of size %d with pads %d and %d", span, i, d.Value, begin, end)
	}
	n := room/s + 1
	// With ceil_mode a last partial window counts unless it starts in the end padding (onnx 1.16, as PyTorch).
	if ceil && room%s != 0 && n*s < d.Value+begin {
		n++
	}
	return NewDim(n), nil
}

func (c *inference) conv() error {
	if err := c.sameElem(0, 1, 2); err != nil {
		return err
	}
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	w, okW := c.shape(1)
	if okX && len(x) < 3 || okX && okW && len(w) != len(x) {
		return fmt.Errorf("X has shape %s, W %s; both need [batch or outputs, channels, spatial...]", shapeString(x), shapeOrUnknown(w, okW))
	}
	if !okX || !okW {
		if okX {
			c.outRanked(0, elem, len(x))
		} else {
			c.outUnshaped(0, elem)
		}
		return nil
	}
	group := c.node.Int("group", 1)
	if group < 1 || group > maxWindow {
		return fmt.Errorf("group is %d", group)
	}
	if x[1].Known() && w[1].Known() && (x[1].Value%group != 0 || w[1].Value != x[1].Value/group) {
		return fmt.Errorf("X has shape %s, W %s: %s channels in %d groups do not fit %s per group", shapeString(x), shapeString(w), x[1], group, w[1])
	}
	if w[0].Known() && w[0].Value%group != 0 {
		return fmt.Errorf("W has shape %s: %s outputs do not divide into %d groups", shapeString(w), w[0], group)
	}
	if b, ok := c.shape(2); ok {
		if len(b) != 1 {
			return fmt.Errorf("bias %q has shape %s, not [%s]", c.node.Input(2), shapeString(b), w[0])
		}
		if _, ok := sameDim(b[0], w[0]); !ok {
			return fmt.Errorf("bias %q has shape %s, not [%s]", c.node.Input(2), shapeString(b), w[0])
		}
	}
	y := []Dim{x[0], w[0]}
	kernel, known := kernelOf(w[2:])
	if attr, ok := c.node.Ints("kernel_shape"); ok && len(attr) > 0 {
		for i := range attr {
			if len(attr) != len(w)-2 || w[i+2].Known() && w[i+2].Value != attr[i] {
				return fmt.Errorf("kernel_shape is %v, W has shape %s", attr, shapeString(w))
			}
		}
		kernel, known = attr, true
	}
	if !known {
		c.out(0, elem, append(y, unknownDims(len(x)-2)...))
		return nil
	}
	win, err := c.window(kernel, len(x)-2)
	if err != nil {
		return err
	}
	for i, d := range x[2:] {
		o, err := win.out(i, d, false)
		if err != nil {
			return err
		}
		y = append(y, o)
	}
	c.out(0, elem, y)
	return nil
}

func kernelOf(dims []Dim) ([]int64, bool) {
	k := make([]int64, len(dims))
	for i, d := range dims {
		if !d.Known() {
			return nil, false
		}
		k[i] = d.Value
	}
	return k, true
}

// convTranspose: out = stride·(d-1) + output_padding + dilation·(kernel-1) + 1 - pads.
func (c *inference) convTranspose() error {
	elem := c.in(0).Elem
	x, okX := c.shape(0)
	w, okW := c.shape(1)
	if !okX || !okW {
		c.outUnshaped(0, elem)
		return nil
	}
	if len(x) < 3 || len(w) != len(x) {
		return fmt.Errorf("X has shape %s, W %s; both need [batch or channels, channels, spatial...]", shapeString(x), shapeString(w))
	}
	if _, ok := sameDim(x[1], w[0]); !ok {
		return fmt.Errorf("X has shape %s, W %s: channels %s and %s differ", shapeString(x), shapeString(w), x[1], w[0])
	}
	group := c.node.Int("group", 1)
	if group < 1 || group > maxWindow {
		return fmt.Errorf("group is %d", group)
	}
	channels := NewDim(-1)
	if w[1].Known() && w[1].Value < math.MaxInt64/maxWindow {
		channels = NewDim(w[1].Value * group)
	}
	y := append([]Dim{x[0], channels}, unknownDims(len(x)-2)...)
	kernel, known := kernelOf(w[2:])
	if attr, ok := c.node.Ints("kernel_shape"); ok && len(attr) == len(x)-2 {
		kernel, known = attr, true
	}
	if !known {
		c.out(0, elem, y)
		return nil
	}
	win, err := c.window(kernel, len(x)-2)
	if err != nil {
		return err
	}
	shape, _ := c.node.Ints("output_shape")
	extra, _ := c.node.Ints("output_padding")
	for i, d := range x[2:] {
		switch {
		case len(shape) == len(kernel):
			y[2+i] = NewDim(shape[i])
		case !d.Known() || d.Value > maxWindow:
		case win.autoPad == "SAME_UPPER" || win.autoPad == "SAME_LOWER":
			y[2+i] = NewDim(d.Value * win.strides[i])
		default:
			n := win.strides[i]*(d.Value-1) + win.dilations[i]*(kernel[i]-1) + 1
			if win.autoPad != "VALID" {
				n -= win.begin[i] + win.end[i]
			}
			if i < len(extra) {
				n += min(max(extra[i], 0), maxWindow)
			}
			if n < 0 {
				return fmt.Errorf("spatial dimension %d of size %d gives a negative output size", i, d.Value)
			}
			y[2+i] = NewDim(n)
		}
	}
	c.out(0, elem, y)
	return nil
}

func (c *inference) pool() error {
	elem := c.in(0).Elem
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, elem)
		c.outUnshaped(1, Int64)
		return nil
	}
	kernel, ok := c.node.Ints("kernel_shape")
	if !ok || len(x) < 3 || len(kernel) != len(x)-2 {
		return fmt.Errorf("kernel_shape is %v, X has shape %s", kernel, shapeString(x))
	}
	win, err := c.window(kernel, len(kernel))
	if err != nil {
		return err
	}
	y := []Dim{x[0], x[1]}
	for i, d := range x[2:] {
		o, err := win.out(i, d, c.node.Int("ceil_mode", 0) != 0)
		if err != nil {
			return err
		}
		y = append(y, o)
	}
	c.out(0, elem, y)
	c.out(1, Int64, y)
	return nil
}

func (c *inference) globalPool() error {
	x, ok := c.shape(0)
	if !ok {
		c.outUnshaped(0, c.in(0).Elem)
		return nil
	}
	if len(x) < 2 {
		return fmt.Errorf("X has shape %s; it needs [batch, channels, spatial...]", shapeString(x))
	}
	y := []Dim{x[0], x[1]}
	for range x[2:] {
		y = append(y, NewDim(1))
	}
	c.out(0, c.in(0).Elem, y)
	return nil
}

func (c *inference) batchNorm() error {
	channels := NewDim(-1)
	if x, ok := c.shape(0); ok {
		if len(x) > 1 {
			channels = x[1]
		} else {
			channels = NewDim(1) // the channel of a tensor without one
		}
	}
	for i := 1; i < 5; i++ {
		p, ok := c.shape(i)
		if !ok || len(p) == 2 && c.opset < 9 { // spatial=0 normalises per activation
			continue
		}
		if len(p) != 1 {
			return fmt.Errorf("input %q has shape %s, not [%s]", c.node.Input(i), shapeString(p), channels)
		}
		d, ok := sameDim(channels, p[0])
		if !ok {
			return fmt.Errorf("X has shape %s: input %q has shape %s, not [%s]", shapeString(c.in(0).Shape), c.node.Input(i), shapeString(p), channels)
		}
		channels = d
	}
	for i := 1; i < len(c.outs); i++ {
		elem := c.in(0).Elem
		if t := c.in(3); t.Elem != Undefined && c.opset >= 14 {
			elem = t.Elem
		}
		c.out(i, elem, []Dim{channels})
	}
	return c.sameAsInput()
}

func (c *inference) layerNorm() error {
	stash := DataType(c.node.Int("stash_type", int64(Float32)))
	if x, ok := c.shape(0); ok {
		axis, err := axisOf(c.node.Int("axis", -1), len(x))
		if err != nil {
			return err
		}
		stat := append([]Dim(nil), x...)
		for i := axis; i < len(stat); i++ {
			stat[i] = NewDim(1)
		}
		c.out(1, stash, stat)
		c.out(2, stash, stat)
	}
	return c.sameAsInput()
}

// recurrent: X [seq, batch, in], W [directions, gates·hidden, in], R [directions, gates·hidden, hidden];
// Y [seq, directions, batch, hidden], Y_h and Y_c [directions, batch, hidden]; layout 1 puts the batch first.
func (c *inference) recurrent(gates int64) error {
	elem := c.in(0).Elem
	directions := NewDim(1)
	if c.node.String("direction", "forward") == "bidirectional" {
		directions = NewDim(2)
	}
	x, okX := c.shape(0)
	w, okW := c.shape(1)
	r, okR := c.shape(2)
	if okX && len(x) != 3 || okW && len(w) != 3 || okR && len(r) != 3 {
		return fmt.Errorf("X has shape %s, W %s, R %s; all need three dimensions", shapeOrUnknown(x, okX), shapeOrUnknown(w, okW), shapeOrUnknown(r, okR))
	}
	seq, batch, hidden := NewDim(-1), NewDim(-1), NewDim(-1)
	layout := c.node.Int("layout", 0)
	if okX {
		seq, batch = x[0], x[1]
		if layout != 0 {
			seq, batch = x[1], x[0]
		}
	}
	if okX && okW {
		if _, ok := sameDim(x[2], w[2]); !ok {
			return fmt.Errorf("X has shape %s, W %s: input sizes %s and %s differ", shapeString(x), shapeString(w), x[2], w[2])
		}
	}
	if h := c.node.Int("hidden_size", 0); h > 0 {
		hidden = NewDim(h)
	} else if okR {
		hidden = r[2]
	}
	if okW && w[1].Known() && hidden.Known() && hidden.Value <= math.MaxInt64/gates && w[1].Value != gates*hidden.Value {
		return fmt.Errorf("W has shape %s, a hidden size of %s needs [%s,%d,...]", shapeString(w), hidden, directions, gates*hidden.Value)
	}
	if layout != 0 {
		c.out(0, elem, []Dim{batch, seq, directions, hidden})
		c.out(1, elem, []Dim{batch, directions, hidden})
		c.out(2, elem, []Dim{batch, directions, hidden})
		return nil
	}
	c.out(0, elem, []Dim{seq, directions, batch, hidden})
	c.out(1, elem, []Dim{directions, batch, hidden})
	c.out(2, elem, []Dim{directions, batch, hidden})
	return nil
}
