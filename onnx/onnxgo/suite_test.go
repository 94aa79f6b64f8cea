package onnxgo

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	onnxgo "github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx"
	"gorgonia.org/tensor"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
	"netmend/onnx"
)

// errLost marks what onnx-go cannot decode.
var errLost = errors.New("onnx-go cannot read it")

// runCase decodes, runs and compares one test of onnx-go's suite. testbackend's own RunTest compares with an absolute tolerance that float32
// cannot keep for large values, and neither scalars nor booleans at all.
func runCase(tc *testbackend.TestCase, d engine.Device) error {
	ours, err := onnx.Decode(tc.ModelB)
	if err != nil {
		return err
	}
	b := New(d, ours.Opset(""))
	m := onnxgo.NewModel(b)
	if err := unmarshal(m, tc.ModelB); err != nil {
		return err
	}
	for i, in := range tc.Input {
		if err := m.SetInput(i, in); err != nil {
			return err
		}
	}
	if err := b.Run(); err != nil {
		return err
	}
	out, err := m.GetOutputTensors()
	if err != nil {
		return err
	}
	if len(out) != len(tc.ExpectedOutput) {
		return fmt.Errorf("%d outputs, wants %d", len(out), len(tc.ExpectedOutput))
	}
	for i, want := range tc.ExpectedOutput {
		if err := sameTensor(out[i], want); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
		// The suite holds some integers as float32, so the model says which element type is right.
		if got, want := elemOf(out[i].Dtype()), ours.Graph.Outputs[i].Type.Elem; got != want {
			return fmt.Errorf("output %d: element type %v, wants %v", i, got, want)
		}
	}
	return nil
}

// unmarshal decodes; onnx-go's own failures, panics included, are errLost, our refusals stay what they are.
func unmarshal(m *onnxgo.Model, b []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", errLost, r)
		}
	}()
	err = m.UnmarshalBinary(b)
	var refused *onnxgo.ErrNotImplemented
	if err != nil && !errors.As(err, &refused) {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// sameTensor compares shapes (gorgonia holds a scalar for equal to [1], as which the suite writes scalars) and, with the tolerance of ONNX's own test runner (onnx/backend/test/runner: rtol 1e-3, atol
// 1e-7), elements.
func sameTensor(got, want tensor.Tensor) error {
	if got == nil {
		return errors.New("no tensor")
	}
	if !got.Shape().Eq(want.Shape()) {
		return fmt.Errorf("shape %v, wants %v", got.Shape(), want.Shape())
	}
	g, w := elements(got), elements(want)
	if len(g) != len(w) {
		return fmt.Errorf("%d elements, wants %d", len(g), len(w))
	}
	for i := range w {
		nan, inf := math.IsNaN(g[i]) && math.IsNaN(w[i]), g[i] == w[i]
		if !nan && !inf && !(math.Abs(g[i]-w[i]) <= 1e-7+1e-3*math.Abs(w[i])) {
			return fmt.Errorf("element %d is %v, wants %v", i, g[i], w[i])
		}
	}
	return nil
}

// elements are a tensor's elements by reflection, so that the comparison shares no code with the conversion under test.
func elements(t tensor.Tensor) []float64 {
	v := reflect.ValueOf(t.Data())
	one := func(v reflect.Value) float64 {
		if v.Kind() == reflect.Bool {
			if v.Bool() {
				return 1
			}
			return 0
		}
		return v.Convert(reflect.TypeFor[float64]()).Float()
	}
	if v.Kind() != reflect.Slice {
		return []float64{one(v)}
	}
	out := make([]float64, v.Len())
	for i := range out {
		out[i] = one(v.Index(i))
	}
	return out
}

// devices are those that the suite runs on; the CPU device is skipped where it is not built.
func devices(t *testing.T) map[string]engine.Device {
	all := map[string]engine.Device{"reference": reference.New()}
	if d, err := cpu.New(cpu.Options{}); err == nil {
		all["cpu"] = d
		t.Cleanup(func() { d.Close() })
	} else {
		t.Logf("no CPU device: %v", err)
	}
	return all
}

// minPassed is how many of the suite's tests pass at least. The rest is refused by name or not decoded by onnx-go.
const minPassed = 337

func TestBackendSuite(t *testing.T) {
	for name, d := range devices(t) {
		t.Run(name, func(t *testing.T) {
			passed, failed, lost, refused := 0, 0, 0, map[string]int{}
			for _, c := range testbackend.GetAllRegisteredTests() {
				tc := c()
				err := runCase(tc, d)
				var no *onnxgo.ErrNotImplemented
				switch {
				case err == nil:
					passed++
				case errors.Is(err, errLost):
					lost++
					t.Logf("%s: %v", tc.Title, err)
				case errors.As(err, &no):
					refused[tc.OpType]++
					if testing.Verbose() {
						t.Logf("%s: %v", tc.Title, err)
					}
				default:
					failed++
					t.Errorf("%s: %v", tc.Title, err)
				}
			}
			total := 0
			var rows []string
			for op, n := range refused {
				total += n
				rows = append(rows, fmt.Sprintf("%4d  %s", n, op))
			}
			slices.Sort(rows)
			slices.Reverse(rows)
			t.Logf("passed %d, refused %d, not decoded by onnx-go %d, failed %d; refused by operator:\n%s", passed, total, lost, failed,
				strings.Join(rows, "\n"))
			if passed < minPassed {
				t.Errorf("%d tests passed, wants at least %d", passed, minPassed)
			}
		})
	}
}

// Both generated packages of ONNX's protobuf messages are in this test's binary and read the same bytes: onnx-go registers its messages as
// "onnx.…", ours bear another name, because protobuf panics at start-up when two files register one.
func TestTwoProtobufPackagesInOneBinary(t *testing.T) {
	tc := testbackend.GetOpTypeTests("Abs")[0]()
	ours, err := onnx.Decode(tc.ModelB)
	if err != nil {
		t.Fatal(err)
	}
	b := New(reference.New(), ours.Opset(""))
	m := onnxgo.NewModel(b)
	if err := m.UnmarshalBinary(tc.ModelB); err != nil {
		t.Fatal(err)
	}
	theirs, err := b.Model(m.Output...)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := ours.Graph.Nodes[0], theirs.Graph.Nodes[0]; a.OpType != b.OpType || !slices.Equal(a.Inputs, b.Inputs) || !slices.Equal(a.Outputs, b.Outputs) {
		t.Errorf("ours reads %+v, onnx-go hands over %+v", a, b)
	}
}
