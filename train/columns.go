package train

import (
	"fmt"
	"math"
	"slices"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
)

// column is one array of the data set as the program loads it.
type column struct {
	name  string // of the graph's input or output
	array data.Array
}

// target is a column with what the loss wants to know about it.
type target struct {
	column
	raw                data.Array // preprocessed, not encoded: what the metric reads
	binary, normalised bool
}

func outputNames(g *onnx.Graph) []string {
	names := make([]string, len(g.Outputs))
	for i := range g.Outputs {
		names[i] = g.Outputs[i].Name
	}
	return names
}

// inputColumns pairs the model's inputs with the data's, preprocesses them and gives them the inputs' shapes.
func inputColumns(m *onnx.Model, r Recipe, d data.Splits) ([]column, error) {
	inputs := m.Graph.DataInputs()
	names := make([]string, len(inputs))
	for i := range inputs {
		names[i] = inputs[i].Name
	}
	match, err := data.Match(d.Inputs, names)
	if err != nil {
		return nil, fmt.Errorf("train: inputs: %w", err)
	}
	cols := make([]column, len(names))
	for i, name := range names {
		a, err := preprocess(d.Inputs[match[i]], name, true, r, d)
		if err != nil {
			return nil, err
		}
		v := &inputs[i]
		if a, err = data.Fit(a, dims(v)); err != nil {
			return nil, fmt.Errorf("train: input %q: %w", name, err)
		}
		if isIntegerType(v.Type.Elem) {
			ints, err := a.AsInt()
			if err != nil {
				return nil, fmt.Errorf("train: input %q takes integers: %w", name, err)
			}
			a = *ints
		} else {
			a = *a.AsFloat()
		}
		cols[i] = column{name, a}
	}
	return cols, nil
}

// ModelInputs are a data set's inputs as the model takes them: preprocessed by a recipe (the zero Recipe: not), in the model's shapes and
// element types, under the names of the graph's inputs. What preprocessing fits is fitted on all rows.
func ModelInputs(m *onnx.Model, r Recipe, set data.Set) ([]data.Array, error) {
	all := make([]int32, set.Rows())
	for i := range all {
		all[i] = int32(i)
	}
	cols, err := inputColumns(m, r, data.Splits{Set: set, Train: all})
	if err != nil {
		return nil, err
	}
	arrays := make([]data.Array, len(cols))
	for i, c := range cols {
		arrays[i] = c.array
		arrays[i].Name = c.name
	}
	return arrays, nil
}

// dims is the shape of a value with -1 for what the model leaves open; nil when it has no shape at all.
func dims(v *onnx.Value) []int {
	if !v.Type.HasShape {
		return nil
	}
	s := make([]int, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		s[i] = -1
		if d.Value >= 0 && d.Value <= math.MaxInt32 {
			s[i] = int(d.Value)
		}
	}
	return s
}

func isIntegerType(t onnx.DataType) bool {
	return t == onnx.Int64 || t == onnx.Int32 || t == onnx.Int16 || t == onnx.Int8 || t == onnx.Uint8 || t == onnx.Uint16 || t == onnx.Uint32
}

// preprocess applies the recipe's steps that concern an array, known by the data's or the graph's name.
func preprocess(a data.Array, graphName string, input bool, r Recipe, d data.Splits) (data.Array, error) {
	for i, p := range r.Preprocessing {
		if p.Array != a.Name && p.Array != graphName && !(p.Array == "" && input) {
			continue
		}
		s, err := data.FitScaler(&a, d.Train, data.Scaling{Mode: data.ScaleMode(p.Kind), PerFeature: p.PerFeature, By: float32(p.By)})
		if err != nil {
			return a, fmt.Errorf("train: preprocessing step %d: %w", i+1, err)
		}
		scaled, err := s.Apply(&a)
		if err != nil {
			return a, fmt.Errorf("train: preprocessing step %d: %w", i+1, err)
		}
		if p.Part == "" {
			a = *scaled
			continue
		}
		rows := [][]int32{d.Train}
		if p.Part == "test" {
			rows = [][]int32{d.Search, d.Holdout}
		}
		mixed := *a.AsFloat()
		mixed.Float = slices.Clone(mixed.Float)
		n := a.RowSize()
		for _, part := range rows {
			for _, row := range part {
				copy(mixed.Float[int(row)*n:(int(row)+1)*n], scaled.Float[int(row)*n:])
			}
		}
		a = mixed
	}
	for i, p := range r.Preprocessing {
		known := p.Array == "" || slices.ContainsFunc(append(slices.Clone(d.Inputs), d.Targets...), func(a data.Array) bool { return a.Name == p.Array })
		if !known && p.Array != graphName {
			return a, fmt.Errorf("train: preprocessing step %d: the data has no array %q", i+1, p.Array)
		}
	}
	return a, nil
}

// targetNames pairs targets with the graph's outputs: by name, or the only target with the only output.
func targetNames(m *onnx.Model, d data.Splits) ([]string, []int, error) {
	names := outputNames(m.Graph)
	if len(d.Targets) == 1 && len(names) == 1 {
		return names, []int{0}, nil
	}
	var used []string
	var index []int
	for i := range d.Targets {
		if !slices.Contains(names, d.Targets[i].Name) {
			return nil, nil, fmt.Errorf("train: target %q is none of the model's outputs %q: name the targets after them (y:NAME in an npz file)",
				d.Targets[i].Name, names)
		}
		used, index = append(used, d.Targets[i].Name), append(index, i)
	}
	if len(used) == 0 {
		return nil, nil, fmt.Errorf("train: the data has no targets")
	}
	return used, index, nil
}

// encode gives a target array the form that the loss reads beside an output whose sample has shape out: class indices for sparse losses,
// else the output's own shape, class indices becoming one-hot.
func encode(raw data.Array, output string, out []int, axis int, loss Loss) (target, error) {
	t := target{column: column{name: output}, raw: raw}
	size := 1
	for _, n := range out {
		size *= n
	}
	if loss.Sparse() {
		return t.sparse(out, axis-1)
	}
	a := raw
	if raw.RowSize() == 1 && size > 1 {
		labels, ok := data.Labels(&raw)
		if !ok {
			return t, fmt.Errorf("train: targets of output %q have 1 value per sample that is no class index, the output has %d", output, size)
		}
		if err := data.CheckLabels(labels, output, size); err != nil {
			return t, fmt.Errorf("train: %w", err)
		}
		hot, err := data.OneHot(&data.Array{Name: raw.Name, Shape: []int{len(labels)}, Int: labels}, size)
		if err != nil {
			return t, fmt.Errorf("train: targets of output %q: %w", output, err)
		}
		a = *hot
	}
	if a.RowSize() != size {
		return t, fmt.Errorf("train: targets of output %q have %d values per sample (shape %v), the output has %d (shape %v): %+d",
			output, a.RowSize(), a.Shape[1:], size, out, a.RowSize()-size)
	}
	f := *a.AsFloat()
	f.Shape = append([]int{raw.Rows()}, out...)
	t.array = f
	t.binary, t.normalised = true, true
	for _, v := range f.Float {
		t.binary = t.binary && (v == 0 || v == 1)
	}
	inner := engine.Len(out[axis:]) // axis counts the batch, out does not
	for at := range f.Float {
		if at/inner%out[axis-1] != 0 { // no class 0: not the first of its position
			continue
		}
		sum := 0.0
		for k := range out[axis-1] {
			sum += float64(f.Float[at+k*inner])
		}
		t.normalised = t.normalised && math.Abs(sum-1) < 1e-5
	}
	return t, nil
}

// sparse makes class indices: integers as they are, one-hot rows by their one, other numbers cut towards zero as Keras casts them.
func (t target) sparse(out []int, axis int) (target, error) {
	rest := slices.Delete(slices.Clone(out), axis, axis+1)
	size := 1
	for _, n := range rest {
		size *= n
	}
	a := t.raw
	if labels, ok := data.Labels(&a); ok && size == 1 {
		a = data.Array{Name: a.Name, Shape: []int{len(labels)}, Int: labels}
	}
	if a.RowSize() != size {
		return t, fmt.Errorf("train: targets of output %q have %d values per sample, class indices for it are %d", t.name, a.RowSize(), size)
	}
	if !a.IsInt() {
		ints := make([]int32, len(a.Float))
		for i, v := range a.Float {
			if !(math.Abs(float64(v)) < 1<<31) {
				return t, fmt.Errorf("train: targets of output %q: row %d holds %v, no class index", t.name, i/max(1, size), v)
			}
			ints[i] = int32(v)
		}
		a.Float, a.Int = nil, ints
	}
	if err := data.CheckLabels(a.Int, t.name, out[axis]); err != nil {
		return t, fmt.Errorf("train: %w", err)
	}
	t.array = data.Array{Name: a.Name, Shape: append([]int{a.Rows()}, rest...), Int: a.Int}
	t.binary, t.normalised = true, true
	return t, nil
}

// classAxis is where an output [batch, …] has its classes: axis 1 in PyTorch, the last in Keras.
func classAxis(shape []int, s Semantics) int {
	if s == PyTorch {
		return 1
	}
	return len(shape) - 1
}
