package lower

import (
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// scatters pick and place single elements: an index of theirs counts the rows of a flattened tensor.
var scatters = map[string]lowering{"GatherElements": lowerGatherElements, "GatherND": lowerGatherND, "ScatterElements": lowerScatterElements,
	"Scatter": lowerScatterElements, "ScatterND": lowerScatterND, "TensorScatter": lowerTensorScatter, "ReverseSequence": lowerReverseSequence,
	"Compress": lowerCompress, "TopK": lowerTopK}

// maxExact bounds an index that depends on data: it is computed in float32, whose integers are exact up to 2^24.
const maxExact = 1 << 24

// indexFloats is an index for arithmetic: a constant stays on the host in float64, one that depends on data becomes a float tensor.
func (e *env) indexFloats(v value) value {
	if hosted(v) {
		return hostValue(&constant{shape: v.host.shape, elem: onnx.Float64, f: slices.Clone(v.host.toFloats())})
	}
	return e.floats(e.deviceFloat(v))
}

// wrapIndex counts negative indices from the end of an axis of size d.
func (e *env) wrapIndex(i value, d int) value {
	return e.where(e.compare(engine.Less, i, index64()), e.affine(i, 1, float64(d)), i)
}

// index64 is a constant of numbers for index arithmetic: without dimensions 0, else those of a vector in the given shape.
func index64(v ...float64) value {
	if len(v) == 0 {
		return hostValue(&constant{elem: onnx.Float64, f: []float64{0}})
	}
	return hostValue(&constant{shape: []int{len(v)}, elem: onnx.Float64, f: v})
}

// along are the numbers 0, step, 2·step, … of d places along axis a of so many dimensions.
func (e *env) along(d, step, a, rank int) value {
	v := make([]float64, d)
	for k := range v {
		v[k] = float64(k * step)
	}
	shape := repeat(1, rank)
	shape[a] = d
	return hostValue(&constant{shape: shape, elem: onnx.Float64, f: v})
}

// pickFlat gives x's rows (along axis 0) that an index of [indexFloats] names, in the index' shape.
func (e *env) pickFlat(x, i value) value {
	if e.Err() != nil {
		return value{id: engine.None}
	}
	if i.host == nil && e.shape(x)[0] > maxExact {
		return e.fail(fmt.Errorf("an index that depends on data into %d elements is not exact in float32", e.shape(x)[0]))
	}
	return e.gather(x, e.wholeIndex(i), 0)
}

// wholeIndex is an index of [indexFloats] as integers.
func (e *env) wholeIndex(i value) value {
	if i.host != nil {
		return hostValue(i.host.cast(onnx.Int64))
	}
	return e.toInt(i.id, onnx.Int64)
}

// elementIndex is the place in x, flattened, of the element that stands where the index stands but for axis a, which the index gives.
func (e *env) elementIndex(x []int, index value, a int) (value, error) {
	s, steps := e.shape(index), engine.Strides(x)
	if len(s) != len(x) {
		return value{}, fmt.Errorf("index %v and tensor %v differ in their number of dimensions", s, x)
	}
	i := e.affine(e.wrapIndex(e.indexFloats(index), x[a]), float64(steps[a]), 0)
	if index.host != nil {
		for _, k := range index.host.toInts() {
			if k < -x[a] || k >= x[a] {
				return value{}, fmt.Errorf("index %d is out of range for axis %d of %v", k, a, x)
			}
		}
	}
	for d := range s {
		if d == a {
			continue
		}
		if s[d] > x[d] {
			return value{}, fmt.Errorf("index %v reaches beyond %v", s, x)
		}
		if s[d] > 1 && e.Err() == nil {
			i = e.add(i, e.along(s[d], steps[d], d, len(s)))
		}
	}
	return i, e.Err()
}

// lowerGatherElements is y[i,j,…] = x[i,…,index[i,j,…],…], the index standing at the axis.
func lowerGatherElements(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	s := e.shape(v[0])
	a, err := axis(clampInt(n.Int("axis", 0)), len(s))
	if err != nil {
		return err
	}
	i, err := e.elementIndex(s, v[1], a)
	if err != nil {
		return err
	}
	return e.set(0, e.pickFlat(e.reshape(v[0], []int{engine.Len(s)}), i))
}

// tupleIndex is the number of the row of x that every tuple along the index' last axis names, the tuples starting at axis batch of x. x's
// axes behind the tuple are the row.
func (e *env) tupleIndex(x []int, index value, batch int) (i value, row []int, err error) {
	s := e.shape(index)
	if len(s) == 0 || batch > len(s)-1 || batch+s[len(s)-1] > len(x) || !slices.Equal(s[:batch], x[:batch]) {
		return i, nil, fmt.Errorf("index %v does not fit %v with %d batch axes", s, x, batch)
	}
	depth, lead := s[len(s)-1], s[:len(s)-1]
	steps := engine.Strides(x[:batch+depth])
	i = e.broadcast(hostValue(&constant{elem: onnx.Float64, f: []float64{0}}), lead)
	if index.host == nil { // the sum starts with what depends on data
		i = index64()
	}
	floats := e.indexFloats(index)
	for k := range depth {
		starts, shape := repeat(0, len(s)), slices.Clone(s)
		starts[len(s)-1], shape[len(s)-1] = k, 1
		part := e.slice(floats, starts, repeat(1, len(s)), shape)
		if e.Err() != nil {
			return i, nil, e.Err()
		}
		part = e.wrapIndex(e.reshape(part, lead), x[batch+k])
		if part.host != nil {
			for _, p := range part.host.f {
				if p < 0 || p >= float64(x[batch+k]) {
					return i, nil, fmt.Errorf("an index is out of range for axis %d of %v", batch+k, x)
				}
			}
		}
		i = e.add(e.affine(part, float64(steps[batch+k]), 0), i)
	}
	for b := range batch {
		i = e.add(i, e.along(x[b], steps[b], b, len(lead)))
	}
	return i, x[batch+depth:], e.Err()
}

// lowerGatherND picks the parts of x that tuples of indices name.
func lowerGatherND(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	batch := clampInt(n.Int("batch_dims", 0))
	if batch < 0 {
		return fmt.Errorf("batch_dims %d is negative", batch)
	}
	s := e.shape(v[0])
	i, row, err := e.tupleIndex(s, v[1], batch)
	if err != nil {
		return err
	}
	rows := append([]int{engine.Len(s[:len(s)-len(row)])}, row...)
	return e.set(0, e.pickFlat(e.reshape(v[0], rows), i))
}

func lowerScatterElements(e *env, n *onnx.Node) error {
	v, err := e.args(3)
	if err != nil {
		return err
	}
	s := e.shape(v[0])
	a, err := axis(clampInt(n.Int("axis", 0)), len(s))
	if err != nil {
		return err
	}
	i, err := e.elementIndex(s, v[1], a)
	if err != nil {
		return err
	}
	if !slices.Equal(e.shape(v[1]), e.shape(v[2])) {
		return fmt.Errorf("updates %v and index %v differ", e.shape(v[2]), e.shape(v[1]))
	}
	m := engine.Len(e.shape(v[2]))
	y := e.place(e.reshape(v[0], []int{engine.Len(s), 1}), e.reshape(i, []int{m}), e.reshape(v[2], []int{m, 1}), n.String("reduction", "none"))
	if e.Err() != nil {
		return e.Err()
	}
	return e.set(0, e.reshape(y, s))
}

func lowerScatterND(e *env, n *onnx.Node) error {
	v, err := e.args(3)
	if err != nil {
		return err
	}
	s := e.shape(v[0])
	i, row, err := e.tupleIndex(s, v[1], 0)
	if err != nil {
		return err
	}
	m, r := engine.Len(e.shape(i)), engine.Len(row)
	if !slices.Equal(e.shape(v[2]), slices.Concat(e.shape(i), row)) {
		return fmt.Errorf("updates have shape %v, want %v", e.shape(v[2]), slices.Concat(e.shape(i), row))
	}
	y := e.place(e.reshape(v[0], []int{engine.Len(s[:len(s)-len(row)]), r}), e.reshape(i, []int{m}), e.reshape(v[2], []int{m, r}),
		n.String("reduction", "none"))
	if e.Err() != nil {
		return e.Err()
	}
	return e.set(0, e.reshape(y, s))
}

// place puts the rows of updates (m, r) where index (m) says into x (rows, r), or combines them with what stands there. Of several for one
// place the last stands where the index is a constant; where it depends on data the standard forbids them, and their mean stands.
func (e *env) place(x, index, updates value, reduction string) value {
	if e.Err() != nil {
		return value{id: engine.None}
	}
	fn, ok := map[string]engine.Fn{"none": engine.NoFn, "add": engine.Add, "mul": engine.Mul, "max": engine.Max, "min": engine.Min}[reduction]
	if !ok {
		return e.fail(fmt.Errorf("reduction %q is unknown: none, add, mul, max or min", reduction))
	}
	if index.host == nil && e.shape(x)[0] > maxExact {
		return e.fail(fmt.Errorf("an index that depends on data into %d elements is not exact in float32", e.shape(x)[0]))
	}
	if hosted(x, index, updates) {
		return e.placeHost(x.host, index.host, updates.host, fn)
	}
	if fn == engine.Add {
		return e.add(x, e.scattered(updates, index, e.shape(x)))
	}
	if index.host == nil {
		if fn != engine.NoFn {
			return e.fail(fmt.Errorf("reduction %q with an index that depends on data is not supported", reduction))
		}
		count := e.scattered(e.broadcast(scalar(1), []int{e.shape(updates)[0], 1}), index, []int{e.shape(x)[0], 1})
		mean := e.div(e.scattered(updates, index, e.shape(x)), e.binary(engine.Max, count, scalar(1)))
		return e.where(count, mean, x)
	}
	return e.placeLayers(x, index.host, updates, fn)
}

// placeLayers is place with a constant index: the first updates of all places, then the second ones, ….
func (e *env) placeLayers(x value, index *constant, updates value, fn engine.Fn) value {
	var layers [][]int // of places in the index
	times := map[float64]int{}
	for k, p := range index.f {
		if times[p] == len(layers) {
			layers = append(layers, nil)
		}
		layers[times[p]] = append(layers[times[p]], k)
		times[p]++
	}
	if fn == engine.NoFn { // the last one of every place
		var last []int
		left := map[float64]int{}
		for k, p := range index.f {
			if left[p]++; left[p] == times[p] {
				last = append(last, k)
			}
		}
		layers = [][]int{last}
	}
	if len(layers) > 256 {
		return e.fail(fmt.Errorf("%d updates of one element are not supported", len(layers)))
	}
	for _, layer := range layers {
		at := make([]float64, len(layer))
		for k, p := range layer {
			at[k] = index.f[p]
		}
		u, i := e.gatherInts(updates, layer, 0), index64(at...)
		if len(layer) == 0 || e.Err() != nil {
			continue
		}
		if fn != engine.NoFn {
			u = e.binary(fn, e.pickFlat(x, i), u)
		}
		rows := e.shape(x)[0]
		mask := &constant{shape: []int{rows, 1}, elem: onnx.Bool, i: make([]int64, rows)}
		for _, p := range at {
			mask.i[int(p)] = 1
		}
		x = e.where(hostValue(mask), e.scattered(u, i, e.shape(x)), x)
	}
	return x
}

// scattered adds the rows of u to zeros of a shape at the rows that an index names.
func (e *env) scattered(u, index value, shape []int) value {
	i, d := e.device(e.wholeIndex(index)), e.deviceFloat(u)
	if e.Err() != nil {
		return value{id: engine.None}
	}
	y := e.Emit(engine.Op{Kind: engine.GatherGrad, In: []engine.TensorID{d, i}, Axes: []int{0}, Shape: shape})[0]
	if !e.isFloat(u) {
		return e.toInt(y, u.elem)
	}
	return value{id: y, elem: u.elem}
}

func (e *env) placeHost(x, index, updates *constant, fn engine.Fn) value {
	d, r := x.like(x.shape), x.shape[1]
	copy(d.f, x.f)
	copy(d.i, x.i)
	if d.elem != updates.elem {
		return e.fail(fmt.Errorf("places %s into %s", updates.elem, d.elem))
	}
	for k, p := range index.f {
		for c := range r {
			to, from := int(p)*r+c, k*r+c
			switch {
			case fn == engine.NoFn:
				d.copyAt(to, updates, from)
			case d.isFloat():
				d.f[to] = hostBinary[fn](d.f[to], updates.f[from])
			default:
				v, _ := intBinary(fn, d.i[to], updates.i[from]) // none of these fails
				d.i[to] = wrap(d.elem, v)
			}
		}
	}
	return hostValue(d)
}

// lowerTensorScatter writes an update (batch, …, length, …) into a cache along an axis, from place write_indices[batch] on; in mode circular
// it goes on at the beginning.
func lowerTensorScatter(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	s, u := e.shape(v[0]), e.shape(v[1])
	a, err := axis(clampInt(n.Int("axis", -2)), len(s))
	if err != nil {
		return err
	}
	if want := slices.Clone(s); len(u) != len(s) || a == 0 || u[a] > s[a] {
		return fmt.Errorf("update %v does not fit %v", u, s)
	} else if want[a] = u[a]; !slices.Equal(want, u) {
		return fmt.Errorf("update %v does not fit %v", u, s)
	}
	start := index64(make([]float64, s[0])...)
	if e.has(2) {
		w, err := e.arg(2)
		if err != nil {
			return err
		}
		start = e.indexFloats(w)
	}
	if !slices.Equal(e.shape(start), s[:1]) {
		return fmt.Errorf("write_indices have shape %v, want [%d]", e.shape(start), s[0])
	}
	i := e.add(e.reshape(start, append([]int{s[0]}, repeat(1, len(s)-1)...)), e.along(u[a], 1, a, len(s)))
	switch mode := n.String("mode", "linear"); mode {
	case "linear":
	case "circular":
		over := e.compare(engine.GreaterOrEqual, i, index64(float64(s[a])))
		i = e.where(over, e.affine(i, 1, -float64(s[a])), i)
	default:
		return fmt.Errorf("mode %q is unknown: linear or circular", mode)
	}
	if i, err = e.elementIndex(s, e.broadcast(i, u), a); err != nil {
		return err
	}
	m := engine.Len(u)
	y := e.place(e.reshape(v[0], []int{engine.Len(s), 1}), e.reshape(i, []int{m}), e.reshape(v[1], []int{m, 1}), "none")
	if e.Err() != nil {
		return e.Err()
	}
	return e.set(0, e.reshape(y, s))
}

// lowerReverseSequence turns the first sequence_lens[b] steps of every sequence round.
func lowerReverseSequence(e *env, n *onnx.Node) error {
	v, err := e.args(2)
	if err != nil {
		return err
	}
	s := e.shape(v[0])
	batch, time := n.Int("batch_axis", 1), n.Int("time_axis", 0)
	if len(s) < 2 || batch+time != 1 || batch < 0 || time < 0 {
		return fmt.Errorf("batch axis %d and time axis %d of %v: want 0 and 1 or 1 and 0", batch, time, s)
	}
	if !slices.Equal(e.shape(v[1]), []int{s[batch]}) {
		return fmt.Errorf("sequence_lens have shape %v, want [%d]", e.shape(v[1]), s[batch])
	}
	lengths := repeat(1, 2)
	lengths[batch] = s[batch]
	length, at := e.reshape(e.indexFloats(v[1]), lengths), e.along(s[time], 1, int(time), 2)
	i := e.sub(e.affine(length, 1, -1), at)
	i = e.where(e.compare(engine.Less, i, index64()), e.add(e.affine(i, 0, 0), at), i)
	i = e.add(e.affine(i, float64(engine.Strides(s[:2])[time]), 0), e.along(s[batch], engine.Strides(s[:2])[batch], int(batch), 2))
	return e.set(0, e.pickFlat(e.reshape(v[0], append([]int{s[0] * s[1]}, s[2:]...)), i))
}

// lowerCompress keeps the places of an axis whose condition, a constant, is true.
func lowerCompress(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	keep, err := e.hostInts(1)
	if err != nil {
		return err
	}
	a := 0
	if n.Attr("axis") == nil {
		x = e.reshape(x, []int{engine.Len(e.shape(x))})
	} else if a, err = axis(clampInt(n.Int("axis", 0)), len(e.shape(x))); err != nil {
		return err
	}
	var index []int
	for k, b := range keep {
		if b != 0 {
			index = append(index, k)
		}
	}
	return e.set(0, e.gatherInts(x, index, a))
}

const (
	maxTop        = 256      // of TopK's k: every one is a pass over the tensor
	lowestFloat32 = -3.40e38 // what TopK takes -Inf for, below every other float32 but for the last hundredth of the range
)

// lowerTopK takes the largest (or smallest) k elements along an axis one after another; of equal ones the first.
func lowerTopK(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	a, err := axis(clampInt(n.Int("axis", -1)), len(s))
	if err != nil {
		return err
	}
	ks, err := e.hostInts(1)
	if err != nil {
		return err
	}
	k := clampInt(n.Int("k", -1))
	if len(ks) == 1 {
		k = ks[0]
	}
	if k < 1 || k > s[a] || k > maxTop {
		return fmt.Errorf("k %d of axis %d of %v: wants 1 to %d", k, a, s, min(maxTop, s[a]))
	}
	last := slices.Insert(slices.Delete(seq(len(s)), a, a+1), len(s)-1, a)
	x = e.transpose(x, last)
	if e.Err() != nil {
		return e.Err()
	}
	moved := slices.Clone(e.shape(x))
	rows, d := engine.Len(s)/s[a], s[a]
	x = e.reshape(x, []int{rows, d})
	left := e.Detach(e.deviceFloat(x))
	if n.Int("largest", 1) == 0 {
		left = e.Unary(engine.Neg, left)
	}
	left = e.Unary(engine.Clip, left, lowestFloat32, maxShift)
	var found []engine.TensorID
	for range k {
		i := e.ArgMax(left, 1)
		found = append(found, i)
		left = e.Where(e.OneHot(e.Reshape(i, []int{rows}), d), e.Scalar(lowestFloat32*1.0005), left)
	}
	index := value{id: e.Concat(1, found...), elem: onnx.Int64}
	if e.Err() != nil {
		return e.Err()
	}
	flat := e.add(e.indexFloats(index), e.along(rows, d, 0, 2))
	y := e.pickFlat(e.reshape(x, []int{rows * d}), flat)
	if e.Err() != nil {
		return e.Err()
	}
	moved[len(moved)-1] = k
	back := slices.Insert(seq(len(s)-1), a, len(s)-1)
	for out, v := range []value{y, index} {
		v = e.reshape(v, moved)
		if e.Err() != nil {
			return e.Err()
		}
		if err := e.set(out, e.transpose(v, back)); err != nil {
			return err
		}
	}
	return nil
}
