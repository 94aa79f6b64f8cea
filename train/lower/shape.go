package lower

import (
	"errors"
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// shapes are the operators that move elements or change a shape.
var shapes = map[string]lowering{"Flatten": lowerFlatten, "Reshape": lowerReshape, "Transpose": lowerTranspose, "Squeeze": lowerSqueeze,
	"Unsqueeze": lowerUnsqueeze, "Concat": lowerConcat, "Expand": lowerExpand, "Tile": lowerTile, "Slice": lowerSlice, "Split": lowerSplit,
	"Pad": lowerPad, "DepthToSpace": lowerDepthToSpace, "SpaceToDepth": lowerSpaceToDepth, "CenterCropPad": lowerCenterCropPad}

func lowerFlatten(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	a := clampInt(n.Int("axis", 1))
	if a < 0 {
		a += len(s)
	}
	if a < 0 || a > len(s) {
		return fmt.Errorf("axis %d of a tensor of %d dimensions", n.Int("axis", 1), len(s))
	}
	return e.set(0, e.reshape(x, []int{engine.Len(s[:a]), engine.Len(s[a:])}))
}

// lowerReshape: a target of 0 keeps the input's dimension (unless allowzero), -1 stands for what is left.
func lowerReshape(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	target, err := e.intsAt("shape", 1)
	if err != nil {
		return err
	}
	if target == nil && !e.has(1) && n.Attr("shape") == nil {
		return errors.New("has no shape")
	}
	shape, err := e.target(x, target, n.Int("allowzero", 0) != 0)
	if err != nil {
		return err
	}
	return e.set(0, e.reshape(x, shape))
}

// target resolves a Reshape's target. An exporter that traced the graph with a fixed batch size wrote that size into the target: where x
// depends on a batch of another size, the target's first entry that equals the exported size means the batch, if the target does not fit
// otherwise or leaves the fit to a -1.
func (e *env) target(x value, target []int, allowZero bool) ([]int, error) {
	s := e.shape(x)
	shape, err := resolve(s, target, allowZero)
	batch, exported := e.options.Batch, e.exportBatch
	if !x.batched || exported == 0 || batch == 0 || batch == exported {
		return shape, err
	}
	if merged := mergedBatch(s, target, batch); err != nil && exported == 1 && merged != nil {
		return merged, nil
	}
	i := slices.Index(target, exported)
	if i < 0 || err == nil && (i != 0 || len(s) == 0 || s[0] != batch || !slices.Contains(target, -1)) {
		return shape, err
	}
	other := slices.Clone(target)
	other[i] = batch
	if shape, e := resolve(s, other, allowZero); e == nil {
		return shape, nil
	}
	return shape, err
}

// mergedBatch is a target whose first entry merges the batch with the axes behind it: exported with a batch of 1, it names their product
// alone. nil when that is not what the target does.
func mergedBatch(s, target []int, batch int) []int {
	if len(s) < 2 || s[0] != batch || len(target) == 0 || target[0] < 2 {
		return nil
	}
	for k := 2; k <= len(s); k++ {
		if engine.Len(s[1:k]) == target[0] {
			other := slices.Clone(target)
			other[0] *= batch
			if shape, err := resolve(s, other, false); err == nil {
				return shape
			}
		}
	}
	return nil
}

func resolve(s, target []int, allowZero bool) ([]int, error) {
	shape, rest, known := slices.Clone(target), -1, 1
	for i, d := range target {
		switch {
		case d == 0 && !allowZero:
			if i >= len(s) {
				return nil, fmt.Errorf("target %v keeps dimension %d of %v", target, i, s)
			}
			shape[i] = s[i]
		case d == -1:
			if rest >= 0 {
				return nil, fmt.Errorf("target %v leaves two dimensions open", target)
			}
			rest = i
			continue
		case d < 0 || d > maxDim:
			return nil, fmt.Errorf("target %v: %d is out of range", target, d)
		}
		if known *= shape[i]; known > maxDim {
			return nil, fmt.Errorf("cannot reshape %v to %v", s, target)
		}
	}
	if rest >= 0 {
		if known == 0 || engine.Len(s)%known != 0 {
			return nil, fmt.Errorf("cannot reshape %v to %v", s, target)
		}
		shape[rest] = engine.Len(s) / known
	} else if engine.Len(s) != known {
		return nil, fmt.Errorf("cannot reshape %v to %v", s, target)
	}
	return shape, nil
}

func lowerTranspose(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	rank := len(e.shape(x))
	perm := ints(n, "perm")
	if perm == nil {
		perm = seq(rank)
		slices.Reverse(perm)
	}
	if perm, err = axesOf(perm, rank); err != nil || len(perm) != rank {
		return fmt.Errorf("perm %v is no permutation of %d axes", ints(n, "perm"), rank)
	}
	return e.set(0, e.transpose(x, perm))
}

func lowerSqueeze(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	axes, err := e.intsAt("axes", 1)
	if err != nil {
		return err
	}
	all := axes == nil
	if axes, err = axesOf(axes, len(s)); err != nil {
		return err
	}
	var shape []int
	for i, d := range s {
		gone := slices.Contains(axes, i)
		if gone && d != 1 {
			return fmt.Errorf("axis %d of %v is not of size 1", i, s)
		}
		if !gone && !(all && d == 1) {
			shape = append(shape, d)
		}
	}
	return e.set(0, e.reshape(x, shape))
}

func lowerUnsqueeze(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	axes, err := e.intsAt("axes", 1)
	if err != nil {
		return err
	}
	if axes, err = axesOf(axes, len(s)+len(axes)); err != nil {
		return err
	}
	shape, k := make([]int, len(s)+len(axes)), 0
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = 1
		} else {
			shape[i] = s[k]
			k++
		}
	}
	return e.set(0, e.reshape(x, shape))
}

func lowerConcat(e *env, n *onnx.Node) error {
	xs, err := e.args(-1)
	if err != nil {
		return err
	}
	a, err := axis(clampInt(n.Int("axis", 1)), len(e.shape(xs[0])))
	if err != nil {
		return err
	}
	return e.set(0, e.concat(e.sameBatch(xs, a), a))
}

// sameBatch repeats what an exporter made for a batch of 1, such as a class token, for every row of the batch that it is joined with.
func (e *env) sameBatch(xs []value, axis int) []value {
	batch := e.options.Batch
	wide := slices.ContainsFunc(xs, func(x value) bool { s := e.shape(x); return x.batched && len(s) > 0 && s[0] == batch })
	if axis == 0 || batch < 2 || e.exportBatch != 1 || !wide {
		return xs
	}
	out := slices.Clone(xs)
	for i, x := range xs {
		if s := e.shape(x); !x.batched && len(s) > 0 && s[0] == 1 {
			out[i] = e.broadcast(x, append([]int{batch}, s[1:]...))
		}
	}
	return out
}

// rebatch replaces the batch size that an exporter wrote into a broadcast's target.
func (e *env) rebatch(x value, target []int) []int {
	s := e.shape(x)
	if x.batched && e.options.Batch > 0 && e.exportBatch > 1 && len(target) == len(s) && len(s) > 0 && target[0] == e.exportBatch &&
		s[0] == e.options.Batch {
		target = slices.Clone(target)
		target[0] = s[0]
	}
	return target
}

func lowerExpand(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	target, err := e.hostInts(1)
	if err != nil {
		return err
	}
	if err := checkSize(target); err != nil {
		return err
	}
	shape, err := engine.BroadcastShapes(e.shape(x), e.rebatch(x, target))
	if err != nil {
		return err
	}
	return e.set(0, e.broadcast(x, shape))
}

// lowerTile repeats x along its axes. In operator set 1 there was one axis and one count.
func lowerTile(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	repeats, err := e.hostInts(1)
	if err != nil {
		return err
	}
	if e.opset < 6 {
		at, err := e.hostInts(2)
		if err != nil {
			return err
		}
		if len(repeats) != 1 || len(at) != 1 {
			return errors.New("wants one count and one axis")
		}
		a, err := axis(at[0], len(s))
		if err != nil {
			return err
		}
		count := repeats[0]
		repeats = repeat(1, len(s))
		repeats[a] = count
	}
	if len(repeats) != len(s) {
		return fmt.Errorf("repeats %v for %d axes", repeats, len(s))
	}
	out := slices.Clone(s)
	for i, r := range repeats {
		if r < 0 || r > maxDim {
			return fmt.Errorf("repeats %v: %d is out of range", repeats, r)
		}
		if out[i] *= r; out[i] > maxDim {
			return fmt.Errorf("repeats %v of %v are too many", repeats, s)
		}
	}
	if err := checkSize(out); err != nil {
		return err
	}
	if e.isFloat(x) && x.host == nil {
		var split, wide []int
		for i, d := range s {
			split, wide = append(split, 1, d), append(wide, repeats[i], d)
		}
		return e.setTensor(0, e.Reshape(e.Broadcast(e.Reshape(x.id, split), wide), out))
	}
	for i, d := range s {
		if repeats[i] != 1 && e.Err() == nil {
			index := make([]int, out[i])
			for k := range index {
				index[k] = k % d
			}
			x = e.gatherInts(x, index, i)
		}
	}
	return e.set(0, x)
}

// lowerSlice: bounds beyond an axis are cut off at it, negative ones count from its end. Before operator set 10 they were attributes.
func lowerSlice(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	var given [4][]int
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if given[i], err = e.intsAt(name, i+1); err != nil {
			return err
		}
	}
	from, to, axes, by := given[0], given[1], given[2], given[3]
	if axes == nil {
		axes = seq(len(from))
	}
	if by == nil {
		by = repeat(1, len(from))
	}
	if axes, err = axesOf(axes, len(s)); err != nil {
		return err
	}
	if len(from) != len(to) || len(axes) != len(from) || len(by) != len(from) {
		return fmt.Errorf("%d starts, %d ends, %d axes, %d steps", len(from), len(to), len(axes), len(by))
	}
	starts, steps, shape := repeat(0, len(s)), repeat(1, len(s)), slices.Clone(s)
	for i, a := range axes {
		if by[i] == 0 {
			return errors.New("a step is 0")
		}
		starts[a], shape[a] = span(s[a], from[i], to[i], by[i])
		steps[a] = max(-maxDim, min(maxDim, by[i]))
	}
	return e.set(0, e.slice(x, starts, steps, shape))
}

// span is the first element and the number of elements of a slice of an axis of size d.
func span(d, from, to, by int) (start, count int) {
	if from < 0 {
		from += d
	}
	if to < 0 {
		to += d
	}
	if by > 0 {
		from, to = max(0, min(d, from)), max(0, min(d, to))
		return from, max(0, (to-from+by-1)/by)
	}
	from, to = max(-1, min(d-1, from)), max(-1, min(d-1, to))
	return max(0, from), max(0, (from-to-by-1)/-by)
}

// lowerSplit: sizes are an attribute or an input by the operator set; otherwise the parts are equal, the last one possibly smaller.
func lowerSplit(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	a, err := axis(clampInt(n.Int("axis", 0)), len(s))
	if err != nil {
		return err
	}
	sizes, err := e.intsAt("split", 1)
	if err != nil {
		return err
	}
	if sizes == nil {
		parts := len(n.Outputs)
		if p := n.Int("num_outputs", int64(parts)); p != int64(parts) || parts == 0 {
			return fmt.Errorf("num_outputs %d with %d outputs", p, parts)
		}
		part := (s[a] + parts - 1) / parts
		for left := s[a]; len(sizes) < parts; left -= part {
			sizes = append(sizes, max(0, min(part, left)))
		}
	}
	if len(sizes) != len(n.Outputs) {
		return fmt.Errorf("%d sizes for %d outputs", len(sizes), len(n.Outputs))
	}
	at := 0
	for i, d := range sizes {
		if d < 0 || d > s[a]-at {
			return fmt.Errorf("sizes %v do not fit axis %d of %v", sizes, a, s)
		}
		starts, shape := repeat(0, len(s)), slices.Clone(s)
		starts[a], shape[a] = at, d
		if err := e.set(i, e.slice(x, starts, repeat(1, len(s)), shape)); err != nil {
			return err
		}
		at += d
	}
	if at != s[a] {
		return fmt.Errorf("sizes %v do not fit axis %d of %v", sizes, a, s)
	}
	return nil
}

// lowerPad: negative pads cut elements off.
func lowerPad(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	begin, end, err := e.padding(n, len(e.shape(x)))
	if err != nil {
		return err
	}
	mode := n.String("mode", "constant")
	if mode != "constant" {
		for i, d := range e.shape(x) {
			index, err := padIndex(mode, d, begin[i], end[i])
			if err != nil {
				return err
			}
			if begin[i] != 0 || end[i] != 0 {
				x = e.gatherInts(x, index, i)
			}
			if e.Err() != nil {
				return e.Err()
			}
		}
		return e.set(0, x)
	}
	fill := float64(n.Float("value", 0))
	if c, err := e.hostInput(2); err != nil {
		return err
	} else if c != nil {
		if c.size() != 1 {
			return fmt.Errorf("constant_value has shape %v, wants a scalar", c.shape)
		}
		fill = c.toFloats()[0]
	}
	s := e.shape(x)
	starts, kept, at, shape := repeat(0, len(s)), slices.Clone(s), repeat(0, len(s)), slices.Clone(s)
	cut := false
	for i, d := range s {
		starts[i], at[i] = max(0, -begin[i]), max(0, begin[i])
		kept[i] = d - starts[i] - max(0, -end[i])
		shape[i] = d + begin[i] + end[i]
		if kept[i] < 0 || shape[i] < 0 {
			return fmt.Errorf("pads %v, %v cut off more than there is of %v", begin, end, s)
		}
		cut = cut || kept[i] != d
	}
	if err := checkSize(shape); err != nil {
		return err
	}
	if cut {
		x = e.slice(x, starts, repeat(1, len(s)), kept)
	}
	if e.Err() != nil || slices.Equal(shape, kept) {
		return e.set(0, x)
	}
	return e.set(0, value{id: e.Pad(e.device(x), at, repeat(1, len(s)), shape, fill), elem: x.elem})
}

// padding are the pads of every axis at its beginning and end: attribute pads (paddings in operator set 1) or input 1, of all axes or of
// those that input 3 lists.
func (e *env) padding(n *onnx.Node, rank int) (begin, end []int, err error) {
	pads := ints(n, "paddings")
	if pads == nil {
		if pads, err = e.intsAt("pads", 1); err != nil {
			return nil, nil, err
		}
	}
	axes, err := e.hostInts(3)
	if err != nil {
		return nil, nil, err
	}
	if axes == nil {
		axes = seq(rank)
	}
	if axes, err = axesOf(axes, rank); err != nil {
		return nil, nil, err
	}
	if len(pads) != 2*len(axes) {
		return nil, nil, fmt.Errorf("%d pads for %d axes", len(pads), len(axes))
	}
	begin, end = repeat(0, rank), repeat(0, rank)
	for i, a := range axes {
		begin[a], end[a] = pads[i], pads[i+len(axes)]
		if max(begin[a], end[a], -begin[a], -end[a]) > maxHostSize {
			return nil, nil, fmt.Errorf("pads %v are out of range", pads)
		}
	}
	return begin, end, nil
}

// padIndex lists which element of an axis of size d stands at every place of the padded axis.
func padIndex(mode string, d, begin, end int) ([]int, error) {
	if begin == 0 && end == 0 {
		return nil, nil
	}
	if d == 0 || d+begin+end < 0 {
		return nil, fmt.Errorf("pads %d, %d of an axis of size %d", begin, end, d)
	}
	index := make([]int, d+begin+end)
	for k := range index {
		i := k - begin
		switch mode {
		case "edge":
			i = max(0, min(d-1, i))
		case "wrap":
			i = ((i % d) + d) % d
		case "reflect":
			period := max(1, 2*(d-1))
			i = ((i % period) + period) % period
			i = min(i, 2*(d-1)-i)
		default:
			return nil, fmt.Errorf("mode %q is unknown", mode)
		}
		index[k] = i
	}
	return index, nil
}

// lowerDepthToSpace moves blocks of channels into the plane: mode DCR takes the block's place from the slow half of the channels, CRD from
// the fast one.
func lowerDepthToSpace(e *env, n *onnx.Node) error {
	x, s, b, err := e.block(n)
	if err != nil {
		return err
	}
	if s[1]%(b*b) != 0 {
		return fmt.Errorf("blocks of %d do not fit %v", b, s)
	}
	c := s[1] / (b * b)
	var y value
	switch mode := n.String("mode", "DCR"); mode {
	case "DCR":
		y = e.transpose(e.reshape(x, []int{s[0], b, b, c, s[2], s[3]}), []int{0, 3, 4, 1, 5, 2})
	case "CRD":
		y = e.transpose(e.reshape(x, []int{s[0], c, b, b, s[2], s[3]}), []int{0, 1, 4, 2, 5, 3})
	default:
		return fmt.Errorf("mode %q is unknown: DCR or CRD", mode)
	}
	if e.Err() != nil {
		return e.Err()
	}
	return e.set(0, e.reshape(y, []int{s[0], c, s[2] * b, s[3] * b}))
}

func lowerSpaceToDepth(e *env, n *onnx.Node) error {
	x, s, b, err := e.block(n)
	if err != nil {
		return err
	}
	if s[2]%b != 0 || s[3]%b != 0 {
		return fmt.Errorf("blocks of %d do not fit %v", b, s)
	}
	y := e.transpose(e.reshape(x, []int{s[0], s[1], s[2] / b, b, s[3] / b, b}), []int{0, 3, 5, 1, 2, 4})
	if e.Err() != nil {
		return e.Err()
	}
	return e.set(0, e.reshape(y, []int{s[0], s[1] * b * b, s[2] / b, s[3] / b}))
}

// block reads an image batch and a block size.
func (e *env) block(n *onnx.Node) (value, []int, int, error) {
	x, err := e.arg(0)
	if err != nil {
		return x, nil, 0, err
	}
	s, b := e.shape(x), n.Int("blocksize", 0)
	if len(s) != 4 || b < 1 || b > 1<<15 {
		return x, nil, 0, fmt.Errorf("blocksize %d over %v", b, s)
	}
	return x, s, int(b), nil
}

// lowerCenterCropPad cuts axes to a size around their middle, or puts zeros around them.
func lowerCenterCropPad(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	want, err := e.hostInts(1)
	if err != nil {
		return err
	}
	s := e.shape(x)
	axes := ints(n, "axes")
	if axes == nil {
		axes = seq(len(s))
	}
	if axes, err = axesOf(axes, len(s)); err != nil {
		return err
	}
	if len(want) != len(axes) {
		return fmt.Errorf("shape %v for %d axes", want, len(axes))
	}
	starts, kept, at, shape := repeat(0, len(s)), slices.Clone(s), repeat(0, len(s)), slices.Clone(s)
	for i, a := range axes {
		starts[a], at[a] = max(0, s[a]-want[i])/2, max(0, want[i]-s[a])/2
		kept[a], shape[a] = min(s[a], want[i]), want[i]
	}
	if err := checkSize(shape); err != nil {
		return err
	}
	if !slices.Equal(kept, s) {
		x = e.slice(x, starts, repeat(1, len(s)), kept)
	}
	if e.Err() != nil || slices.Equal(shape, kept) {
		return e.set(0, x)
	}
	return e.set(0, value{id: e.Pad(e.device(x), at, repeat(1, len(s)), shape, 0), elem: x.elem})
}
