package lower

import (
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// losses that a graph may hold itself.
var losses = map[string]lowering{"NegativeLogLikelihoodLoss": lowerNLL, "SoftmaxCrossEntropyLoss": lowerCrossEntropy}

func lowerNLL(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	return e.nll(n, x)
}

// lowerCrossEntropy is the negative log-likelihood of log(softmax(scores)) over axis 1, which is its second output.
func lowerCrossEntropy(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	if len(e.Shape(x)) < 2 {
		return fmt.Errorf("scores have shape %v, want a batch and classes", e.Shape(x))
	}
	log := e.LogSoftmax(x, 1)
	if err := e.setTensor(1, log); err != nil {
		return err
	}
	return e.nll(n, log)
}

// nll is -w[t]·x[n,t,…] of x (N, C, d…) with targets t (N, d…) and weights w (C), 0 where t is ignore_index; the mean divides by the sum of
// the weights that took part.
func (e *env) nll(n *onnx.Node, x engine.TensorID) error {
	target, err := e.arg(1)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	if len(s) < 2 || !slices.Equal(e.shape(target), slices.Concat(s[:1], s[2:])) {
		return fmt.Errorf("targets %v do not fit the scores %v", e.shape(target), s)
	}
	classes, plane := s[1], engine.Len(s[2:])
	w := e.Broadcast(e.Scalar(1), []int{classes})
	if e.has(2) {
		if w, err = e.inFloat(2); err != nil {
			return err
		}
		if !slices.Equal(e.Shape(w), []int{classes}) {
			return fmt.Errorf("weights have shape %v, want [%d]", e.Shape(w), classes)
		}
	}
	t := e.Cast(e.device(e.reshape(target, []int{s[0], plane})), engine.Int)
	hot := e.Transpose(e.OneHot(t, classes), 0, 2, 1) // N, C, d: no class where the target is none
	if n.Attr("ignore_index") != nil {
		kept := e.Affine(e.Binary(engine.Equal, e.Cast(t, engine.Float), e.Scalar(float64(n.Int("ignore_index", 0)))), -1, 1)
		hot = e.Mul(hot, e.Reshape(kept, []int{s[0], 1, plane}))
	}
	share := e.Mul(hot, e.Reshape(w, []int{classes, 1}))
	zero := e.Scalar(0)
	picked := e.Where(hot, e.Mul(share, e.Reshape(x, []int{s[0], classes, plane})), zero)
	loss := e.Unary(engine.Neg, e.Reduce(engine.Sum, picked, false, 1))
	switch reduction := n.String("reduction", "mean"); reduction {
	case "none":
		loss = e.Reshape(loss, slices.Concat(s[:1], s[2:]))
	case "sum":
		loss = e.Reduce(engine.Sum, loss, false)
	case "mean":
		loss = e.Div(e.Reduce(engine.Sum, loss, false), e.Reduce(engine.Sum, share, false))
	default:
		return fmt.Errorf("reduction %q is unknown: none, sum or mean", reduction)
	}
	return e.setTensor(0, loss)
}
