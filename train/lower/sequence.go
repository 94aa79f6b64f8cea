package lower

import (
	"fmt"
	"math"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// sequences are the operators of current sequence models that the standard spells as one node.
var sequences = map[string]lowering{"RotaryEmbedding": lowerRotary, "CausalConvWithState": lowerCausalConv, "LinearAttention": lowerLinearAttention,
	"SwiGLU": lowerSwiGLU}

// lowerSwiGLU is swish_alpha(a)·b (Shazeer 2020).
func lowerSwiGLU(e *env, n *onnx.Node) error {
	a, err := e.inFloat(0)
	if err != nil {
		return err
	}
	b, err := e.inFloat(1)
	if err != nil {
		return err
	}
	if !slices.Equal(e.Shape(a), e.Shape(b)) {
		return fmt.Errorf("shapes %v and %v differ", e.Shape(a), e.Shape(b))
	}
	return e.setTensor(0, e.Mul(e.Unary(engine.Swish, a, float64(n.Float("alpha", 1))), b))
}

// take is the part of x from place from on, count long, along an axis.
func (e *env) take(x engine.TensorID, axis, from, count, step int) engine.TensorID {
	s := e.Shape(x)
	if e.Err() != nil {
		return engine.None
	}
	starts, steps, shape := repeat(0, len(s)), repeat(1, len(s)), slices.Clone(s)
	starts[axis], steps[axis], shape[axis] = from, step, count
	return e.Slice(x, starts, steps, shape)
}

// lowerRotary rotates pairs (x1, x2) of a head's first elements by the angle of their position: (x1·cos - x2·sin, x1·sin + x2·cos). Pairs
// are the two halves, or, interleaved, neighbours (Su et al. 2021).
func lowerRotary(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	s := e.Shape(x)
	shape := slices.Clone(s)
	heads := clampInt(n.Int("num_heads", 0))
	switch {
	case len(s) == 3 && heads > 0 && s[2]%heads == 0: // batch, length, heads·size
		x = e.Reshape(x, []int{s[0], s[1], heads, s[2] / heads})
	case len(s) == 4: // batch, heads, length, size
		x = e.Transpose(x, 0, 2, 1, 3)
	default:
		return fmt.Errorf("input %v with %d heads: wants 4 dimensions, or 3 that the heads divide", s, heads)
	}
	h := e.Shape(x)
	rotated := clampInt(n.Int("rotary_embedding_dim", 0))
	if rotated == 0 {
		rotated = h[3]
	}
	if rotated < 2 || rotated%2 != 0 || rotated > h[3] {
		return fmt.Errorf("rotary_embedding_dim %d of %d is not possible", rotated, h[3])
	}
	half := rotated / 2
	var turn [2]engine.TensorID // cos, sin (batch, length, 1, half)
	for i := range turn {
		c, err := e.inFloat(1 + i)
		if err != nil {
			return err
		}
		if e.has(3) {
			at, err := e.arg(3)
			if err != nil {
				return err
			}
			if len(e.Shape(c)) != 2 {
				return fmt.Errorf("a cache of positions has shape %v, wants 2 dimensions", e.Shape(c))
			}
			c = e.device(e.gather(e.floats(c), at, 0))
		}
		if e.Err() != nil {
			return e.Err()
		}
		if !slices.Equal(e.Shape(c), []int{h[0], h[1], half}) {
			return fmt.Errorf("cosines or sines have shape %v, want %v", e.Shape(c), []int{h[0], h[1], half})
		}
		turn[i] = e.Reshape(c, []int{h[0], h[1], 1, half})
	}
	cos, sin := turn[0], turn[1]
	step, second := 1, half
	if n.Int("interleaved", 0) != 0 {
		step, second = 2, 1
	}
	x1, x2 := e.take(x, 3, 0, half, step), e.take(x, 3, second, half, step)
	y1, y2 := e.Sub(e.Mul(x1, cos), e.Mul(x2, sin)), e.Add(e.Mul(x1, sin), e.Mul(x2, cos))
	y := engine.None
	if step == 2 {
		pair := []int{h[0], h[1], h[2], half, 1}
		y = e.Reshape(e.Concat(4, e.Reshape(y1, pair), e.Reshape(y2, pair)), []int{h[0], h[1], h[2], rotated})
	} else {
		y = e.Concat(3, y1, y2)
	}
	if rotated < h[3] {
		y = e.Concat(3, y, e.take(x, 3, rotated, h[3]-rotated, 1))
	}
	if len(s) == 4 {
		y = e.Transpose(y, 0, 2, 1, 3)
	}
	return e.setTensor(0, e.Reshape(y, shape))
}

// lowerCausalConv is a convolution of every channel on its own over the past state and the input, which is all that it sees of the past; the
// new state is the end of both.
func lowerCausalConv(e *env, n *onnx.Node) error {
	var in [4]engine.TensorID // input (N, C, L), weight (C, 1, k), bias (C), past state (N, C, k-1)
	for i := range in {
		var err error
		if in[i], err = e.inFloat(i); err != nil {
			return err
		}
	}
	x, w := in[0], in[1]
	s, sw := e.Shape(x), e.Shape(w)
	if len(s) != 3 || len(sw) != 3 || sw[0] != s[1] || sw[1] != 1 || sw[2] < 1 {
		return fmt.Errorf("weights %v do not fit the input %v", sw, s)
	}
	k := sw[2]
	past := []int{s[0], s[1], k - 1}
	switch {
	case k == 1:
	case in[3] == engine.None:
		x = e.Pad(x, []int{0, 0, k - 1}, []int{1, 1, 1}, []int{s[0], s[1], s[2] + k - 1}, 0)
	case !slices.Equal(e.Shape(in[3]), past):
		return fmt.Errorf("past state has shape %v, wants %v", e.Shape(in[3]), past)
	default:
		x = e.Concat(2, in[3], x)
	}
	if k > 1 || e.wants(1) {
		if err := e.setTensor(1, e.take(x, 2, s[2], k-1, 1)); err != nil {
			return err
		}
	}
	y := e.Conv(x, w, in[2], engine.Window{Kernel: []int{k}, Strides: []int{1}, Dilations: []int{1}, PadBegin: []int{0}, PadEnd: []int{0}, Group: s[1]})
	switch a := n.String("activation", "none"); a {
	case "none":
	case "silu", "swish":
		y = e.Unary(engine.Swish, y, 1)
	default:
		return fmt.Errorf("activation %q is unknown: none, silu or swish", a)
	}
	return e.setTensor(0, y)
}

const maxRecurrence = 4096 // steps that LinearAttention unrolls

// recurrence is a LinearAttention node: its update rule, its inputs and their sizes.
type recurrence struct {
	*env
	gated, delta                          bool
	in                                    [6]engine.TensorID // query, key, value, past state, decay, beta
	batch, length, queries, heads, dk, dv int
}

// lowerLinearAttention runs the recurrence of the update rule over a state S (batch, heads, d_k, d_v), one step after another:
// S = exp(g)·S (gated rules), then S += k ⊗ v, or k ⊗ b·(v - Sᵀk) (delta rules), and the output is scale·Sᵀq.
func lowerLinearAttention(e *env, n *onnx.Node) error {
	r, err := newRecurrence(e, n)
	if err != nil {
		return err
	}
	scale := float64(n.Float("scale", 0))
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(r.dk))
	}
	shape := []int{r.batch, r.heads, r.dk, r.dv}
	state := r.in[3]
	if state == engine.None {
		state = e.Broadcast(e.Scalar(0), shape)
	}
	if !slices.Equal(e.Shape(state), shape) {
		return fmt.Errorf("past state has shape %v, wants %v", e.Shape(state), shape)
	}
	var out []engine.TensorID
	for t := range r.length {
		state = r.step(state, t)
		query := r.split(r.in[0], t, r.batch, r.heads, r.queries/r.heads, r.dk)
		out = append(out, e.Reshape(e.MatMul(query, state, engine.None, false, false), []int{r.batch, 1, r.queries * r.dv}))
		if e.Err() != nil {
			return e.Err()
		}
	}
	if err := e.setTensor(1, state); err != nil {
		return err
	}
	return e.setTensor(0, e.Affine(e.Concat(1, out...), scale, 0))
}

func newRecurrence(e *env, n *onnx.Node) (*recurrence, error) {
	rule := n.String("update_rule", "gated_delta")
	r := &recurrence{env: e, gated: rule == "gated" || rule == "gated_delta", delta: rule == "delta" || rule == "gated_delta"}
	if !r.gated && !r.delta && rule != "linear" {
		return nil, fmt.Errorf("update_rule %q is unknown: linear, gated, delta or gated_delta", rule)
	}
	for i := range r.in {
		var err error
		if r.in[i], err = e.inFloat(i); err != nil {
			return nil, err
		}
		if (i < 3 || i > 3 && r.in[i] != engine.None) && len(e.Shape(r.in[i])) != 3 {
			return nil, fmt.Errorf("input %d has shape %v, wants 3 dimensions", i, e.Shape(r.in[i]))
		}
	}
	if r.gated && r.in[4] == engine.None || r.delta && r.in[5] == engine.None {
		return nil, fmt.Errorf("update_rule %q lacks its decay or beta", rule)
	}
	s := e.Shape(r.in[0])
	r.batch, r.length = s[0], s[1]
	r.queries, r.heads = clampInt(n.Int("q_num_heads", 0)), clampInt(n.Int("kv_num_heads", 0))
	if r.heads < 1 || r.queries < r.heads || r.queries > 1<<16 || r.queries%r.heads != 0 || s[2]%r.queries != 0 || r.length < 1 ||
		r.length > maxRecurrence {
		return nil, fmt.Errorf("%d query and %d key heads over %v are not possible", r.queries, r.heads, s)
	}
	r.dk, r.dv = s[2]/r.queries, e.Shape(r.in[2])[2]/r.heads
	for i := 1; i < 3; i++ {
		if x := e.Shape(r.in[i]); x[0] != r.batch || x[1] != r.length {
			return nil, fmt.Errorf("input %d has shape %v, wants batch %d and length %d", i, x, r.batch, r.length)
		}
	}
	return r, nil
}

// split takes x (batch, length, parts·size) apart for step t: (batch, parts, rows, columns).
func (r *recurrence) split(x engine.TensorID, t int, shape ...int) engine.TensorID {
	part := r.take(x, 1, t, 1, 1)
	if r.Err() == nil && engine.Len(r.Shape(part)) != engine.Len(shape) {
		return r.Fail(fmt.Errorf("%v does not fit %d heads of %d and %d", r.Shape(x), r.heads, r.dk, r.dv))
	}
	return r.Reshape(part, shape)
}

// step is the state after step t.
func (r *recurrence) step(state engine.TensorID, t int) engine.TensorID {
	key, val := r.split(r.in[1], t, r.batch, r.heads, r.dk, 1), r.split(r.in[2], t, r.batch, r.heads, 1, r.dv)
	if r.gated {
		width := 1
		if r.Shape(r.in[4])[2] != r.heads {
			width = r.dk
		}
		state = r.Mul(state, r.Unary(engine.Exp, r.split(r.in[4], t, r.batch, r.heads, width, 1)))
	}
	if r.delta {
		rate := r.heads
		if r.Shape(r.in[5])[2] == 1 {
			rate = 1
		}
		val = r.Mul(r.Sub(val, r.MatMul(key, state, engine.None, true, false)), r.split(r.in[5], t, r.batch, rate, 1, 1))
	}
	return r.Add(state, r.Mul(key, val))
}
