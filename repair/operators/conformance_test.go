package operators

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train/traintest"
)

// subject reads one of the exported fixtures.
func subject(t testing.TB, name string) repair.Subject {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	return repair.Subject{Model: m, Recipe: r, Data: d}
}

func fixtures(t testing.TB) []string {
	t.Helper()
	names := traintest.Exports(t)
	if len(names) < 13 {
		t.Fatalf("only %d fixtures: %v", len(names), names)
	}
	return names
}

// fingerprint is everything of a subject that an operator could change.
func fingerprint(t testing.TB, s repair.Subject) string {
	t.Helper()
	m, err := s.Model.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := json.Marshal(s.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	return string(m) + string(r)
}

// samples are values of a domain: all choices, or both ends and what is between.
func samples(d repair.Domain) []repair.Value {
	switch d.Kind {
	case repair.Choice:
		return d.Choices
	case repair.Integer:
		return []repair.Value{repair.Num(d.Min), repair.Num(float64(int(d.Min+d.Max) / 2)), repair.Num(d.Max)}
	}
	return []repair.Value{repair.Num(d.Min), repair.Num(d.Min + (d.Max-d.Min)/3), repair.Num(d.Max)}
}

// checkSubject says what is wrong with an edited subject; before are the types of the graph that it was made from.
func checkSubject(before repair.Subject, s repair.Subject, newOutput bool) error {
	if err := onnx.Check(s.Model); err != nil {
		return err
	}
	if err := s.Recipe.Check(); err != nil {
		return err
	}
	was, err := onnx.InferShapes(before.Model)
	if err != nil {
		return err
	}
	now, err := onnx.InferShapes(s.Model)
	if err != nil {
		return err
	}
	if len(before.Model.Graph.Outputs) != len(s.Model.Graph.Outputs) {
		return fmt.Errorf("the graph has other outputs")
	}
	for _, o := range before.Model.Graph.Outputs {
		if a, b := was[o.Name].String(), now[o.Name].String(); a != b && !newOutput {
			return fmt.Errorf("output %q was %s, is %s", o.Name, a, b)
		}
	}
	inputs := func(m *onnx.Model) (names []string) {
		for _, in := range m.Graph.DataInputs() {
			names = append(names, in.Name+in.Type.String())
		}
		return names
	}
	if a, b := inputs(before.Model), inputs(s.Model); !slices.Equal(a, b) {
		return fmt.Errorf("inputs were %v, are %v", a, b)
	}
	names := map[string]bool{}
	for _, n := range s.Model.Graph.Nodes {
		if n.Name == "" || names[n.Name] {
			return fmt.Errorf("node name %q is empty or used twice", n.Name)
		}
		names[n.Name] = true
	}
	for name := range s.Recipe.Initializers {
		if s.Model.Graph.Initializer(name) == nil {
			return fmt.Errorf("the recipe initializes %q, which is not in the graph", name)
		}
	}
	for _, x := range s.Model.Graph.Initializers {
		if _, err := x.Raw(); err != nil {
			return err
		}
		if _, known := s.Recipe.Initializers[x.Name]; !known && before.Model.Graph.Initializer(x.Name) == nil && x.Type.IsFloat() {
			return fmt.Errorf("new tensor %q has no initializer in the recipe", x.Name)
		}
	}
	return nil
}

// TestConformance applies every operator to every slot of every fixture with several values.
func TestConformance(t *testing.T) {
	applied := map[string]int{}
	for _, name := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			s := subject(t, name)
			nameNodes(s) // so that naming them is no change
			before := fingerprint(t, s)
			for _, o := range All() {
				for _, slot := range o.Slots(s) {
					if slot.Operator != o.Name() || slot.Target == "" {
						t.Fatalf("%s: slot %+v", o.Name(), slot)
					}
					applied[o.Name()] += conform(t, s, o, slot)
				}
			}
			if fingerprint(t, s) != before {
				t.Fatal("an operator changed the subject that it was given")
			}
		})
	}
	for _, o := range All() {
		if applied[o.Name()] == 0 && o.Name() != "preprocessing" { // no export has preprocessing; see TestPreprocessing
			t.Errorf("operator %s has no slot on any fixture", o.Name())
		}
	}
	t.Logf("edits applied: %v", applied)
}

// turn makes the slots of large fixtures share out the values.
var turn int

func conform(t *testing.T, s repair.Subject, o repair.Operator, slot repair.Slot) (applied int) {
	before := fingerprint(t, s)
	values := samples(slot.Domain)
	if len(s.Model.Graph.Nodes) > 60 && len(values) > 6 { // dozens of layers of one kind: a part of the values for each
		turn++
		values = values[turn%4*len(values)/4 : (turn%4+1)*len(values)/4]
	}
	if testing.Short() && len(values) > 2 { // for the race detector, which is slow
		values = []repair.Value{values[0], values[len(values)-1]}
	}
	for _, value := range values {
		e := repair.Edit{Operator: o.Name(), Target: slot.Target, Value: value}
		got, err := o.Apply(s, e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if value == slot.Current {
			if fingerprint(t, got) != before {
				t.Errorf("%s changes something although it is the current value", e)
			}
			continue
		}
		applied++
		if err := checkSubject(s, got, o.Name() == "output_head"); err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if fingerprint(t, got) == before {
			t.Errorf("%s changes nothing", e)
		}
		if again, err := o.Apply(s, e); applied < 3 && (err != nil || fingerprint(t, again) != fingerprint(t, got)) {
			t.Errorf("%s is not repeatable (%v)", e, err)
		}
		words := o.Words(s, e)
		if words == "" || slot.Target != recipeTarget && !strings.Contains(words, strings.SplitN(slot.Target, ":", 2)[0]) {
			t.Errorf("%s: words %q do not name the target", e, words)
		}
		checkRoundTrip(t, e)
	}
	for _, bad := range []repair.Value{repair.Word("no such value"), repair.Num(-12345.5), repair.Num(1e30)} {
		if _, err := o.Apply(s, repair.Edit{Operator: o.Name(), Target: slot.Target, Value: bad}); err == nil || !strings.Contains(err.Error(), bad.String()) {
			t.Errorf("%s(%s) = %s: error %v", o.Name(), slot.Target, bad, err)
		}
	}
	if _, err := o.Apply(s, repair.Edit{Operator: o.Name(), Target: "no/such", Value: slot.Current}); err == nil || !strings.Contains(err.Error(), `"no/such"`) {
		t.Errorf("%s: unknown target: error %v", o.Name(), err)
	}
	return applied
}

func checkRoundTrip(t *testing.T, e repair.Edit) {
	raw, err := json.Marshal(repair.NewPatch(e))
	var back repair.Patch
	if err == nil {
		err = json.Unmarshal(raw, &back)
	}
	if err != nil || !slices.Equal(back, repair.NewPatch(e)) {
		t.Errorf("%s: JSON gives %v, %v", e, back, err)
	}
}

// TestPairs applies every two edits of different slots together, in one patch, on small fixtures of both layouts.
func TestPairs(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "keras_mlp", "pytorch_two_inputs", "keras_two_inputs", "keras_conv1d"} {
		t.Run(name, func(t *testing.T) {
			s := subject(t, name)
			ops := All()
			var edits []repair.Edit
			for _, slot := range ops.Space(s) {
				values := samples(slot.Domain)
				values = slices.DeleteFunc(slices.Clone(values), func(v repair.Value) bool { return v == slot.Current })
				graph := slices.Contains([]string{"activation", "layer", "units", "dropout"}, slot.Operator)
				if !graph {
					values = values[len(values)-1:]
				} else if len(values) > 2 {
					values = []repair.Value{values[0], values[len(values)-1]}
				}
				for _, v := range values {
					edits = append(edits, repair.Edit{Operator: slot.Operator, Target: slot.Target, Value: v})
				}
			}
			pairs := 0
			for i, a := range edits {
				for _, b := range edits[i+1:] {
					if a.Key() == b.Key() {
						continue
					}
					p, q := repair.NewPatch(a, b), repair.NewPatch(b, a)
					one, err := ops.Apply(s, p)
					if err != nil {
						t.Errorf("%s: %v", p, err)
						continue
					}
					two, err := ops.Apply(s, q)
					if err != nil || fingerprint(t, one) != fingerprint(t, two) {
						t.Errorf("%s: the order of the edits matters (%v)", p, err)
					}
					head := a.Operator == "output_head" || b.Operator == "output_head"
					named := s
					named.Model = s.Model.Clone()
					nameNodes(named)
					if err := checkSubject(named, one, head); err != nil {
						t.Errorf("%s: %v", p, err)
					}
					pairs++
				}
			}
			t.Logf("%d edits, %d pairs", len(edits), pairs)
		})
	}
}
