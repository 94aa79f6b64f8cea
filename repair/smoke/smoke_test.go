package smoke

import (
	"bytes"
	"context"
	"encoding/xml"
	"strings"
	"testing"

	"netmend/data"
	"netmend/engine/reference"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
	"netmend/train/traintest"
)

func subject(t *testing.T, name string) repair.Subject {
	t.Helper()
	m, r, d := traintest.Export(t, name)
	return repair.Subject{Model: m, Recipe: r, Data: d}
}

// same is an oracle that computes with netmend's own engine in float64: it must agree.
func same(m *onnx.Model, inputs map[string]data.Array) (map[string]data.Array, error) {
	return train.Infer(context.Background(), reference.NewFloat64(), m, inputs)
}

func TestHealthyExportsPass(t *testing.T) {
	for _, name := range []string{"pytorch_mlp", "pytorch_cnn", "keras_mlp", "keras_cnn", "keras_two_inputs"} {
		for _, c := range Run(context.Background(), subject(t, name), reference.New(), same) {
			if !c.Passed {
				t.Errorf("%s: %s: %s", name, c.Name, c.Detail)
			}
		}
	}
}

// Each fault is found by the check that it should be found by.
func TestFaultsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *repair.Subject)
		check string
	}{
		"zero kernel": {func(s *repair.Subject) { s.Recipe.Initializers["fc2.weight"] = train.Initializer{Name: "zeros"} }, "gradients reach every layer"},
		"huge weights": {func(s *repair.Subject) {
			s.Recipe.Initializers["fc1.weight"] = train.Initializer{Name: "random_normal", Stddev: 500}
		}, "initial loss is sane"},
		"no learning":    {func(s *repair.Subject) { s.Recipe.Optimizer.LearningRate = 1e-9 }, "one batch can be overfit"},
		"divergence":     {func(s *repair.Subject) { s.Recipe.Optimizer = train.Optimizer{Name: "sgd", LearningRate: 1e20} }, "one batch can be overfit"},
		"unsupported op": {func(s *repair.Subject) { s.Model.Graph.Nodes[1].OpType = "Unique" }, "operators are supported"},
		"broken graph":   {func(s *repair.Subject) { s.Model.Graph.Nodes[1].Inputs[0] = "nowhere" }, "file is valid"},
		"label beyond":   {func(s *repair.Subject) { s.Data.Targets[0].Int[0] = 99 }, "data fits the model"},
	} {
		s := subject(t, "pytorch_mlp")
		c.spoil(&s)
		found := ""
		for _, k := range Run(context.Background(), s, reference.New(), same) {
			if !k.Passed && !k.Skipped && found == "" {
				found = k.Name
			}
		}
		if found != c.check {
			t.Errorf("%s: found by %q, want %q", name, found, c.check)
		}
	}
}

func TestADisagreeingOracleFails(t *testing.T) {
	off := func(m *onnx.Model, inputs map[string]data.Array) (map[string]data.Array, error) {
		out, err := same(m, inputs)
		for _, a := range out {
			a.Float[0] += 0.01
		}
		return out, err
	}
	checks := Run(context.Background(), subject(t, "pytorch_mlp"), reference.New(), off)
	if last := checks[len(checks)-1]; last.Passed || !strings.Contains(last.Detail, "differ") {
		t.Errorf("%+v", last)
	}
}

func TestJUnit(t *testing.T) {
	var buf bytes.Buffer
	if err := JUnit(&buf, "s", []Check{{Name: "a", Passed: true, Detail: "<ok>"}, {Name: "b", Detail: "bad"}, {Name: "c", Skipped: true}}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	if err := xml.Unmarshal(buf.Bytes(), &got); err != nil || got.Tests != 3 || got.Failures != 1 || got.Skipped != 1 {
		t.Errorf("%+v, %v in\n%s", got, err, buf.String())
	}
}
