package lower

import (
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// convolutions, transposed ones included.
var convolutions = map[string]lowering{"Conv": lowerConv, "ConvTranspose": lowerConvTranspose, "Col2Im": lowerCol2Im}

// window reads strides, dilations and pads of a convolution or a pool over the spatial axes of x. auto_pad SAME_UPPER and SAME_LOWER make
// the output ceil(in/stride) long, an odd pad going to the end or to the beginning.
func (e *env) window(n *onnx.Node, x, kernel []int) (engine.Window, error) {
	rank := len(x) - 2
	w := engine.Window{Kernel: kernel, Group: 1}
	if rank < 1 || rank > 3 || len(kernel) != rank {
		return w, fmt.Errorf("kernel %v over %v: 1 to 3 spatial dimensions are supported", kernel, x)
	}
	attr := func(name string, length, missing int) ([]int, error) {
		v := ints(n, name)
		if v == nil {
			v = repeat(missing, length)
		}
		if len(v) != length {
			return nil, fmt.Errorf("%s %v: wants %d numbers", name, v, length)
		}
		for _, d := range v {
			if d < missing || d > maxDim {
				return nil, fmt.Errorf("%s %v: %d is out of range", name, v, d)
			}
		}
		return v, nil
	}
	var err error
	if w.Strides, err = attr("strides", rank, 1); err != nil {
		return w, err
	}
	if w.Dilations, err = attr("dilations", rank, 1); err != nil {
		return w, err
	}
	pads, err := attr("pads", 2*rank, 0)
	if err != nil {
		return w, err
	}
	for _, k := range kernel {
		if k < 1 || k > maxDim {
			return w, fmt.Errorf("kernel %v: %d is out of range", kernel, k)
		}
	}
	w.PadBegin, w.PadEnd = slices.Clone(pads[:rank]), slices.Clone(pads[rank:])
	switch auto := n.String("auto_pad", "NOTSET"); auto {
	case "NOTSET", "":
	case "VALID":
		w.PadBegin, w.PadEnd = repeat(0, rank), repeat(0, rank)
	case "SAME_UPPER", "SAME_LOWER":
		for i := range rank {
			out := (x[2+i] + w.Strides[i] - 1) / w.Strides[i]
			total := max(0, (out-1)*w.Strides[i]+extent(&w, i)-x[2+i])
			w.PadBegin[i], w.PadEnd[i] = halves(total, auto == "SAME_LOWER")
		}
	default:
		return w, fmt.Errorf("auto_pad %q is unknown", auto)
	}
	return w, nil
}

// extent is what a kernel covers along a spatial axis.
func extent(w *engine.Window, i int) int { return w.Dilations[i]*(w.Kernel[i]-1) + 1 }

// halves splits a pad; the odd element goes to the end, or to the beginning when first is set.
func halves(total int, first bool) (begin, end int) {
	if first {
		return total - total/2, total / 2
	}
	return total / 2, total - total/2
}

// kernelShape is the spatial shape of the weights, which the attribute may repeat.
func kernelShape(n *onnx.Node, w []int) ([]int, error) {
	if len(w) < 3 {
		return nil, fmt.Errorf("weights have shape %v, want at least 3 dimensions", w)
	}
	if k := ints(n, "kernel_shape"); k != nil && !slices.Equal(k, w[2:]) {
		return nil, fmt.Errorf("kernel_shape %v contradicts the weights %v", k, w)
	}
	return slices.Clone(w[2:]), nil
}

// convInputs are x, weights and bias of the current node.
func (e *env) convInputs() (x, w, bias engine.TensorID, err error) {
	if x, err = e.inFloat(0); err == nil {
		if w, err = e.inFloat(1); err == nil {
			bias, err = e.inFloat(2)
		}
	}
	return x, w, bias, err
}

func group(n *onnx.Node) (int, error) {
	g := n.Int("group", 1)
	if g < 1 || g > maxDim {
		return 0, fmt.Errorf("group %d is out of range", g)
	}
	return int(g), nil
}

func lowerConv(e *env, n *onnx.Node) error {
	x, w, bias, err := e.convInputs()
	if err != nil {
		return err
	}
	kernel, err := kernelShape(n, e.Shape(w))
	if err != nil {
		return err
	}
	win, err := e.window(n, e.Shape(x), kernel)
	if err != nil {
		return err
	}
	if win.Group, err = group(n); err != nil {
		return err
	}
	return e.setTensor(0, e.Conv(x, w, bias, win))
}

// lowerConvTranspose is the gradient of a convolution by its input, for the shape
// stride·(in-1) + output_padding + extent - pads per spatial axis, or the one that output_shape gives.
func lowerConvTranspose(e *env, n *onnx.Node) error {
	x, w, bias, err := e.convInputs()
	if err != nil {
		return err
	}
	kernel, err := kernelShape(n, e.Shape(w))
	if err != nil {
		return err
	}
	s := e.Shape(x)
	win, err := e.window(n, s, kernel)
	if err != nil {
		return err
	}
	if win.Group, err = group(n); err != nil {
		return err
	}
	out, beyond, err := transposedShape(n, s, &win)
	if err != nil {
		return err
	}
	if s[1] != e.Shape(w)[0] || s[1]%win.Group != 0 || e.Shape(w)[1] > maxDim/win.Group {
		return fmt.Errorf("weights %v do not fit the input %v in %d groups", e.Shape(w), s, win.Group)
	}
	shape := append([]int{s[0], e.Shape(w)[1] * win.Group}, out...)
	y := e.Emit(engine.Op{Kind: engine.ConvDX, In: []engine.TensorID{x, w}, Window: &win, Shape: shape})[0]
	if slices.Max(beyond) > 0 {
		wide := slices.Clone(shape)
		for i, d := range beyond {
			wide[2+i] += d
		}
		y = e.Pad(y, repeat(0, len(shape)), repeat(1, len(shape)), wide, 0)
	}
	if bias != engine.None {
		y = e.Add(y, e.Reshape(bias, append([]int{shape[1]}, repeat(1, len(out))...)))
	}
	return e.setTensor(0, y)
}

// transposedShape is the spatial output shape of a transposed convolution; it sets the window's pads to what gives it. beyond are the
// elements that output_shape wants beyond what the convolution reaches: they are 0.
func transposedShape(n *onnx.Node, x []int, w *engine.Window) (out, beyond []int, err error) {
	rank := len(w.Kernel)
	extra, want := ints(n, "output_padding"), ints(n, "output_shape")
	if extra == nil {
		extra = repeat(0, rank)
	}
	if len(want) == rank+2 { // some exporters list batch and channels too
		want = want[2:]
	}
	if len(extra) != rank || want != nil && len(want) != rank {
		return nil, nil, fmt.Errorf("output_padding %v or output_shape %v: want %d numbers", extra, want, rank)
	}
	auto := n.String("auto_pad", "NOTSET")
	same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
	out, beyond = make([]int, rank), make([]int, rank)
	for i := range rank {
		if extra[i] < 0 || extra[i] >= w.Strides[i] && extra[i] >= w.Dilations[i] || x[2+i] < 1 {
			return nil, nil, fmt.Errorf("output_padding %v of input %v is out of range", extra, x)
		}
		full := w.Strides[i]*(x[2+i]-1) + extra[i] + extent(w, i)
		switch {
		case want != nil:
			out[i] = want[i]
		case same:
			out[i] = x[2+i] * w.Strides[i]
		default:
			out[i] = full - w.PadBegin[i] - w.PadEnd[i]
			continue
		}
		if out[i] < 1 || out[i] > maxDim {
			return nil, nil, fmt.Errorf("output_shape %v is out of range", want)
		}
		beyond[i] = max(0, out[i]-full)
		out[i] -= beyond[i]
		w.PadBegin[i], w.PadEnd[i] = halves(full-out[i], auto != "SAME_UPPER")
	}
	return out, beyond, nil
}

// lowerCol2Im adds columns (N, C·block, places) up to an image: a transposed convolution that gives every element of a block its own channel.
func lowerCol2Im(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	image, err := e.hostInts(1)
	if err != nil {
		return err
	}
	block, err := e.hostInts(2)
	if err != nil {
		return err
	}
	s, size := e.Shape(x), engine.Len(block)
	if len(s) != 3 || len(image) != len(block) || checkSize(block) != nil || size < 1 || s[1]%size != 0 || s[1]*size > maxHostSize {
		return fmt.Errorf("columns %v do not fit blocks of %v in %v", s, block, image)
	}
	channels := s[1] / size
	shape := append([]int{s[0], channels}, image...)
	if err := checkSize(shape); err != nil {
		return err
	}
	win, err := e.window(n, shape, block)
	if err != nil {
		return err
	}
	win.Group = channels
	out, err := engine.WindowShape(shape, &win)
	if err != nil {
		return err
	}
	if engine.Len(out) != s[2] {
		return fmt.Errorf("%d columns for %v places", s[2], out)
	}
	w := floatConstant(append([]int{s[1], 1}, block...), make([]float64, s[1]*size)...)
	for k := range s[1] {
		w.f[k*size+k%size] = 1
	}
	y := e.Emit(engine.Op{Kind: engine.ConvDX, In: []engine.TensorID{e.Reshape(x, append([]int{s[0], s[1]}, out...)), e.device(hostValue(w))},
		Window: &win, Shape: shape})[0]
	return e.setTensor(0, y)
}
