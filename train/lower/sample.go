package lower

import (
	"errors"
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// samples read images at places that depend on data.
var samples = map[string]lowering{"GridSample": lowerGridSample, "AffineGrid": lowerAffineGrid, "RoiAlign": lowerRoiAlign}

// tap is a neighbour of every sampling place along one axis: its index (whole floats inside the axis) and its weight.
type tap struct{ index, weight engine.TensorID }

// sampler turns places along an axis of d elements into taps.
type sampler struct {
	*env
	mode, padding string
	align         bool
}

// lowerGridSample interpolates x (N, C, spatial…) at the places of a grid (N, output…, axes), which count the last axis first and run from
// -1 to 1 over it. Gradients flow to x and, through the weights, to the grid.
func lowerGridSample(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	grid, err := e.inFloat(1)
	if err != nil {
		return err
	}
	s, g := e.Shape(x), e.Shape(grid)
	rank := len(s) - 2
	if grid == engine.None || rank < 1 || rank > 3 || len(g) != rank+2 || g[rank+1] != rank || g[0] != s[0] || engine.Len(s) == 0 {
		return fmt.Errorf("grid %v does not fit %v", g, s)
	}
	volume, places := engine.Len(s[2:]), engine.Len(g[1:rank+1])
	if s[0]*volume > maxExact {
		return fmt.Errorf("an index into %d places is not exact in float32", s[0]*volume)
	}
	m := &sampler{env: e, mode: n.String("mode", "linear"), padding: n.String("padding_mode", "zeros"), align: n.Int("align_corners", 0) != 0}
	m.mode = map[string]string{"bilinear": "linear", "bicubic": "cubic"}[m.mode] + map[string]string{"linear": "linear", "cubic": "cubic", "nearest": "nearest"}[m.mode]
	if m.mode == "" || m.padding != "zeros" && m.padding != "border" && m.padding != "reflection" {
		return fmt.Errorf("mode %q with padding_mode %q is unknown", n.String("mode", "linear"), m.padding)
	}
	flat := e.Reshape(grid, []int{s[0] * places, rank})
	// The sum over all combinations of the axes' taps.
	first := make([]float64, s[0]*places)
	for k := range first {
		first[k] = float64(k / places * volume)
	}
	all := []tap{{index: e.device(hostValue(floatConstant([]int{len(first), 1}, first...))), weight: engine.None}}
	for a := range rank {
		place := e.Slice(flat, []int{0, rank - 1 - a}, []int{1, 1}, []int{s[0] * places, 1})
		var next []tap
		for _, t := range m.taps(place, s[2+a]) {
			for _, old := range all {
				w := t.weight
				if old.weight != engine.None && w != engine.None {
					w = e.Mul(old.weight, w)
				} else if w == engine.None {
					w = old.weight
				}
				next = append(next, tap{e.Add(old.index, e.Affine(t.index, float64(engine.Strides(s[2:])[a]), 0)), w})
			}
		}
		all = next
	}
	perm := append([]int{0}, seq(rank + 2)[2:]...)
	rows := e.Reshape(e.Transpose(x, append(perm, 1)...), []int{s[0] * volume, s[1]})
	y := engine.None
	for _, t := range all {
		part := e.Gather(rows, e.Reshape(e.Cast(t.index, engine.Int), []int{s[0] * places}), 0)
		if t.weight != engine.None {
			part = e.Mul(part, t.weight)
		}
		if y == engine.None {
			y = part
		} else {
			y = e.Add(y, part)
		}
	}
	y = e.Transpose(e.Reshape(y, []int{s[0], places, s[1]}), 0, 2, 1)
	return e.setTensor(0, e.Reshape(y, slices.Concat(s[:2], g[1:rank+1])))
}

// taps of places p in -1..1 along an axis of d elements.
func (m *sampler) taps(p engine.TensorID, d int) []tap {
	length := float64(d)
	if m.align {
		p = m.Affine(p, (length-1)/2, (length-1)/2)
	} else {
		p = m.Affine(p, length/2, (length-1)/2)
	}
	if m.mode == "cubic" {
		low := m.Unary(engine.Floor, p)
		f := m.Sub(p, low)
		var list []tap
		for k := -1; k <= 2; k++ {
			list = append(list, m.inside(m.pad(m.Affine(low, 1, float64(k)), length), m.cubic(m.Affine(f, 1, -float64(k)), k), d))
		}
		return list
	}
	p = m.pad(p, length)
	if m.mode == "nearest" {
		v := m.round(m.floats(p))
		return []tap{m.inside(m.device(v), engine.None, d)}
	}
	low := m.Unary(engine.Floor, p)
	f := m.Sub(p, low)
	return []tap{m.inside(low, m.Affine(f, -1, 1), d), m.inside(m.Affine(low, 1, 1), f, d)}
}

// pad moves places outside an axis to where the padding says.
func (m *sampler) pad(p engine.TensorID, length float64) engine.TensorID {
	switch m.padding {
	case "border":
		return m.Unary(engine.Clip, p, 0, length-1)
	case "reflection": // at the centres of the border elements, or at their outer edges: lo + span - ||p-lo| mod 2·span - span|
		lo, span := -0.5, length
		if m.align {
			lo, span = 0, length-1
		}
		if span == 0 {
			return m.Affine(p, 0, 0)
		}
		d := m.Unary(engine.Abs, m.Affine(p, 1, -lo))
		d = m.Sub(d, m.Affine(m.Unary(engine.Floor, m.Affine(d, 1/(2*span), 0)), 2*span, 0))
		p = m.Affine(m.Unary(engine.Abs, m.Affine(d, 1, -span)), -1, lo+span)
		return m.Unary(engine.Clip, p, 0, length-1)
	}
	return p
}

// inside gives places outside the axis an element inside, and the weight 0.
func (m *sampler) inside(index, weight engine.TensorID, d int) tap {
	in := m.Unary(engine.Clip, index, 0, float64(d-1))
	if m.padding != "zeros" {
		return tap{in, weight}
	}
	same := m.Binary(engine.Equal, in, index)
	if weight == engine.None {
		return tap{in, same}
	}
	return tap{in, m.Where(same, weight, m.Scalar(0))}
}

// cubic is the weight of tap k = -1, 0, 1, 2 at distance t = f - k: cubic convolution (Keys 1981, equation 4) with a = -0.75.
func (m *sampler) cubic(t engine.TensorID, k int) engine.TensorID {
	const a = -0.75
	if k > 0 {
		t = m.Unary(engine.Neg, t)
	}
	horner := func(c ...float64) engine.TensorID {
		y := m.Affine(t, c[0], c[1])
		for _, next := range c[2:] {
			y = m.Affine(m.Mul(y, t), 1, next)
		}
		return y
	}
	if k == 0 || k == 1 {
		return horner(a+2, -(a + 3), 0, 1)
	}
	return horner(a, -5*a, 8*a, -4*a)
}

// lowerAffineGrid maps the places of an output of the given size by theta (N, axes, axes+1).
func lowerAffineGrid(e *env, n *onnx.Node) error {
	theta, err := e.inFloat(0)
	if err != nil {
		return err
	}
	size, err := e.hostInts(1)
	if err != nil {
		return err
	}
	rank := len(size) - 2
	if rank < 1 || checkSize(size) != nil || engine.Len(size[2:]) > maxHostSize || !slices.Equal(e.Shape(theta), []int{size[0], rank, rank + 1}) {
		return fmt.Errorf("theta %v does not fit the size %v", e.Shape(theta), size)
	}
	align := n.Int("align_corners", 0) != 0
	base := floatConstant([]int{engine.Len(size[2:]), rank + 1})
	each(size[2:], func(_ int, pos []int) {
		for a := rank - 1; a >= 0; a-- {
			d := float64(size[2+a])
			p := (2*float64(pos[a])+1)/d - 1
			if align {
				p = 2*float64(pos[a])/max(1, d-1) - 1
				if d == 1 { // the middle, as in PyTorch
					p = 0
				}
			}
			base.f = append(base.f, p)
		}
		base.f = append(base.f, 1)
	})
	y := e.MatMul(e.Broadcast(e.Reshape(e.device(hostValue(base)), append([]int{1}, base.shape...)), append([]int{size[0]}, base.shape...)), theta,
		engine.None, false, true)
	return e.setTensor(0, e.Reshape(y, slices.Concat(size[:1], size[2:], []int{rank})))
}

// lowerRoiAlign pools regions of x (N, C, H, W) into output_height x output_width bins of sampling_ratio² interpolated samples (He et al.
// 2017, Mask R-CNN, section 3). rois (R, 4) are x1, y1, x2, y2, batch_indices (R) their images. Mode max takes the largest of the samples'
// weighted corners, as ONNX Runtime does. Nothing flows back to the regions, as in torchvision.
func lowerRoiAlign(e *env, n *onnx.Node) error {
	x, err := e.inFloat(0)
	if err != nil {
		return err
	}
	rois, err := e.inFloat(1)
	if err != nil {
		return err
	}
	image, err := e.arg(2)
	if err != nil {
		return err
	}
	s, regions := e.Shape(x), e.Shape(rois)
	if len(s) != 4 || len(regions) != 2 || regions[1] != 4 || !slices.Equal(e.shape(image), regions[:1]) || engine.Len(s) == 0 {
		return fmt.Errorf("regions %v of images %v do not fit %v", regions, e.shape(image), s)
	}
	if s[0]*s[2]*s[3] > maxExact {
		return fmt.Errorf("an index into %d places is not exact in float32", s[0]*s[2]*s[3])
	}
	r := &regionSampler{env: e, rois: e.Detach(rois), scale: float64(n.Float("spatial_scale", 1))}
	switch mode := n.String("coordinate_transformation_mode", "half_pixel"); {
	case mode == "half_pixel" && e.opset >= 16:
		r.half = true
	case mode != "half_pixel" && mode != "output_half_pixel":
		return fmt.Errorf("coordinate_transformation_mode %q is unknown: half_pixel or output_half_pixel", mode)
	}
	h, w := clampInt(n.Int("output_height", 1)), clampInt(n.Int("output_width", 1))
	r.samples = clampInt(n.Int("sampling_ratio", 0))
	if r.samples == 0 {
		return errors.New("sampling_ratio 0, whose samples depend on the regions' sizes, is not supported: export with a sampling ratio")
	}
	k := r.samples
	if h < 1 || w < 1 || k < 1 || max(h, w, k) > 1<<10 || checkSize([]int{regions[0], h * k, w * k, s[1]}) != nil {
		return fmt.Errorf("%d x %d bins of %d x %d samples of %v are not possible", h, w, k, k, regions)
	}
	down, across := r.corners(1, s[2], h), r.corners(0, s[3], w)
	start := e.reshape(e.affine(e.indexFloats(image), float64(s[2]*s[3]), 0), []int{regions[0], 1, 1})
	pixels := e.Reshape(e.Transpose(x, 0, 2, 3, 1), []int{s[0] * s[2] * s[3], s[1]})
	y := engine.None
	for _, a := range down {
		for _, b := range across {
			rows, columns := []int{regions[0], h * k, 1}, []int{regions[0], 1, w * k}
			index := e.Add(e.Affine(e.Reshape(a.index, rows), float64(s[3]), 0), e.Reshape(b.index, columns))
			index = e.Cast(e.Add(index, e.deviceFloat(start)), engine.Int)
			weight := e.Mul(e.Reshape(a.weight, rows), e.Reshape(b.weight, columns))
			part := e.Mul(e.Gather(pixels, index, 0), e.Reshape(weight, []int{regions[0], h * k, w * k, 1}))
			switch {
			case y == engine.None:
				y = part
			case n.String("mode", "avg") == "max":
				y = e.Binary(engine.Max, y, part)
			default:
				y = e.Add(y, part)
			}
		}
	}
	fn := engine.Mean
	if mode := n.String("mode", "avg"); mode == "max" {
		fn = engine.Max
	} else if mode != "avg" {
		return fmt.Errorf("mode %q is unknown: avg or max", mode)
	}
	y = e.Reduce(fn, e.Reshape(y, []int{regions[0], h, k, w, k, s[1]}), false, 2, 4)
	return e.setTensor(0, e.Transpose(y, 0, 3, 1, 2))
}

// regionSampler turns regions into sampling places.
type regionSampler struct {
	*env
	rois    engine.TensorID
	scale   float64
	half    bool // pixels' centres lie at their numbers: coordinates are half a pixel less
	samples int
}

// corners are the two neighbours of every sampling place (R, bins·samples) along an axis of d pixels, whose coordinates the regions give in
// columns c and c+2. Places more than a pixel outside weigh nothing, those in between are moved to the border.
func (r *regionSampler) corners(c, d, bins int) []tap {
	offset := 0.0
	if r.half {
		offset = -0.5
	}
	from, to := r.Affine(r.take(r.rois, 1, c, 1, 1), r.scale, offset), r.Affine(r.take(r.rois, 1, c+2, 1, 1), r.scale, offset)
	length := r.Sub(to, from)
	if !r.half { // at least a pixel
		length = r.Binary(engine.Max, length, r.Scalar(1))
	}
	share := floatConstant([]int{1, bins * r.samples}, make([]float64, bins*r.samples)...)
	for k := range share.f {
		share.f[k] = (float64(k) + 0.5) / float64(bins*r.samples)
	}
	p := r.Add(from, r.Mul(length, r.device(hostValue(share))))
	inside := r.Mul(r.Binary(engine.GreaterOrEqual, p, r.Scalar(-1)), r.Binary(engine.LessOrEqual, p, r.Scalar(float64(d))))
	p = r.Unary(engine.Clip, p, 0, float64(d-1))
	low := r.Unary(engine.Floor, p)
	high := r.Unary(engine.Clip, r.Affine(low, 1, 1), 0, float64(d-1))
	f := r.Sub(p, low)
	return []tap{{low, r.Mul(inside, r.Affine(f, -1, 1))}, {high, r.Mul(inside, f)}}
}
