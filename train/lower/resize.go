package lower

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// resizes change the resolution of images.
var resizes = map[string]lowering{"Resize": lowerResize, "Upsample": lowerUpsample}

// resizing is how an axis is resampled; the names are ONNX'.
type resizing struct {
	mode, coordinates, nearest string
	cubic                      float64
	antialias, exclude         bool
	extrapolation              float64
}

// nearestBefore11 is nearest as Resize meant it before it had the attribute nearest_mode: a place between two elements is the one before it
// where the axis grows and the one behind it where it shrinks (the node test resize_downsample_nearest of ONNX 1.5; ResizeNearestMode::SIMPLE
// in ONNX Runtime's core/providers/cpu/tensor/upsamplebase.h).
const nearestBefore11 = "(before 11)"

// taps are, for every element of the output, the elements of the input that it is made of and their weights.
type taps struct {
	index  [][]int
	weight [][]float64
	beyond []bool // outside the region of tf_crop_and_resize
}

// resample makes the taps of an axis of in elements, of which out are wanted. from and to are the region of tf_crop_and_resize.
func (r *resizing) resample(in, out int, scale, from, to float64) (*taps, error) {
	t := &taps{beyond: make([]bool, out)}
	for i := range out {
		x, err := r.coordinate(float64(i), in, out, scale, from, to)
		if err != nil {
			return nil, err
		}
		t.beyond[i] = r.coordinates == "tf_crop_and_resize" && (x < 0 || x > float64(in-1))
		index, weight, err := r.kernel(x, in, scale)
		if err != nil {
			return nil, err
		}
		t.index, t.weight = append(t.index, index), append(t.weight, weight)
	}
	return t, nil
}

// coordinate is the place in the input of element i of the output: attribute coordinate_transformation_mode of Resize.
func (r *resizing) coordinate(i float64, in, out int, scale, from, to float64) (float64, error) {
	length, resized := float64(in), float64(in)*scale // scales need not make whole sizes, and the formulas take the broken one
	switch r.coordinates {
	case "half_pixel":
		return (i+0.5)/scale - 0.5, nil
	case "half_pixel_symmetric":
		adjustment := float64(out) / resized
		return length/2*(1-adjustment) + (i+0.5)/scale - 0.5, nil
	case "pytorch_half_pixel":
		if out == 1 {
			return 0, nil
		}
		return (i+0.5)/scale - 0.5, nil
	case "align_corners":
		if out == 1 {
			return 0, nil
		}
		return i * (length - 1) / (resized - 1), nil
	case "asymmetric":
		return i / scale, nil
	case "tf_crop_and_resize":
		if out == 1 {
			return 0.5 * (from + to) * (length - 1), nil
		}
		return from*(length-1) + i*(to-from)*(length-1)/(resized-1), nil
	}
	return 0, fmt.Errorf("coordinate_transformation_mode %q is unknown", r.coordinates)
}

// kernel gives the elements around x and their weights. With antialias a reduction spreads the kernel over 1/scale elements.
func (r *resizing) kernel(x float64, in int, scale float64) ([]int, []float64, error) {
	at := func(i float64) int { return int(max(0, min(float64(in-1), i))) }
	if r.mode == "nearest" {
		round, ok := map[string]func(float64) float64{"round_prefer_floor": func(x float64) float64 { return math.Ceil(x - 0.5) },
			"round_prefer_ceil": func(x float64) float64 { return math.Floor(x + 0.5) }, "floor": math.Floor, "ceil": math.Ceil}[r.nearest]
		if r.nearest == nearestBefore11 {
			if round, ok = math.Floor, true; scale < 1 {
				round = math.Ceil
			}
		}
		if !ok {
			return nil, nil, fmt.Errorf("nearest_mode %q is unknown", r.nearest)
		}
		return []int{at(round(x))}, []float64{1}, nil
	}
	f, radius := linearKernel, 1.0
	if r.mode == "cubic" {
		f, radius = r.cubicKernel, 2
	}
	stretch := 1.0
	if r.antialias && scale < 1 {
		stretch = scale
		radius /= scale
	}
	var index []int
	var weight []float64
	sum := 0.0
	for i := math.Floor(x-radius) + 1; i <= math.Floor(x)+math.Ceil(radius); i++ {
		w := f((i - x) * stretch)
		outside := i < 0 || i > float64(in-1)
		if w == 0 || r.exclude && outside {
			continue
		}
		if k := at(i); len(index) > 0 && index[len(index)-1] == k { // elements beyond the border are those at it
			weight[len(weight)-1] += w
		} else {
			index, weight = append(index, k), append(weight, w)
		}
		sum += w
	}
	for k := range weight {
		weight[k] /= sum
	}
	if len(index) == 0 {
		return nil, nil, errors.New("an element has no neighbours")
	}
	return index, weight, nil
}

func linearKernel(x float64) float64 { return max(0, 1-math.Abs(x)) }

// cubicKernel is the cubic convolution of Keys 1981, equation 4, with a = cubic_coeff_a.
func (r *resizing) cubicKernel(x float64) float64 {
	a, d := r.cubic, math.Abs(x)
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

// interpolate replaces axis a of x by what the taps make of it: a sum over as many gathers as an element has taps.
func (e *env) interpolate(x value, a int, t *taps) value {
	most := 0
	for _, index := range t.index {
		most = max(most, len(index))
	}
	if most == 1 {
		index := make([]int, len(t.index))
		for i, k := range t.index {
			index[i] = k[0]
		}
		return e.repeatOrGather(x, index, a)
	}
	shape := repeat(1, len(e.shape(x)))
	shape[a] = len(t.index)
	var y value
	for k := range most {
		index, weight := make([]int, len(t.index)), make([]float64, len(t.index))
		for i := range index {
			index[i] = t.index[i][min(k, len(t.index[i])-1)] // an element of fewer taps takes its last one again, with weight 0
			if k < len(t.weight[i]) {
				weight[i] = t.weight[i][k]
			}
		}
		part := e.mul(e.gatherInts(x, index, a), hostValue(floatConstant(shape, weight...)))
		if k == 0 {
			y = part
		} else {
			y = e.add(y, part)
		}
		if e.Err() != nil {
			return value{id: engine.None}
		}
	}
	return y
}

// repeatOrGather picks elements along an axis; where every element is repeated as often, without a gather.
func (e *env) repeatOrGather(x value, index []int, a int) value {
	s := e.shape(x)
	times, even := len(index)/max(1, s[a]), len(index)%max(1, s[a]) == 0
	for i, k := range index {
		even = even && k == i/max(1, times)
	}
	if !even || x.host != nil || !e.isFloat(x) {
		return e.gatherInts(x, index, a)
	}
	if times == 1 {
		return x
	}
	one := slices.Insert(slices.Clone(s), a+1, 1)
	many := slices.Clone(one)
	many[a+1] = times
	out := slices.Clone(s)
	out[a] = len(index)
	x.id = e.Reshape(e.Broadcast(e.Reshape(x.id, one), many), out)
	return x
}

// lowerUpsample is Resize as it was before operator set 10: places are i/scale, rounded down.
func lowerUpsample(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	scales, err := e.floatsAt("scales", 1)
	if err != nil {
		return err
	}
	if scales == nil && n.Attr("width_scale") != nil { // operator set 1
		scales = []float64{1, 1, float64(n.Float("height_scale", 1)), float64(n.Float("width_scale", 1))}
	}
	r := &resizing{mode: n.String("mode", "nearest"), coordinates: "asymmetric", nearest: "floor"}
	return e.resize(r, x, scales, nil, nil, seq(len(e.shape(x))))
}

// floatsAt is a list of numbers that older operator sets take as an attribute and newer ones as input i; nil when there is none.
func (e *env) floatsAt(attr string, i int) ([]float64, error) {
	if v, ok := e.node.Floats(attr); ok {
		out := make([]float64, len(v))
		for k, x := range v {
			out[k] = float64(x)
		}
		return out, nil
	}
	c, err := e.hostInput(i)
	if err != nil || c == nil || c.size() == 0 {
		return nil, err
	}
	return c.toFloats(), nil
}

func lowerResize(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	if e.opset < 11 {
		scales, err := e.floatsAt("scales", 1)
		if err != nil {
			return err
		}
		r := &resizing{mode: n.String("mode", "nearest"), coordinates: "asymmetric", nearest: nearestBefore11}
		return e.resize(r, x, scales, nil, nil, seq(len(e.shape(x))))
	}
	r := &resizing{mode: n.String("mode", "nearest"), coordinates: n.String("coordinate_transformation_mode", "half_pixel"),
		nearest: n.String("nearest_mode", "round_prefer_floor"), cubic: float64(n.Float("cubic_coeff_a", -0.75)),
		antialias: n.Int("antialias", 0) != 0, exclude: n.Int("exclude_outside", 0) != 0, extrapolation: float64(n.Float("extrapolation_value", 0))}
	axes := ints(n, "axes")
	if axes == nil {
		axes = seq(len(e.shape(x)))
	}
	if axes, err = axesOf(axes, len(e.shape(x))); err != nil {
		return err
	}
	var roi []float64
	if r.coordinates == "tf_crop_and_resize" {
		if roi, err = e.floatsAt("roi", 1); err != nil {
			return err
		}
		if len(roi) != 2*len(axes) {
			return fmt.Errorf("roi has %d numbers for %d axes", len(roi), len(axes))
		}
	}
	scales, err := e.floatsAt("scales", 2)
	if err != nil {
		return err
	}
	sizes, err := e.hostInts(3)
	if err != nil {
		return err
	}
	if sizes != nil {
		if len(sizes) != len(axes) {
			return fmt.Errorf("%d sizes for %d axes", len(sizes), len(axes))
		}
		scales = nil
		if sizes, err = fitSizes(e.shape(x), e.resizedBatch(x, sizes, axes), axes, n.String("keep_aspect_ratio_policy", "stretch")); err != nil {
			return err
		}
	}
	return e.resize(r, x, scales, sizes, roi, axes)
}

// resizedBatch replaces the batch size that an exporter wrote into the sizes.
func (e *env) resizedBatch(x value, sizes, axes []int) []int {
	s := e.shape(x)
	if !x.batched || e.options.Batch == 0 || len(axes) != len(s) || axes[0] != 0 || sizes[0] != e.exportBatch || s[0] != e.options.Batch {
		return sizes
	}
	sizes = slices.Clone(sizes)
	sizes[0] = s[0]
	return sizes
}

// fitSizes keeps the aspect ratio where the policy says so: the same scale for all axes, the smallest or the largest that the sizes allow.
func fitSizes(s, sizes, axes []int, policy string) ([]int, error) {
	scale := 0.0
	for k, a := range axes {
		if sizes[k] < 1 || sizes[k] > maxDim || s[a] < 1 {
			return nil, fmt.Errorf("sizes %v of %v are out of range", sizes, s)
		}
		one := float64(sizes[k]) / float64(s[a])
		switch {
		case k == 0, policy == "not_larger" && one < scale, policy == "not_smaller" && one > scale:
			scale = one
		}
	}
	switch policy {
	case "stretch":
		return sizes, nil
	case "not_larger", "not_smaller":
	default:
		return nil, fmt.Errorf("keep_aspect_ratio_policy %q is unknown", policy)
	}
	out := slices.Clone(sizes)
	for k, a := range axes {
		out[k] = int(math.Floor(scale*float64(s[a]) + 0.5))
	}
	return out, nil
}

// resize resamples x along axes, one after another: by scales, or to sizes.
func (e *env) resize(r *resizing, x value, scales []float64, sizes []int, roi []float64, axes []int) error {
	if r.mode == "bilinear" || r.mode == "trilinear" { // of Upsample in old operator sets
		r.mode = "linear"
	}
	if r.mode != "nearest" && r.mode != "linear" && r.mode != "cubic" {
		return fmt.Errorf("mode %q is unknown: nearest, linear or cubic", r.mode)
	}
	if sizes == nil && len(scales) != len(axes) {
		return fmt.Errorf("%d scales for %d axes", len(scales), len(axes))
	}
	var beyond []value // set after all axes: an interpolation along the next one must not take it in
	for k, a := range axes {
		s := e.shape(x)
		in, from, to := s[a], 0.0, 1.0
		scale, out := 0.0, 0
		if sizes != nil {
			out, scale = sizes[k], float64(sizes[k])/float64(max(1, in))
		} else {
			scale = scales[k]
			out = int(max(0, min(maxDim, math.Floor(float64(in)*scale))))
		}
		if roi != nil {
			from, to = roi[k], roi[len(axes)+k]
		}
		if in == 0 || out < 1 || out > maxHostSize || !(scale > 0) {
			return fmt.Errorf("axis %d of %v by %v is out of range", a, s, scale)
		}
		if in == out && scale == 1 && (r.coordinates != "tf_crop_and_resize" || from == 0 && to == 1) {
			continue
		}
		t, err := r.resample(in, out, scale, from, to)
		if err != nil {
			return err
		}
		if !e.isFloat(x) && r.mode != "nearest" {
			return fmt.Errorf("mode %q of integers is not supported", r.mode)
		}
		wide := slices.Clone(s)
		if wide[a] = out; checkSize(wide) != nil {
			return checkSize(wide)
		}
		if x = e.interpolate(x, a, t); e.Err() != nil {
			return e.Err()
		}
		if slices.Contains(t.beyond, true) {
			mask := &constant{shape: append([]int{out}, repeat(1, len(s)-1-a)...), elem: onnx.Bool, i: make([]int64, out)}
			for i, b := range t.beyond {
				mask.i[i] = int64(bit(b))
			}
			beyond = append(beyond, hostValue(mask))
		}
	}
	for _, mask := range beyond {
		x = e.where(mask, scalar(r.extrapolation), x)
	}
	return e.set(0, x)
}
