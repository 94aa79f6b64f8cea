package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"netmend/engine"
	"netmend/engine/reference"
)

// golden reads a recording of scripts/golden_*.py.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// number is a float that JSON may hold as "NaN", "Infinity" or "-Infinity".
type number float64

func (n *number) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case `"NaN"`:
		*n = number(math.NaN())
	case `"Infinity"`:
		*n = number(math.Inf(1))
	case `"-Infinity"`:
		*n = number(math.Inf(-1))
	default:
		return json.Unmarshal(raw, (*float64)(n))
	}
	return nil
}

// close says whether two numbers agree; NaN agrees with NaN, infinities by sign.
func closeTo(got, want, rel, abs float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) {
		return got == want || math.IsNaN(got) && math.IsNaN(want)
	}
	return math.Abs(got-want) <= abs+rel*math.Abs(want)
}

type lossCase struct {
	Module, Graph      string
	Loss               map[string]any
	Activation         string // the graph ends in it; empty: the prediction is the output
	Prediction, Target string
	Value              number
	Gradient           any
}

type lossGolden struct {
	Inputs  map[string]json.RawMessage
	Keras   []lossCase
	PyTorch []lossCase `json:"pytorch"`
}

// flatten reads nested JSON lists of numbers.
func flatten(t *testing.T, v any) (shape []int, values []float64) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		shape = []int{len(v)}
		for i, e := range v {
			s, x := flatten(t, e)
			if i == 0 {
				shape = append(shape, s...)
			}
			values = append(values, x...)
		}
	case float64:
		values = []float64{v}
	case string:
		var n number
		if err := n.UnmarshalJSON([]byte(`"` + v + `"`)); err != nil {
			t.Fatal(err)
		}
		values = []float64{float64(n)}
	default:
		t.Fatalf("unexpected %T in a recording", v)
	}
	return shape, values
}

func TestLossesFollowTheFrameworks(t *testing.T) {
	var g lossGolden
	golden(t, "losses.json", &g)
	for s, cases := range map[Semantics][]lossCase{Keras: g.Keras, PyTorch: g.PyTorch} {
		if len(cases) == 0 {
			t.Fatalf("no cases of %s", s)
		}
		for i, c := range cases {
			t.Run(fmt.Sprintf("%s/%d/%v/%s/%s", s, i, c.Loss["name"], c.Prediction, c.Target), func(t *testing.T) { checkLoss(t, s, c, g.Inputs) })
		}
	}
}

func checkLoss(t *testing.T, s Semantics, c lossCase, inputs map[string]json.RawMessage) {
	var loss Loss
	raw, _ := yaml.Marshal(c.Loss)
	if err := yaml.Unmarshal(raw, &loss); err != nil {
		t.Fatal(err)
	}
	r := Recipe{Loss: loss}
	r.fill()
	read := func(name string) ([]int, []float64) {
		var v any
		if err := json.Unmarshal(inputs[name], &v); err != nil {
			t.Fatalf("input %q: %v", name, err)
		}
		return flatten(t, v)
	}
	shape, pred := read(c.Prediction)
	tshape, target := read(c.Target)
	p := engine.NewProgram(1)
	x := p.NewState("x", shape)
	b := p.NewFunc("loss", 0)
	lg := &lossGraph{Builder: b, loss: r.Loss, semantics: s, output: x, logits: engine.None, axis: classAxis(shape, s)}
	switch c.Activation {
	case "":
	case "softmax":
		lg.output, lg.logits, lg.activation = b.Softmax(x, lg.axis), x, activationSoft
	case "sigmoid":
		lg.output, lg.logits, lg.activation = b.Unary(engine.Sigmoid, x), x, activationLogSig
	default:
		t.Fatalf("activation %q is not known to the test", c.Activation)
	}
	lg.binary, lg.normalised = true, true
	for i, v := range target {
		lg.binary = lg.binary && (v == 0 || v == 1)
		n := tshape[len(tshape)-1]
		if i%n == 0 {
			sum := 0.0
			for _, u := range target[i : i+n] {
				sum += u
			}
			lg.normalised = lg.normalised && sum == 1
		}
	}
	ty := engine.Float
	if loss.Sparse() {
		ty = engine.Int
	} else if len(target) == len(pred) {
		tshape = shape
	}
	lg.target = p.NewConstant("t", ty, tshape, target)
	v, o := lg.build()
	value, objective := b.Reduce(engine.Mean, v, false), b.Reduce(engine.Mean, o, false)
	grad := b.Gradient(objective, []engine.TensorID{x})
	b.Output(value)
	b.Output(grad[0])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	exec, err := reference.NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Load(x, pred); err != nil {
		t.Fatal(err)
	}
	res, err := exec.Run(context.Background(), engine.Schedule{Func: 0, Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Outputs[0][0]; !closeTo(got, float64(c.Value), 1e-6, 1e-9) {
		t.Errorf("value %v, want %v", got, c.Value)
	}
	_, want := flatten(t, c.Gradient)
	for i, w := range want {
		if got := res.Outputs[1][i]; !closeTo(got, w, 1e-6, 1e-9) {
			t.Errorf("gradient[%d] = %v, want %v (of %v)", i, got, w, want)
			break
		}
	}
}

func TestOptimizersFollowTheFrameworks(t *testing.T) {
	type run struct {
		Optimizer map[string]any
		Clip      map[string]float64 `json:"gradient_clip"`
		Parameter [][]float64
	}
	var g struct {
		Initial   []float64
		Gradients [][]float64
		PyTorch   []run `json:"pytorch"`
		Keras     []run `json:"keras"`
	}
	golden(t, "optimizers.json", &g)
	for s, runs := range map[Semantics][]run{PyTorch: g.PyTorch, Keras: g.Keras} {
		if len(runs) == 0 {
			t.Errorf("no recordings of %s", s)
		}
		for i, run := range runs {
			t.Run(fmt.Sprintf("%s/%d/%v", s, i, run.Optimizer["name"]), func(t *testing.T) {
				o, err := DefaultOptimizer(run.Optimizer["name"].(string), s)
				if err != nil {
					t.Fatal(err)
				}
				raw, _ := yaml.Marshal(run.Optimizer)
				if err := yaml.Unmarshal(raw, &o); err != nil {
					t.Fatal(err)
				}
				if err := o.check(); err != nil {
					t.Fatal(err)
				}
				clip := GradientClip{Value: run.Clip["value"], Norm: run.Clip["norm"], GlobalNorm: run.Clip["global_norm"]}
				checkOptimizer(t, o, s, clip, g.Initial, g.Gradients, run.Parameter)
			})
		}
	}
}

func checkOptimizer(t *testing.T, o Optimizer, s Semantics, clip GradientClip, initial []float64, gradients, want [][]float64) {
	p := engine.NewProgram(1)
	n := []int{len(initial)}
	w, grad, coefs := p.NewState("w", n), p.NewState("g", n), p.NewFeed("coefs", []int{engine.RuleCoefs})
	rule := o.rule(s)
	var slots []engine.TensorID
	for i := range rule.Slots() {
		slots = append(slots, p.NewState(fmt.Sprint("slot", i), n))
	}
	b := p.NewFunc("step", 0)
	clipped := []engine.TensorID{grad}
	clipGradients(b, clipped, clip, s)
	b.Update(rule, w, clipped[0], coefs, slots...)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	exec, err := reference.NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Load(w, initial); err != nil {
		t.Fatal(err)
	}
	if o.InitialAccumulator != 0 {
		full := make([]float64, len(initial))
		for i := range full {
			full[i] = o.InitialAccumulator
		}
		if err := exec.Load(slots[0], full); err != nil {
			t.Fatal(err)
		}
	}
	c := newCoefs(o, s)
	got := make([]float64, len(initial))
	for step, g := range gradients {
		if err := exec.Load(grad, g); err != nil {
			t.Fatal(err)
		}
		if _, err := exec.Run(context.Background(), engine.Schedule{Steps: 1, Feeds: map[engine.TensorID][]float64{coefs: c.next(o.LearningRate)}}); err != nil {
			t.Fatal(err)
		}
		if err := exec.Fetch(w, got); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			// PyTorch was recorded in float64. Keras keeps beta2 = 0.999 in float32, which puts sqrt(1-beta2^t) off by 2.4e-5 of itself, and
			// the update, of the learning rate's size, with it.
			tolerance := 1e-8
			if s == Keras {
				tolerance = 5e-5*o.LearningRate + 2e-7
			}
			if !closeTo(got[i], want[step][i], 0, tolerance) {
				t.Fatalf("step %d: parameter %v, want %v", step+1, got, want[step])
			}
		}
	}
}

func TestSchedulesFollowTheFrameworks(t *testing.T) {
	type run struct {
		Schedule      map[string]any
		Initial       float64
		Losses, Rates []float64
	}
	var g struct {
		PyTorch []run `json:"pytorch"`
		Keras   []run `json:"keras"`
	}
	golden(t, "schedules.json", &g)
	for i, c := range append(g.PyTorch, g.Keras...) {
		var s Schedule
		raw, _ := yaml.Marshal(c.Schedule)
		if err := yaml.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		sch := newScheduler(s, c.Initial)
		for e, want := range c.Rates {
			if got := sch.rate(); !closeTo(got, want, 1e-12, 0) {
				t.Errorf("schedule %d %s: epoch %d: rate %v, want %v", i, s.Name, e, got, want)
				break
			}
			sch.end(c.Losses[e])
		}
	}
	if len(g.PyTorch) < 4 || len(g.Keras) < 2 {
		t.Errorf("%d and %d schedules recorded, want at least 4 of PyTorch and 2 of Keras", len(g.PyTorch), len(g.Keras))
	}
}
