package lower

import (
	"errors"
	"fmt"
	"math"

	"netmend/engine"
	"netmend/onnx"
)

// attention is the operator of opsets 23 and later. What exporters spell out as products, a mask and a softmax needs nothing of its own.
var attention = map[string]lowering{"Attention": lowerAttention}

// heads is an Attention node being lowered.
type heads struct {
	*env
	n       *onnx.Node
	q, k, v engine.TensorID // (batch, heads, sequence, size); k and v have the past in front
	past    int
	merged  bool // the inputs were (batch, sequence, heads·size), and so is Y
	dead    bool // rows may have nothing to attend to
}

// lowerAttention is Y = softmax(softcap(scale·Q·Kᵀ) + mask)·V for every head, softcap(x) = c·tanh(x/c) (Vaswani et al. 2017, equation 1; the
// standard's function body). Groups of query heads share a head of K and V. A query that may attend to nothing gives zeros.
func lowerAttention(e *env, n *onnx.Node) error {
	a := &heads{env: e, n: n}
	if err := a.inputs(); err != nil {
		return err
	}
	s := e.Shape(a.q)
	groups := s[1] / e.Shape(a.k)[1]
	k, v := a.repeatHeads(a.k, groups), a.repeatHeads(a.v, groups)
	scale := 1 / math.Sqrt(float64(s[3]))
	if n.Attr("scale") != nil {
		scale = float64(n.Float("scale", 1))
	}
	scores := e.Affine(e.MatMul(a.q, k, engine.None, false, true), scale, 0)
	if e.Err() != nil {
		return e.Err()
	}
	stages := []engine.TensorID{scores}
	if c := float64(n.Float("softcap", 0)); c > 0 {
		scores = e.Affine(e.Unary(engine.Tanh, e.Affine(scores, 1/c, 0)), c, 0)
	}
	stages = append(stages, scores)
	scores, err := a.masked(scores)
	if err != nil {
		return err
	}
	p := a.softmax(scores)
	stages = append(stages, scores, p)
	mode := n.Int("qk_matmul_output_mode", 0)
	if mode < 0 || mode >= int64(len(stages)) {
		return fmt.Errorf("qk_matmul_output_mode %d is unknown: 0 to 3", mode)
	}
	y := e.MatMul(p, v, engine.None, false, false)
	if a.merged && e.Err() == nil {
		o := e.Shape(y)
		y = e.Reshape(e.Transpose(y, 0, 2, 1, 3), []int{o[0], o[2], o[1] * o[3]})
	}
	for i, out := range []engine.TensorID{y, a.k, a.v, stages[mode]} {
		if err := e.setTensor(i, out); err != nil {
			return err
		}
	}
	return nil
}

// inputs reads Q, K and V as stacks of heads and joins the past to K and V.
func (a *heads) inputs() error {
	var in [3]engine.TensorID
	for i := range in {
		x, err := a.inFloat(i)
		if err != nil {
			return err
		}
		if x == engine.None || len(a.Shape(x)) != len(a.Shape(a.in(0))) {
			return fmt.Errorf("input %d is missing or has other dimensions than Q", i)
		}
		if in[i], err = a.split(x, i); err != nil {
			return err
		}
	}
	a.q, a.k, a.v = in[0], in[1], in[2]
	if a.has(4) != a.has(5) {
		return errors.New("past_key and past_value go together")
	}
	if a.has(4) {
		if a.has(6) {
			return errors.New("nonpad_kv_seqlen is not for a node with past_key")
		}
		for i, x := range []*engine.TensorID{&a.k, &a.v} {
			past, err := a.inFloat(4 + i)
			if err != nil {
				return err
			}
			if len(a.Shape(past)) != 4 {
				return fmt.Errorf("input %d has shape %v, wants 4 dimensions", 4+i, a.Shape(past))
			}
			a.past = a.Shape(past)[2]
			*x = a.Concat(2, past, *x)
		}
	}
	if a.Err() != nil {
		return a.Err()
	}
	q, k, v := a.Shape(a.q), a.Shape(a.k), a.Shape(a.v)
	if q[0] != k[0] || k[0] != v[0] || k[1] != v[1] || k[2] != v[2] || q[3] != k[3] || k[1] < 1 || q[1]%k[1] != 0 || q[3] < 1 {
		return fmt.Errorf("Q %v, K %v and V %v do not fit", q, k, v)
	}
	return nil
}

// split makes heads of input i.
func (a *heads) split(x engine.TensorID, i int) (engine.TensorID, error) {
	s := a.Shape(x)
	if len(s) == 4 {
		return x, nil
	}
	name := "kv_num_heads"
	if i == 0 {
		name = "q_num_heads"
	}
	h := a.n.Int(name, 0)
	if len(s) != 3 || h < 1 || h > int64(s[2]) || s[2]%int(h) != 0 {
		return x, fmt.Errorf("input %d has shape %v with %s = %d", i, s, name, h)
	}
	a.merged = true
	return a.Transpose(a.Reshape(x, []int{s[0], s[1], int(h), s[2] / int(h)}), 0, 2, 1, 3), a.Err()
}

// repeatHeads repeats every head so many times: head i of the result is head i/times.
func (a *heads) repeatHeads(x engine.TensorID, times int) engine.TensorID {
	if times == 1 || a.Err() != nil {
		return x
	}
	s := a.Shape(x)
	x = a.Broadcast(a.Reshape(x, []int{s[0], s[1], 1, s[2], s[3]}), []int{s[0], s[1], times, s[2], s[3]})
	return a.Reshape(x, []int{s[0], s[1] * times, s[2], s[3]})
}

// masked adds a float mask and puts -Inf where a boolean mask, the causal order, a window or padding forbids attention.
func (a *heads) masked(scores engine.TensorID) (engine.TensorID, error) {
	s := a.Shape(scores)
	queries, keys := s[2], s[3]
	forbid := func(allowed engine.TensorID) {
		scores = a.Where(allowed, scores, a.Scalar(math.Inf(-1)))
	}
	if a.has(3) {
		m, err := a.arg(3)
		if err != nil {
			return scores, err
		}
		boolean := m.elem == onnx.Bool || m.host != nil && m.host.elem == onnx.Bool
		id := a.deviceFloat(m)
		ms := a.Shape(id)
		if len(ms) < 1 || ms[len(ms)-1] > keys {
			return scores, fmt.Errorf("attn_mask has shape %v for scores of %v", ms, s)
		}
		if short := ms[len(ms)-1]; short < keys && short != 1 { // the rest is forbidden
			fill := math.Inf(-1)
			if boolean {
				fill = 0
			}
			wide := append(append([]int{}, ms[:len(ms)-1]...), keys)
			id = a.Pad(id, repeat(0, len(ms)), repeat(1, len(ms)), wide, fill)
		}
		a.dead = true
		if boolean {
			forbid(id)
		} else {
			scores = a.Add(scores, id)
		}
		if a.Err() == nil && engine.Len(a.Shape(scores)) != engine.Len(s) {
			return scores, fmt.Errorf("attn_mask has shape %v for scores of %v", ms, s)
		}
	}
	// The distance of key j from query i, which stands at offset+i.
	offset, err := a.offset(queries)
	if err != nil {
		return scores, err
	}
	count := func(n int, shape ...int) engine.TensorID {
		v := make([]float64, n)
		for i := range v {
			v[i] = float64(i)
		}
		return a.Program().NewConstant("", engine.Float, shape, v)
	}
	key := count(keys, 1, keys)
	distance := a.Sub(a.Sub(key, count(queries, queries, 1)), offset)
	if a.n.Int("is_causal", 0) != 0 {
		forbid(a.Binary(engine.LessOrEqual, distance, a.Scalar(0)))
	}
	if w := a.n.Int("left_window_size", -1); w >= 0 {
		a.dead = true
		forbid(a.Binary(engine.GreaterOrEqual, distance, a.Scalar(-float64(w))))
	}
	if w := a.n.Int("right_window_size", -1); w >= 0 {
		a.dead = true
		forbid(a.Binary(engine.LessOrEqual, distance, a.Scalar(float64(w))))
	}
	if a.has(6) {
		a.dead = true
		lens := a.Affine(offset, 1, float64(queries))
		forbid(a.Binary(engine.Less, key, lens))
	}
	return scores, a.Err()
}

// offset is the place of the first query: behind the past, or at the end of what is no padding, then (batch, 1, 1, 1).
func (a *heads) offset(queries int) (engine.TensorID, error) {
	if !a.has(6) {
		return a.Scalar(float64(a.past)), nil
	}
	lens, err := a.arg(6)
	if err != nil {
		return engine.None, err
	}
	batch := a.Shape(a.q)[0]
	if s := a.shape(lens); len(s) != 1 || s[0] != batch {
		return engine.None, fmt.Errorf("nonpad_kv_seqlen has shape %v, wants [%d]", s, batch)
	}
	return a.Affine(a.Reshape(a.deviceFloat(lens), []int{batch, 1, 1, 1}), 1, -float64(queries)), a.Err()
}

// softmax over the keys; zeros where all of them are -Inf.
func (a *heads) softmax(scores engine.TensorID) engine.TensorID {
	if !a.dead {
		return a.Softmax(scores, 3)
	}
	none := a.Binary(engine.Equal, a.Reduce(engine.Max, scores, true, 3), a.Scalar(math.Inf(-1)))
	zero := a.Scalar(0)
	return a.Where(none, zero, a.Softmax(a.Where(none, zero, scores), 3))
}
