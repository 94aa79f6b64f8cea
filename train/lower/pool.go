package lower

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// pools over windows and over whole planes.
var pools = map[string]lowering{"MaxPool": lowerMaxPool, "AveragePool": lowerAveragePool, "GlobalAveragePool": lowerGlobalAveragePool,
	"GlobalMaxPool": lowerGlobalMaxPool, "LpPool": lowerLpPool, "GlobalLpPool": lowerGlobalLpPool, "MaxUnpool": lowerMaxUnpool}

// pool reads input and window of a pool.
func (e *env) pool(n *onnx.Node) (engine.TensorID, engine.Window, error) {
	x, err := e.inFloat(0)
	if err != nil {
		return x, engine.Window{}, err
	}
	w, err := e.window(n, e.Shape(x), ints(n, "kernel_shape"))
	if auto := n.String("auto_pad", "NOTSET"); auto == "NOTSET" || auto == "" {
		w.Ceil = n.Int("ceil_mode", 0) != 0
	}
	return x, w, err
}

func lowerMaxPool(e *env, n *onnx.Node) error {
	x, w, err := e.pool(n)
	if err != nil {
		return err
	}
	if e.wants(1) {
		i, err := e.maxima(x, &w, n.Int("storage_order", 0) != 0)
		if err != nil {
			return err
		}
		if err := e.set(1, i); err != nil {
			return err
		}
	}
	return e.setTensor(0, e.MaxPool(x, w))
}

const maxWindows = 1 << 22 // elements of all windows of a plane, of MaxPool's indices

// maxima are the numbers of the elements of x, flattened, that a max pool takes: of equal ones the first. columns counts the places of a
// plane with the first axis running fastest. Every window's elements are laid out side by side.
func (e *env) maxima(x engine.TensorID, w *engine.Window, columns bool) (value, error) {
	s := e.Shape(x)
	out, err := engine.WindowShape(s, w)
	if err != nil {
		return value{}, err
	}
	volume, places, size := engine.Len(s[2:]), engine.Len(out), engine.Len(w.Kernel)
	if checkSize([]int{s[0], s[1], places, size}) != nil || places*size > maxWindows || engine.Len(s) > maxExact {
		return value{}, fmt.Errorf("indices of %d windows of %d elements of %v are not supported: wants at most 2^22 places of windows and 2^24 elements",
			places, size, s)
	}
	step := engine.Strides(s[2:])
	if columns {
		for a, d := 0, 1; a < len(step); a++ {
			step[a] = d
			d *= s[2+a]
		}
	}
	// Where a window reads in its plane, -Inf behind the end for padding, and the number of what it reads. Padding is named like the window's
	// first element: it wins where all are -Inf.
	read, number := intConstant([]int{places, size}), intConstant([]int{places * size})
	each(out, func(o int, to []int) {
		var first []int64
		each(w.Kernel, func(_ int, tap []int) {
			inside, at, named := true, 0, 0
			for a, d := range s[2:] {
				p := to[a]*w.Strides[a] + tap[a]*w.Dilations[a] - w.PadBegin[a]
				inside = inside && p >= 0 && p < d
				at, named = at*d+p, named+p*step[a]
			}
			if inside && first == nil {
				first = []int64{int64(named)}
			} else if !inside {
				at, named = volume, -1
			}
			read.i, number.i = append(read.i, int64(at)), append(number.i, int64(named))
		})
		for k, v := range number.i[o*size:] {
			if v < 0 {
				number.i[o*size+k] = append(first, 0)[0]
			}
		}
	})
	rows := s[0] * s[1]
	planes := e.Pad(e.Reshape(e.Detach(x), []int{rows, volume}), []int{0, 0}, []int{1, 1}, []int{rows, volume + 1}, math.Inf(-1))
	windows := e.gather(e.floats(planes), hostValue(read), 1)
	if e.Err() != nil {
		return value{}, e.Err()
	}
	best := value{id: e.Reshape(e.ArgMax(e.device(windows), 2), []int{rows, places}), elem: onnx.Int64}
	i := e.pickFlat(hostValue(number), e.add(e.indexFloats(best), e.along(places, size, 1, 2)))
	i = e.add(e.indexFloats(i), e.along(rows, volume, 0, 2))
	if e.Err() != nil {
		return value{}, e.Err()
	}
	return e.reshape(e.wholeIndex(i), slices.Concat(s[:2], out)), e.Err()
}

// lowerMaxUnpool puts the elements of a pool's output where the indices of MaxPool say, into zeros. The indices count the elements of the
// shape that window and strides infer; a larger output_shape adds zeros behind it (as ONNX's reference implementation does).
func lowerMaxUnpool(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	index, err := e.arg(1)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	if len(s) < 3 || !slices.Equal(e.shape(index), s) {
		return fmt.Errorf("indices %v do not fit %v", e.shape(index), s)
	}
	w, err := e.window(n, s, ints(n, "kernel_shape"))
	if err != nil {
		return err
	}
	shape := slices.Clone(s)
	for a := range w.Kernel {
		shape[2+a] = (s[2+a]-1)*w.Strides[a] - w.PadBegin[a] - w.PadEnd[a] + w.Kernel[a]
		if shape[2+a] < 1 {
			return fmt.Errorf("the window gives %v the shape %v", s, shape)
		}
	}
	if err := checkSize(shape); err != nil {
		return err
	}
	total, m := engine.Len(shape), engine.Len(s)
	i := e.indexFloats(index)
	if i.host != nil {
		for _, k := range i.host.f {
			if k < 0 || k >= float64(total) {
				return fmt.Errorf("index %v is out of range for %v", k, shape)
			}
		}
	}
	zeros := e.broadcast(scalar(0), []int{total, 1})
	y := e.place(zeros, e.reshape(i, []int{m}), value{id: e.Reshape(x, []int{m, 1}), elem: onnx.Float32}, "none")
	y = e.reshape(y, shape)
	want, err := e.hostInts(2)
	if err != nil || want == nil {
		return errors.Join(err, e.set(0, y))
	}
	if len(want) != len(s) {
		return fmt.Errorf("output_shape %v does not fit %v", want, shape)
	}
	for a := range w.Kernel {
		if want[2+a] < shape[2+a] {
			return fmt.Errorf("output_shape %v is smaller than %v", want, shape)
		}
	}
	large := append(slices.Clone(s[:2]), want[2:]...)
	if err := checkSize(large); err != nil {
		return err
	}
	return e.setTensor(0, e.Pad(e.device(y), repeat(0, len(s)), repeat(1, len(s)), large, 0))
}

func lowerAveragePool(e *env, n *onnx.Node) error {
	x, w, err := e.pool(n)
	if err != nil {
		return err
	}
	w.CountPad = n.Int("count_include_pad", 0) != 0
	return e.setTensor(0, e.AvgPool(x, w))
}

// plane is a float input with at least one spatial axis, and these axes.
func (e *env) plane() (x engine.TensorID, axes []int, err error) {
	x, err = e.inFloat(0)
	if err != nil {
		return x, nil, err
	}
	rank := len(e.Shape(x))
	if rank < 3 {
		return x, nil, fmt.Errorf("input has shape %v, wants a batch, channels and spatial dimensions", e.Shape(x))
	}
	return x, seq(rank)[2:], nil
}

func lowerGlobalAveragePool(e *env, n *onnx.Node) error {
	x, axes, err := e.plane()
	if err != nil {
		return err
	}
	return e.setTensor(0, e.Reduce(engine.Mean, x, true, axes...))
}

// lowerGlobalMaxPool is a pool with one window where that exists, so that the gradient goes to the first maximum as in any other pool.
func lowerGlobalMaxPool(e *env, n *onnx.Node) error {
	x, axes, err := e.plane()
	if err != nil {
		return err
	}
	rank := len(axes)
	if rank > 3 {
		return e.setTensor(0, e.Reduce(engine.Max, x, true, axes...))
	}
	return e.setTensor(0, e.MaxPool(x, engine.Window{Kernel: e.Shape(x)[2:], Strides: repeat(1, rank), Dilations: repeat(1, rank),
		PadBegin: repeat(0, rank), PadEnd: repeat(0, rank), Group: 1}))
}

// lowerLpPool is the p-norm of every window: the mean of |x|^p, padding counted, times the window's size, to the 1/p.
func lowerLpPool(e *env, n *onnx.Node) error {
	x, w, err := e.pool(n)
	if err != nil {
		return err
	}
	out, err := engine.WindowShape(e.Shape(x), &w)
	if err != nil {
		return err
	}
	for i, d := range out { // what rounding up adds is padding, so that every window has the same size
		w.PadEnd[i] = max(w.PadEnd[i], (d-1)*w.Strides[i]+extent(&w, i)-e.Shape(x)[2+i]-w.PadBegin[i])
	}
	w.Ceil, w.CountPad = false, true
	power, root, err := e.powers(n)
	if err != nil {
		return err
	}
	return e.setTensor(0, root(e.Affine(e.AvgPool(power(x), w), float64(engine.Len(w.Kernel)), 0)))
}

func lowerGlobalLpPool(e *env, n *onnx.Node) error {
	x, axes, err := e.plane()
	if err != nil {
		return err
	}
	power, root, err := e.powers(n)
	if err != nil {
		return err
	}
	return e.setTensor(0, root(e.Reduce(engine.Sum, power(x), true, axes...)))
}

// powers are |x|^p and its inverse for attribute p.
func (e *env) powers(n *onnx.Node) (power, root func(engine.TensorID) engine.TensorID, err error) {
	p := n.Int("p", 2)
	switch {
	case p == 1:
		return func(x engine.TensorID) engine.TensorID { return e.Unary(engine.Abs, x) }, func(x engine.TensorID) engine.TensorID { return x }, nil
	case p == 2:
		return func(x engine.TensorID) engine.TensorID { return e.Mul(x, x) },
			func(x engine.TensorID) engine.TensorID { return e.Unary(engine.Sqrt, x) }, nil
	case p < 1:
		return nil, nil, fmt.Errorf("p = %d is out of range", p)
	}
	to := func(v float64) func(engine.TensorID) engine.TensorID {
		return func(x engine.TensorID) engine.TensorID {
			return e.Binary(engine.Pow, e.Unary(engine.Abs, x), e.Scalar(v))
		}
	}
	return to(float64(p)), to(1 / float64(p)), nil
}
