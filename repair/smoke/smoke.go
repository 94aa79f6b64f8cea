// Package smoke tests in seconds, on the CPU, whether a model, its recipe and its data are fit to be trained at all: what a CI job can
// run on every change. Each check says what it measured; none trains for long.
package smoke

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"time"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
	"netmend/train/lower"
)

// Check is one finding. Skipped checks are those that could not run because an earlier one failed, or because something is not installed.
type Check struct {
	Name    string
	Passed  bool
	Skipped bool
	Detail  string // what was measured, or why it failed
	Seconds float64
}

// Oracle runs a model independently of netmend's engine; inputs and outputs by name.
type Oracle func(m *onnx.Model, inputs map[string]data.Array) (map[string]data.Array, error)

// The limits of the checks.
const (
	lossDeviation = 1.0  // TheDeepChecker's dev_ratio: |loss - expected| / expected at the start
	overfitRows   = 16   // TheDeepChecker's single-batch size
	overfitSteps  = 300  // of its 1,000: a batch that is memorised falls far below the limit by then
	overfitShare  = 0.5  // the loss must fall below this share of where it began
	oracleError   = 1e-4 // largest difference from the oracle, relative to 1 + |value|
	oracleRows    = 8
)

type run struct {
	ctx    context.Context
	s      repair.Subject
	dev    engine.Device
	oracle Oracle
}

// Run performs the checks in order. Once a check that others rest on has failed, the others are skipped.
func Run(ctx context.Context, s repair.Subject, dev engine.Device, oracle Oracle) []Check {
	r := &run{ctx, s, dev, oracle}
	steps := []struct {
		name     string
		required bool // for those after it
		f        func() (string, error)
	}{
		{"file is valid", true, func() (string, error) {
			return fmt.Sprintf("%d nodes, opset %d", len(s.Model.Graph.Nodes), s.Model.Opset("")), onnx.Check(s.Model)
		}},
		{"operators are supported", true, func() (string, error) { return "all", lower.Check(s.Model) }},
		{"data fits the model", true, r.fits},
		{"initial loss is sane", false, r.initialLoss},
		{"gradients reach every layer", false, r.gradients},
		{"one batch can be overfit", false, r.overfit},
		{"ONNX Runtime agrees", false, r.agrees},
	}
	var out []Check
	broken := false
	for _, step := range steps {
		c := Check{Name: step.name}
		if broken || ctx.Err() != nil {
			c.Skipped, c.Detail = true, "an earlier check failed"
			if ctx.Err() != nil {
				c.Detail = "interrupted"
			}
			out = append(out, c)
			continue
		}
		start := time.Now()
		detail, err := step.f()
		c.Seconds = time.Since(start).Seconds()
		switch c.Detail, c.Passed = detail, err == nil; err {
		case nil:
		case errSkipped:
			c.Skipped = true
		default:
			c.Detail = err.Error()
			broken = step.required
		}
		out = append(out, c)
	}
	return out
}

var errSkipped = fmt.Errorf("skipped")

// Failed counts the checks that neither passed nor were skipped.
func Failed(checks []Check) int {
	n := 0
	for _, c := range checks {
		if !c.Passed && !c.Skipped {
			n++
		}
	}
	return n
}

func (r *run) trainer(s repair.Subject, probe bool) (*train.Trainer, error) {
	return train.New(s.Model, s.Recipe, s.Data, train.Options{Device: r.dev, Probe: probe})
}

func (r *run) fits() (string, error) {
	t, err := r.trainer(r.s, false)
	if err != nil {
		return "", err
	}
	defer t.Close()
	bad := 0
	for i := range r.s.Data.Inputs {
		n, _ := data.NonFinite(&r.s.Data.Inputs[i])
		bad += n
	}
	if bad > 0 {
		return "", fmt.Errorf("the inputs hold %d values that are NaN or infinite", bad)
	}
	d := r.s.Data
	return fmt.Sprintf("%d training, %d search, %d hold-out rows", len(d.Train), len(d.Search), len(d.Holdout)), nil
}

// initialLoss compares the loss before training with that of a guess: log C for the cross-entropies.
func (r *run) initialLoss() (string, error) {
	t, err := r.trainer(r.s, false)
	if err != nil {
		return "", err
	}
	defer t.Close()
	rows := r.s.Data.Train[:min(len(r.s.Data.Train), 256)]
	ev, err := t.Evaluate(r.ctx, rows)
	if err != nil {
		return "", err
	}
	if math.IsNaN(ev.Loss) || math.IsInf(ev.Loss, 0) || ev.NonFinite > 0 {
		return "", fmt.Errorf("initial loss %v, %d output values are not finite", ev.Loss, ev.NonFinite)
	}
	want := t.ChanceLoss()
	if math.IsNaN(want) {
		return fmt.Sprintf("%.4g, finite", ev.Loss), nil
	}
	if math.Abs(ev.Loss-want)/want > lossDeviation {
		return "", fmt.Errorf("initial loss %.4g, a guess would have %.4g", ev.Loss, want)
	}
	return fmt.Sprintf("%.4g, a guess has %.4g", ev.Loss, want), nil
}

// gradients wants a finite, non-zero gradient for every trained tensor.
func (r *run) gradients() (string, error) {
	t, err := r.trainer(r.s, true)
	if err != nil {
		return "", err
	}
	defer t.Close()
	layers, err := t.Probe(r.ctx)
	if err != nil {
		return "", err
	}
	n, least := 0, math.Inf(1)
	for _, l := range layers {
		if l.Kind != "parameter" {
			continue
		}
		n++
		switch g := l.Gradient; {
		case g.NonFinite > 0:
			return "", fmt.Errorf("the gradient of %q has %v values that are not finite", l.Name, g.NonFinite)
		case g.MaxAbs == 0:
			return "", fmt.Errorf("no gradient reaches %q", l.Name)
		default:
			least = min(least, g.MeanAbs)
		}
	}
	return fmt.Sprintf("%d tensors, smallest mean |gradient| %.2g", n, least), nil
}

// overfit trains on a few rows again and again: a model that cannot memorise them cannot learn anything.
func (r *run) overfit() (string, error) {
	s := r.s
	s.Recipe = s.Recipe.Clone()
	s.Data.Train = s.Data.Train[:min(overfitRows, len(s.Data.Train))]
	s.Data.Search = nil
	s.Recipe.BatchSize = len(s.Data.Train)
	s.Recipe.Schedule, s.Recipe.EarlyStopping, s.Recipe.Regularizers = train.Schedule{}, train.EarlyStopping{}, nil
	t, err := r.trainer(s, false)
	if err != nil {
		return "", err
	}
	defer t.Close()
	for t.EpochsDone() < overfitSteps && t.Outcome() == "" {
		if err := t.Epoch(r.ctx); err != nil {
			return "", err
		}
	}
	losses := t.Trace().Losses
	first, last := losses[0], math.Inf(1)
	for _, v := range losses[max(0, len(losses)-10):] {
		last = min(last, v)
	}
	if t.Outcome() == train.Diverged {
		return "", fmt.Errorf("training on %d rows diverged after %d steps", len(s.Data.Train), len(losses))
	}
	if !(last < overfitShare*first) && !(first < 1e-3) {
		return "", fmt.Errorf("after %d steps on %d rows the loss is %.4g, it began at %.4g", len(losses), len(s.Data.Train), last, first)
	}
	return fmt.Sprintf("loss %.4g -> %.4g in %d steps on %d rows", first, last, len(losses), len(s.Data.Train)), nil
}

// agrees exports the model with fresh weights and compares its outputs with the oracle's.
func (r *run) agrees() (string, error) {
	if r.oracle == nil {
		return "ONNX Runtime is not on this machine", errSkipped
	}
	t, err := r.trainer(r.s, false)
	if err != nil {
		return "", err
	}
	defer t.Close()
	rows := r.s.Data.Train[:min(oracleRows, len(r.s.Data.Train))]
	worst, err := Compare(r.ctx, t, rows, r.oracle)
	if err != nil {
		return "", err
	}
	if !(worst <= oracleError) {
		return "", fmt.Errorf("outputs differ by up to %.2g (relative to 1+|value|), allowed are %.0e", worst, oracleError)
	}
	return fmt.Sprintf("largest difference %.2g over %d rows", worst, len(rows)), nil
}

// Compare returns the largest difference |ours - oracle's| / (1 + |oracle's|) over the outputs that have targets; NaN on both sides is no
// difference, on one side it is infinite.
func Compare(ctx context.Context, t *train.Trainer, rows []int32, oracle Oracle) (float64, error) {
	m, err := t.Model()
	if err != nil {
		return 0, err
	}
	ours, err := t.Predict(ctx, rows)
	if err != nil {
		return 0, err
	}
	theirs, err := oracle(m, t.Inputs(rows))
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for i, name := range t.Outputs() {
		o, ok := theirs[name]
		if !ok || len(o.Float) != len(ours[i]) {
			return 0, fmt.Errorf("smoke: output %q: ONNX Runtime gives %d values, netmend %d", name, len(o.Float), len(ours[i]))
		}
		for k, v := range ours[i] {
			w := float64(o.Float[k])
			switch {
			case math.IsNaN(v) && math.IsNaN(w) || v == w:
			case math.IsNaN(v) || math.IsNaN(w) || math.IsInf(v, 0) || math.IsInf(w, 0):
				return math.Inf(1), nil
			default:
				worst = max(worst, math.Abs(v-w)/(1+math.Abs(w)))
			}
		}
	}
	return worst, nil
}

// JUnit writes the checks in the XML format that CI servers read.
func JUnit(w io.Writer, suite string, checks []Check) error {
	type message struct {
		Message string `xml:"message,attr"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    string   `xml:"time,attr"`
		Failure *message `xml:"failure,omitempty"`
		Skipped *message `xml:"skipped,omitempty"`
		Out     string   `xml:"system-out,omitempty"`
	}
	type testsuite struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	out := testsuite{Name: suite, Tests: len(checks), Failures: Failed(checks)}
	for _, c := range checks {
		tc := testcase{Name: c.Name, Class: suite, Time: fmt.Sprintf("%.3f", c.Seconds)}
		switch {
		case c.Skipped:
			tc.Skipped = &message{c.Detail}
			out.Skipped++
		case !c.Passed:
			tc.Failure = &message{c.Detail}
		default:
			tc.Out = c.Detail
		}
		out.Cases = append(out.Cases, tc)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
