// Package smoke tests in seconds, on the CPU, whether a model, its recipe and its data are fit to be trained at all: what a CI job can
// run on every change. Each check says what it measured; none trains for long.
package smoke

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"netmend/data"
	"netmend/engine"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/diagnose"
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

// The limits of the comparison with the oracle. Those of the tests stand in package diagnose.
const (
	oracleError = 1e-4 // largest difference from the oracle, relative to 1 + |value|
	oracleRows  = 8
)

type run struct {
	ctx    context.Context
	s      repair.Subject
	dev    engine.Device
	oracle Oracle
	tests  *diagnose.Tests // once the data is known to fit
}

// Run performs the checks in order. Once a check that others rest on has failed, the others are skipped.
func Run(ctx context.Context, s repair.Subject, dev engine.Device, oracle Oracle) []Check {
	r := &run{ctx: ctx, s: s, dev: dev, oracle: oracle}
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
		{"initial loss is sane", false, r.test((*diagnose.Tests).InitialLoss)},
		{"gradients reach every layer", false, r.test((*diagnose.Tests).Gradients)},
		{"one batch can be overfit", false, r.test((*diagnose.Tests).Overfit)},
		{"ONNX Runtime agrees", false, r.agrees},
	}
	defer func() {
		if r.tests != nil {
			r.tests.Close()
		}
	}()
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

// test makes one of package diagnose's. It fails by what cannot work; what merely looks unusual is not for a smoke test to judge.
func (r *run) test(f func(*diagnose.Tests, context.Context) (diagnose.Finding, error)) func() (string, error) {
	return func() (string, error) {
		found, err := f(r.tests, r.ctx)
		if err != nil {
			return "", err
		}
		for _, s := range found.Symptoms {
			if s.Kind.Level() == diagnose.Error || s.Kind == diagnose.InitialLoss {
				return "", errors.New(s.Words())
			}
		}
		return found.Detail, nil
	}
}

func (r *run) fits() (string, error) {
	var err error
	if r.tests, err = diagnose.NewTests(r.s, r.dev); err != nil {
		return "", err
	}
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

// agrees exports the model with fresh weights and compares its outputs with the oracle's.
func (r *run) agrees() (string, error) {
	if r.oracle == nil {
		return "ONNX Runtime is not on this machine", errSkipped
	}
	rows := r.s.Data.Train[:min(oracleRows, len(r.s.Data.Train))]
	worst, err := Compare(r.ctx, r.tests.Trainer(), rows, r.oracle)
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
