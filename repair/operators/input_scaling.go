package operators

import (
	"fmt"
	"slices"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

const (
	shiftSuffix = "_scaling_shift"
	scaleSuffix = "_scaling_scale"
)

// inputScaling scales a float input inside the graph: (x - shift) / scale with constants from the training rows as the model gets them, that
// is, after the recipe's preprocessing. So the repaired model takes the same inputs as the faulty one. Inputs of rank 2 (tables) are scaled
// per feature, others (images, signals) with one pair of numbers.
var inputScaling = operator{
	name: "input_scaling", noun: "input scaling",
	doc: "scales an input inside the graph: standardized, to 0..1, or divided by 255",
	slots: func(v *view) []repair.Slot {
		var slots []repair.Slot
		for _, in := range v.g.DataInputs() {
			if in.Type.Elem != onnx.Float32 || v.inits[in.Name+scaleSuffix] != nil || len(v.users[in.Name]) == 0 {
				continue
			}
			d := choice("none", "divide_255")
			if a, err := v.inputArray(in.Name); err == nil && a != nil && len(v.Data.Train) > 0 {
				d = choice("none", "standardize", "minmax", "divide_255")
			}
			slots = append(slots, repair.Slot{Target: in.Name, Domain: d, Current: repair.Word("none")})
		}
		return slots
	},
	apply: func(v *view, slot repair.Slot, value repair.Value) error {
		in := v.g.Input(slot.Target)
		scaler := data.Scaler{Shift: []float32{0}, Scale: []float32{255}}
		if value.Text != "divide_255" {
			a, err := v.preparedInput(in.Name)
			if err != nil {
				return err
			}
			s := data.Scaling{Mode: data.ScaleMode(value.Text), PerFeature: len(in.Type.Shape) == 2 && len(a.Shape) == 2}
			if scaler, err = data.FitScaler(a, v.Data.Train, s); err != nil {
				return err
			}
		}
		return v.insertScaling(in.Name, scaler)
	},
	words: func(v *view, slot repair.Slot, value repair.Value) string {
		return fmt.Sprintf("input %s: scaling inside the graph %s -> %s", slot.Target, slot.Current, value)
	},
}

// scalesInput says whether an initializer is the constant of an input scaling.
func (v *view) scalesInput(name string) bool {
	for i := range v.g.Inputs {
		if in := v.g.Inputs[i].Name; name == in+shiftSuffix || name == in+scaleSuffix {
			return true
		}
	}
	return false
}

// inputArray is the data's array for a graph input.
func (v *view) inputArray(name string) (*data.Array, error) {
	var names []string
	for _, in := range v.g.DataInputs() {
		names = append(names, in.Name)
	}
	match, err := data.Match(v.Data.Inputs, names)
	if err != nil {
		return nil, err
	}
	return &v.Data.Inputs[match[slices.Index(names, name)]], nil
}

// preparedInput is the data's array for a graph input after the recipe's preprocessing.
func (v *view) preparedInput(name string) (*data.Array, error) {
	a, err := v.inputArray(name)
	if err != nil {
		return nil, err
	}
	prepared, err := train.PreprocessInput(*a, name, v.Recipe, v.Data)
	return &prepared, err
}

// insertScaling puts Sub and Div behind an input. Their constants keep their values in training: frozen, and started from the model.
func (v *view) insertScaling(input string, s data.Scaler) error {
	at := input
	for _, step := range []struct {
		op, suffix string
		values     []float32
		neutral    float32
	}{{"Sub", shiftSuffix, s.Shift, 0}, {"Div", scaleSuffix, s.Scale, 1}} {
		if step.op == "Sub" && !slices.ContainsFunc(step.values, func(x float32) bool { return x != step.neutral }) {
			continue
		}
		dims := []int64{int64(len(step.values))}
		name := v.addTensor(input+step.suffix, dims, step.values, train.Initializer{Name: "model"})
		v.Recipe.Frozen = append(v.Recipe.Frozen, name)
		n := onnx.NewNode(step.op, v.g.NewName(name+"_"+step.op), []string{at, name}, []string{v.g.NewName(name + "_output")})
		if err := v.g.InsertAfter(at, n); err != nil {
			return err
		}
		at = n.Outputs[0]
	}
	return nil
}
