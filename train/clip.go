package train

import "netmend/engine"

// torchClipEpsilon is added to the norm by torch.nn.utils.clip_grad_norm_.
const torchClipEpsilon = 1e-6

// clipGradients appends a recipe's limits to gradients and puts the limited ones in their places; None is left alone.
func clipGradients(b *engine.Builder, grads []engine.TensorID, clip GradientClip, s Semantics) {
	b.Label("gradient clipping")
	square := func(g engine.TensorID) engine.TensorID { return b.Reduce(engine.Sum, b.Mul(g, g), false) }
	// shrink scales by min(1, limit/norm).
	shrink := func(g, sumOfSquares engine.TensorID, limit float64) engine.TensorID {
		norm := b.Unary(engine.Sqrt, sumOfSquares)
		if s == PyTorch {
			return b.Mul(g, b.Binary(engine.Min, b.Scalar(1), b.Div(b.Scalar(limit), b.Affine(norm, 1, torchClipEpsilon))))
		}
		return b.Mul(g, b.Div(b.Scalar(limit), b.Binary(engine.Max, norm, b.Scalar(limit))))
	}
	total := engine.None
	for i, g := range grads {
		if g == engine.None {
			continue
		}
		if clip.Value > 0 {
			g = b.Unary(engine.Clip, g, -clip.Value, clip.Value)
		}
		if clip.Norm > 0 {
			g = shrink(g, square(g), clip.Norm)
		}
		if grads[i] = g; clip.GlobalNorm > 0 {
			if s := square(g); total == engine.None {
				total = s
			} else {
				total = b.Add(total, s)
			}
		}
	}
	if total != engine.None {
		for i, g := range grads {
			if g != engine.None {
				grads[i] = shrink(g, total, clip.GlobalNorm)
			}
		}
	}
}
