package lower

import (
	"errors"
	"fmt"
	"math"

	"netmend/engine"
	"netmend/onnx"
)

// normalisations, and dropout.
var normalisations = map[string]lowering{"BatchNormalization": lowerBatchNorm, "Dropout": lowerDropout, "LRN": lowerLRN,
	"InstanceNormalization": lowerInstanceNorm, "LayerNormalization": lowerLayerNorm, "GroupNormalization": lowerGroupNorm,
	"MeanVarianceNormalization": lowerMVN, "RMSNormalization": lowerRMSNorm, "LpNormalization": lowerLpNorm}

// lowerBatchNorm normalises with the batch's statistics in training and with the running ones in inference, whatever training_mode the
// exporter left. In training the running statistics become momentum·old + (1-momentum)·batch.
func lowerBatchNorm(e *env, n *onnx.Node) error {
	var in [5]engine.TensorID
	for i := range in {
		x, err := e.inFloat(i)
		if err != nil {
			return err
		}
		if x == engine.None {
			return fmt.Errorf("input %d is missing", i)
		}
		in[i] = x
	}
	if n.Int("spatial", 1) == 0 {
		return errors.New("statistics per element (spatial = 0) are not supported")
	}
	epsilon, momentum := float64(n.Float("epsilon", 1e-5)), float64(n.Float("momentum", 0.9))
	if !e.options.Training {
		if e.wants(1) || e.wants(2) || e.wants(3) || e.wants(4) {
			return errors.New("its statistics are not supported as outputs of inference")
		}
		return e.setTensor(0, e.BatchNormInfer(in[0], in[1], in[2], in[3], in[4], epsilon))
	}
	y, mean, variance := e.BatchNorm(in[0], in[1], in[2], epsilon)
	if e.Err() != nil {
		return e.Err()
	}
	count := engine.Len(e.Shape(in[0])) / max(1, e.Shape(mean)[0])
	take := 1 - momentum
	if e.options.Unbiased && count > 1 {
		take *= float64(count) / float64(count-1)
	}
	for i, batch := range []engine.TensorID{mean, variance} {
		t := 1 - momentum
		if i == 1 {
			t = take
		}
		state := in[3+i]
		if e.wants(1 + i) {
			if err := e.setTensor(1+i, e.Add(e.Affine(state, momentum, 0), e.Affine(batch, t, 0))); err != nil {
				return err
			}
		}
		if e.Program().Tensors[state].Role != engine.State {
			return fmt.Errorf("running statistics %q must be an initializer", n.Input(3+i))
		}
		e.Lerp(state, batch, momentum, t)
		if e.wants(3 + i) {
			if err := e.setTensor(3+i, batch); err != nil {
				return err
			}
		}
	}
	return e.setTensor(0, y)
}

// lowerDropout is the identity in inference. The ratio is an attribute before operator set 12, an input since.
func lowerDropout(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	rate := float64(n.Float("ratio", 0.5))
	if r, err := e.hostInput(1); err != nil {
		return err
	} else if r != nil {
		if r.size() != 1 {
			return fmt.Errorf("ratio has shape %v, wants a scalar", r.shape)
		}
		rate = r.toFloats()[0]
	}
	if r, ok := e.options.Dropout[n.Label()]; ok {
		rate = r
	}
	if !(rate >= 0 && rate <= 1) {
		return fmt.Errorf("ratio %v is outside 0..1", rate)
	}
	random := e.options.Training && rate > 0
	if e.wants(1) { // the mask: what dropout leaves of ones
		ones := e.Broadcast(e.Scalar(1), e.Shape(x))
		if random {
			ones = e.Binary(engine.Greater, e.Dropout(ones, rate, uint32(e.index)), e.Scalar(0))
		}
		if err := e.set(1, value{id: ones, elem: onnx.Bool}); err != nil {
			return err
		}
	}
	if random {
		x = e.Dropout(x, rate, uint32(e.index))
	}
	return e.setTensor(0, x)
}

// lowerLRN is x / (bias + alpha/size · sum of x² over the size channels around)^beta (Krizhevsky et al. 2012, section 3.3, with the
// standard's alpha/size). The sum is an average pool along the channels.
func lowerLRN(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s, size := e.Shape(x), n.Int("size", 0)
	if len(s) < 2 || size < 1 || size > maxDim {
		return fmt.Errorf("size %d over %v is out of range", size, s)
	}
	alpha, beta, bias := float64(n.Float("alpha", 1e-4)), float64(n.Float("beta", 0.75)), float64(n.Float("bias", 1))
	before := (int(size) - 1) / 2
	mean := e.AvgPool(e.Reshape(e.Mul(x, x), []int{s[0], 1, s[1], engine.Len(s[2:])}), engine.Window{Kernel: []int{int(size), 1},
		Strides: []int{1, 1}, Dilations: []int{1, 1}, PadBegin: []int{before, 0}, PadEnd: []int{int(size) - 1 - before, 0}, Group: 1, CountPad: true})
	scale := e.Binary(engine.Pow, e.Affine(mean, alpha, bias), e.Scalar(-beta))
	return e.setTensor(0, e.Mul(x, e.Reshape(scale, s)))
}

// normalise is (x-mean)/sqrt(var+epsilon) over axes, with the mean and 1/sqrt(var+epsilon).
func (e *env) normalise(x engine.TensorID, epsilon float64, axes ...int) (y, mean, inv engine.TensorID) {
	mean = e.Reduce(engine.Mean, x, true, axes...)
	d := e.Sub(x, mean)
	inv = e.Unary(engine.Reciprocal, e.Unary(engine.Sqrt, e.Affine(e.Reduce(engine.Mean, e.Mul(d, d), true, axes...), 1, epsilon)))
	return e.Mul(d, inv), mean, inv
}

// perChannel is input i, a vector of channels, in the shape that broadcasts along axis 1 of a tensor of so many dimensions.
func (e *env) perChannel(i, channels, rank int) (engine.TensorID, error) {
	v, err := e.inFloat(i)
	if err != nil {
		return v, err
	}
	if v == engine.None || len(e.Shape(v)) != 1 || e.Shape(v)[0] != channels {
		return v, fmt.Errorf("input %d has shape %v, wants [%d]", i, e.Shape(v), channels)
	}
	return e.Reshape(v, append([]int{channels}, repeat(1, rank-2)...)), nil
}

// scaleShift is x·scale + shift per channel (inputs 1 and 2).
func (e *env) scaleShift(x engine.TensorID) error {
	s := e.Shape(x)
	scale, err := e.perChannel(1, s[1], len(s))
	if err != nil {
		return err
	}
	shift, err := e.perChannel(2, s[1], len(s))
	if err != nil {
		return err
	}
	return e.setTensor(0, e.Add(e.Mul(x, scale), shift))
}

func lowerInstanceNorm(e *env, n *onnx.Node) error {
	x, axes, err := e.plane()
	if err != nil {
		return err
	}
	y, _, _ := e.normalise(x, float64(n.Float("epsilon", 1e-5)), axes...)
	if e.Err() != nil {
		return e.Err()
	}
	return e.scaleShift(y)
}

// lowerLayerNorm normalises over the axes from axis on; scale and shift are broadcast.
func lowerLayerNorm(e *env, n *onnx.Node) error {
	x, a, err := e.trailing(n)
	if err != nil {
		return err
	}
	if n.Int("stash_type", 1) != 1 {
		return fmt.Errorf("stash_type %d is not supported", n.Int("stash_type", 1))
	}
	y, mean, inv := e.normalise(x, float64(n.Float("epsilon", 1e-5)), a...)
	if err := e.setTensor(1, mean); err != nil {
		return err
	}
	if err := e.setTensor(2, inv); err != nil {
		return err
	}
	return e.scaled(x, y)
}

// scaled is y·scale (+ shift) with broadcasting (inputs 1 and 2), in x's shape.
func (e *env) scaled(x, y engine.TensorID) error {
	scale, err := e.inFloat(1)
	if err != nil {
		return err
	}
	if scale == engine.None {
		return errors.New("input 1 is missing")
	}
	y = e.Mul(y, scale)
	shift, err := e.inFloat(2)
	if err != nil {
		return err
	}
	if shift != engine.None {
		y = e.Add(y, shift)
	}
	if e.Err() == nil && (len(e.Shape(y)) != len(e.Shape(x)) || engine.Len(e.Shape(y)) != engine.Len(e.Shape(x))) {
		return fmt.Errorf("scale %v does not fit the input %v", e.Shape(scale), e.Shape(x))
	}
	return e.setTensor(0, y)
}

// trailing is the float input and its axes from attribute axis (default: the last) on.
func (e *env) trailing(n *onnx.Node) (x engine.TensorID, axes []int, err error) {
	x, err = e.inFloat(0)
	if err != nil {
		return x, nil, err
	}
	rank := len(e.Shape(x))
	a, err := axis(clampInt(n.Int("axis", -1)), rank)
	if err != nil {
		return x, nil, err
	}
	return x, seq(rank)[a:], nil
}

// lowerRMSNorm is x / sqrt(mean(x²)+epsilon) · scale over the axes from axis on.
func lowerRMSNorm(e *env, n *onnx.Node) error {
	x, axes, err := e.trailing(n)
	if err != nil {
		return err
	}
	root := e.Unary(engine.Sqrt, e.Affine(e.Reduce(engine.Mean, e.Mul(x, x), true, axes...), 1, float64(n.Float("epsilon", 1e-5))))
	return e.scaled(x, e.Div(x, root))
}

// lowerGroupNorm normalises groups of channels. scale and shift are per group before operator set 21, per channel since.
func lowerGroupNorm(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	groups := n.Int("num_groups", 0)
	if len(s) < 3 || groups < 1 || groups > int64(s[1]) || s[1]%int(groups) != 0 {
		return fmt.Errorf("%d groups of %v are not possible", groups, s)
	}
	g := int(groups)
	y, _, _ := e.normalise(e.Reshape(x, []int{s[0], g, engine.Len(s[1:]) / g}), float64(n.Float("epsilon", 1e-5)), 2)
	if e.Err() != nil {
		return e.Err()
	}
	if e.opset >= 21 {
		return e.scaleShift(e.Reshape(y, s))
	}
	if err := e.scaleShift(y); err != nil {
		return err
	}
	return e.setTensor(0, e.Reshape(e.values[n.Output(0)].id, s))
}

// lowerMVN is (x-mean) / (sqrt(mean(x²)-mean²) + 1e-9), as the standard's function body has it; the variance is taken around the mean.
func lowerMVN(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	axes := ints(n, "axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	if axes, err = axesOf(axes, len(e.Shape(x))); err != nil {
		return err
	}
	if len(axes) == 0 {
		return errors.New("axes are empty")
	}
	d := e.Sub(x, e.Reduce(engine.Mean, x, true, axes...))
	deviation := e.Unary(engine.Sqrt, e.Reduce(engine.Mean, e.Mul(d, d), true, axes...))
	return e.setTensor(0, e.Div(d, e.Affine(deviation, 1, 1e-9)))
}

// lowerLpNorm divides by the L1 or L2 norm along an axis; where the norm is 0 the result is 0.
func lowerLpNorm(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	a, err := axis(clampInt(n.Int("axis", -1)), len(e.Shape(x)))
	if err != nil {
		return err
	}
	var norm engine.TensorID
	switch p := n.Int("p", 2); p {
	case 1:
		norm = e.Reduce(engine.Sum, e.Unary(engine.Abs, x), true, a)
	case 2:
		norm = e.Unary(engine.Sqrt, e.Reduce(engine.Sum, e.Mul(x, x), true, a))
	default:
		return fmt.Errorf("p = %d is unknown: 1 or 2", p)
	}
	none := e.Binary(engine.Equal, norm, e.Scalar(0))
	return e.setTensor(0, e.Div(x, e.Where(none, e.Scalar(math.Inf(1)), norm)))
}
