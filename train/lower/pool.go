package lower

import (
	"errors"
	"fmt"

	"netmend/engine"
	"netmend/onnx"
)

// pools over windows and over whole planes.
var pools = map[string]lowering{"MaxPool": lowerMaxPool, "AveragePool": lowerAveragePool, "GlobalAveragePool": lowerGlobalAveragePool,
	"GlobalMaxPool": lowerGlobalMaxPool, "LpPool": lowerLpPool, "GlobalLpPool": lowerGlobalLpPool}

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
	if e.wants(1) {
		return errors.New("output Indices is not supported")
	}
	x, w, err := e.pool(n)
	if err != nil {
		return err
	}
	return e.setTensor(0, e.MaxPool(x, w))
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
