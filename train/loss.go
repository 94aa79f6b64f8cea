package train

import (
	"fmt"
	"math"

	"netmend/engine"
)

// LossNames are the losses that a recipe may name. With y the output, t the target, over the last axis of a sample (C elements), then the
// mean over everything else; ε = 1e-7:
//
//	mean_squared_error               mean (y-t)²
//	mean_absolute_error              mean |y-t|
//	mean_absolute_percentage_error   100·mean |y-t|/max(|t|, ε)
//	mean_squared_logarithmic_error   mean (log(max(y,ε)+1) - log(max(t,ε)+1))²
//	hinge, squared_hinge             mean max(0, 1-t·y), squared; targets that are all 0 or 1 become -1 or 1
//	categorical_hinge                max(0, max((1-t)·y) - Σ t·y + 1)
//	logcosh                          mean (d + softplus(-2d) - log 2), d = y-t
//	huber                            mean (|d| <= δ ? d²/2 : δ·|d| - δ²/2)
//	categorical_crossentropy         -Σ t·log p
//	sparse_categorical_crossentropy  -log p[t], t a class index
//	binary_crossentropy              mean -(t·log p + (1-t)·log(1-p))
//	kullback_leibler_divergence      Σ t·log(t/y), both clipped to [ε, 1] (Keras); t·(log t - y) with log-probabilities (PyTorch)
//	poisson                          mean (y - t·log(y+ε)); exp(y) - t·y with log-probabilities (PyTorch's log_input; its epsilon is 1e-8)
//	angle                            arccos of the cosine, clipped to ±0.99999, between the directions that two angles give (gaze estimation)
//
// p is softmax(y), softmax's or sigmoid's own input being used where the graph ends in one, so that it never over- or underflows; where
// neither logits nor such an end is there, p is y normalised and clipped as Keras does (to [ε, 1-ε]) or PyTorch does (log p >= -100).
// Sources: keras/src/losses/losses.py and keras/src/backend/tensorflow/nn.py (3.x); torch/nn/functional.py (2.x).
var LossNames = []string{"mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
	"squared_hinge", "hinge", "categorical_hinge", "logcosh", "categorical_crossentropy", "sparse_categorical_crossentropy",
	"binary_crossentropy", "kullback_leibler_divergence", "poisson", "huber", "angle"}

const (
	kerasEpsilon     = 1e-7    // keras.config.epsilon()
	torchMinLog      = -100    // torch binary_cross_entropy clamps its logarithms there
	angleClip        = 0.99999 // the published loss of the gaze network clips the cosine there
	torchMinVariance = 1e-12   // torch's BCELoss divides its gradient p-t by max(p·(1-p), 1e-12)
	torchPoissonEps  = 1e-8    // torch poisson_nll_loss's eps
	activationNone   = ""
	activationSoft   = "Softmax"
	activationLogSig = "Sigmoid"
)

// Sparse says whether a loss wants class indices instead of dense targets.
func (l Loss) Sparse() bool { return l.Name == "sparse_categorical_crossentropy" }

// lossGraph builds a loss. output is what the graph gives; where the graph ends in an activation, logits is that activation's input.
type lossGraph struct {
	*engine.Builder
	loss       Loss
	semantics  Semantics
	output     engine.TensorID
	logits     engine.TensorID // None where the graph ends otherwise
	activation string          // what turns logits into output
	axis       int             // the class axis
	target     engine.TensorID // Float with output's shape, or Int class indices for sparse losses
	binary     bool            // all targets are 0 or 1
	normalised bool            // every target row sums to one
}

// build returns the loss of every sample, shape [batch], and the tensor to differentiate in its place. The two are the same except where
// a framework's gradient is not the derivative of its loss: TensorFlow's softmax cross-entropy gives softmax(z) - t also where the targets
// do not sum to one, and PyTorch's BCELoss bounds the denominator of its gradient.
func (g *lossGraph) build() (perSample, objective engine.TensorID) {
	y, t := g.output, g.target
	if g.loss.Sparse() {
		t = g.OneHot(t, g.Shape(y)[g.axis])
		if n := len(g.Shape(y)); g.axis != n-1 { // the classes go where the output has them
			perm := append(seq(g.axis), n-1)
			for i := g.axis; i < n-1; i++ {
				perm = append(perm, i)
			}
			t = g.Transpose(t, perm...)
		}
		g.target, g.normalised = t, true
	}
	var e engine.TensorID // elementwise losses, averaged over a sample
	switch g.loss.Name {
	case "categorical_crossentropy", "sparse_categorical_crossentropy":
		return g.crossEntropy()
	case "binary_crossentropy":
		return g.binaryCrossEntropy()
	case "kullback_leibler_divergence":
		return g.kullbackLeibler()
	case "categorical_hinge":
		pos := g.Reduce(engine.Sum, g.Mul(t, y), false, g.axis)
		neg := g.Reduce(engine.Max, g.Mul(g.Affine(t, -1, 1), y), false, g.axis)
		e = g.positive(g.Affine(g.Sub(neg, pos), 1, 1))
	case "angle":
		e = g.angle()
	case "poisson":
		e = g.poisson()
	case "hinge", "squared_hinge":
		if g.binary {
			t = g.Affine(t, 2, -1)
		}
		e = g.positive(g.Affine(g.Mul(t, y), -1, 1))
		if g.loss.Name == "squared_hinge" {
			e = g.Mul(e, e)
		}
	default:
		e = g.regression(t, y)
	}
	e = g.samples(e)
	return e, e
}

// regression is the losses of the difference between output and target.
func (g *lossGraph) regression(t, y engine.TensorID) engine.TensorID {
	d := g.Sub(y, t)
	switch g.loss.Name {
	case "mean_squared_error":
		return g.Mul(d, d)
	case "mean_absolute_error":
		return g.Unary(engine.Abs, d)
	case "mean_absolute_percentage_error":
		scale := g.Binary(engine.Max, g.Unary(engine.Abs, t), g.Scalar(kerasEpsilon))
		return g.Affine(g.Unary(engine.Abs, g.Div(d, scale)), 100, 0)
	case "mean_squared_logarithmic_error":
		log1p := func(x engine.TensorID) engine.TensorID {
			return g.Unary(engine.Log, g.Affine(g.Binary(engine.Max, x, g.Scalar(kerasEpsilon)), 1, 1))
		}
		d = g.Sub(log1p(y), log1p(t))
		return g.Mul(d, d)
	case "logcosh":
		return g.Affine(g.Add(d, g.Unary(engine.Softplus, g.Affine(d, -2, 0))), 1, -math.Ln2)
	case "huber":
		delta := g.loss.Delta
		abs := g.Unary(engine.Abs, d)
		small := g.Affine(g.Mul(d, d), 0.5, 0)
		large := g.Affine(abs, delta, -delta*delta/2)
		return g.Where(g.Binary(engine.LessOrEqual, abs, g.Scalar(delta)), small, large)
	}
	return g.Fail(fmt.Errorf("train: loss %q is not known", g.loss.Name))
}

// logitsBehind gives the logits that a cross-entropy is computed from, None where it is computed from probabilities. fitting is the
// activation whose inverse the loss is. Keras takes the input of a final Softmax or Sigmoid for the logits whichever of the two the
// loss would fit and whatever from_logits says: both leave _keras_logits on their result (keras/src/activations/activations.py), which
// _get_logits of keras/src/backend/tensorflow/nn.py prefers to all else.
func (g *lossGraph) logitsBehind(fitting string) engine.TensorID {
	switch {
	case g.semantics == Keras && (g.activation == activationSoft || g.activation == activationLogSig):
		return g.logits
	case g.loss.FromLogits:
		return g.output
	case g.activation == fitting:
		return g.logits
	}
	return engine.None
}

// crossEntropy is -Σ t·log p over the class axis.
func (g *lossGraph) crossEntropy() (perSample, objective engine.TensorID) {
	if g.loss.FromLogProbabilities {
		e := g.samples(g.Unary(engine.Neg, g.Reduce(engine.Sum, g.Mul(g.target, g.output), false, g.axis)))
		return e, e
	}
	logits := g.logitsBehind(activationSoft)
	if logits == engine.None && g.semantics == Keras && g.loss.Sparse() { // TensorFlow normalises log p once more
		logits = g.Unary(engine.Log, g.Unary(engine.Clip, g.output, kerasEpsilon, 1-kerasEpsilon))
	}
	if logits == engine.None {
		p := g.Div(g.output, g.Reduce(engine.Sum, g.output, true, g.axis))
		logp := g.Unary(engine.Log, g.Unary(engine.Clip, p, kerasEpsilon, 1-kerasEpsilon))
		e := g.samples(g.Unary(engine.Neg, g.Reduce(engine.Sum, g.Mul(g.target, logp), false, g.axis)))
		return e, e
	}
	logp := g.LogSoftmax(logits, g.axis)
	e := g.samples(g.Unary(engine.Neg, g.Reduce(engine.Sum, g.Mul(g.target, logp), false, g.axis)))
	if g.semantics != Keras || g.normalised {
		return e, e
	}
	slope := g.Detach(g.Sub(g.Softmax(logits, g.axis), g.target))
	return e, g.samples(g.Reduce(engine.Sum, g.Mul(logits, slope), false, g.axis))
}

// positive is max(0, x) with TensorFlow's gradient, which passes where x is 0.
func (g *lossGraph) positive(x engine.TensorID) engine.TensorID {
	zero := g.Scalar(0)
	return g.Where(g.Binary(engine.Less, x, zero), zero, x)
}

func (g *lossGraph) binaryCrossEntropy() (perSample, objective engine.TensorID) {
	z := g.logitsBehind(activationLogSig)
	t, p := g.target, g.output
	if z != engine.None { // softplus(z) - t·z
		e := g.samples(g.Sub(g.Unary(engine.Softplus, z), g.Mul(t, z)))
		return e, e
	}
	logs := func(p engine.TensorID) engine.TensorID { return g.Unary(engine.Log, p) }
	if g.semantics == Keras {
		p = g.Unary(engine.Clip, p, kerasEpsilon, 1-kerasEpsilon)
	} else {
		logs = func(p engine.TensorID) engine.TensorID {
			return g.Binary(engine.Max, g.Unary(engine.Log, p), g.Scalar(torchMinLog))
		}
	}
	q := g.Affine(p, -1, 1)
	e := g.samples(g.Unary(engine.Neg, g.Add(g.Mul(t, logs(p)), g.Mul(g.Affine(t, -1, 1), logs(q)))))
	if g.semantics == Keras {
		return e, e
	}
	slope := g.Div(g.Sub(p, t), g.Binary(engine.Max, g.Mul(p, q), g.Scalar(torchMinVariance)))
	return e, g.samples(g.Mul(p, g.Detach(slope)))
}

func (g *lossGraph) kullbackLeibler() (perSample, objective engine.TensorID) {
	t := g.target
	var e engine.TensorID
	if g.loss.FromLogProbabilities { // xlogy(t, t) - t·y
		zero := g.Scalar(0)
		self := g.Where(g.Binary(engine.Greater, t, zero), g.Mul(t, g.Unary(engine.Log, g.Binary(engine.Max, t, g.Scalar(1e-38)))), zero)
		e = g.Sub(self, g.Mul(t, g.output))
	} else {
		t = g.Unary(engine.Clip, t, kerasEpsilon, 1)
		p := g.Unary(engine.Clip, g.output, kerasEpsilon, 1)
		e = g.Mul(t, g.Unary(engine.Log, g.Div(t, p)))
	}
	e = g.samples(g.Reduce(engine.Sum, e, false, g.axis))
	return e, e
}

func (g *lossGraph) poisson() engine.TensorID {
	y, t := g.output, g.target
	if g.loss.FromLogProbabilities {
		return g.Sub(g.Unary(engine.Exp, y), g.Mul(t, y))
	}
	eps := kerasEpsilon
	if g.semantics == PyTorch {
		eps = torchPoissonEps
	}
	return g.Sub(y, g.Mul(t, g.Unary(engine.Log, g.Affine(y, 1, eps))))
}

// angle is arccos(clip(v·w / (|v||w|))) with v(a, b) = (sin a·cos b, sin a·sin b, cos a), in radians.
func (g *lossGraph) angle() engine.TensorID {
	n := g.Shape(g.output)
	if len(n) != 2 || n[1] != 2 {
		return g.Fail(fmt.Errorf("train: loss angle needs an output of two angles per sample, got shape %v", n))
	}
	direction := func(x engine.TensorID) [3]engine.TensorID {
		col := func(i int) engine.TensorID {
			return g.Reshape(g.Slice(x, []int{0, i}, []int{1, 1}, []int{n[0], 1}), n[:1])
		}
		a, c := col(0), col(1)
		sin := g.Unary(engine.Sin, a)
		return [3]engine.TensorID{g.Mul(sin, g.Unary(engine.Cos, c)), g.Mul(sin, g.Unary(engine.Sin, c)), g.Unary(engine.Cos, a)}
	}
	dot := func(v, w [3]engine.TensorID) engine.TensorID {
		return g.Add(g.Add(g.Mul(v[0], w[0]), g.Mul(v[1], w[1])), g.Mul(v[2], w[2]))
	}
	v, w := direction(g.output), direction(g.target)
	norm := g.Mul(g.Unary(engine.Sqrt, dot(v, v)), g.Unary(engine.Sqrt, dot(w, w)))
	return g.Unary(engine.Acos, g.Unary(engine.Clip, g.Div(dot(v, w), norm), -angleClip, angleClip))
}

// samples averages over everything but the batch axis.
func (g *lossGraph) samples(e engine.TensorID) engine.TensorID {
	n := len(g.Shape(e))
	if n <= 1 {
		return e
	}
	return g.Reduce(engine.Mean, e, false, seq(n)[1:]...)
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}
