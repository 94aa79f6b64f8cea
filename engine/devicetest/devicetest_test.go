package devicetest

import (
	"context"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

func TestGradients(t *testing.T) { Gradients(t) }

func TestCoverage(t *testing.T) {
	have := Coverage(t)
	for _, w := range Wanted() {
		if have[w] == 0 {
			t.Errorf("no case runs %s", w)
		}
	}
}

// A name is the seed of its inputs and what a failure is replayed by.
func TestNamesAreUnique(t *testing.T) {
	for _, list := range [][]testCase{table(), nonFinite()} {
		seen := make(map[string]bool)
		for _, c := range list {
			if seen[c.name] {
				t.Errorf("two cases are called %q", c.name)
			}
			seen[c.name] = true
		}
	}
}

// faulty is the reference device with one fault, to see that the table finds it.
type faulty struct {
	engine.Device
	spoil func(s *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error)
}

type faultyExecutable struct {
	engine.Executable
	d faulty
}

func (d faulty) Compile(p *engine.Program) (engine.Executable, error) {
	e, err := d.Device.Compile(p)
	return faultyExecutable{e, d}, err
}

func (e faultyExecutable) Run(ctx context.Context, s engine.Schedule) (*engine.Result, error) {
	return e.d.spoil(&s, func() (*engine.Result, error) { return e.Executable.Run(ctx, s) })
}

// each changes every output value.
func each(f func(v float64) float64) func(*engine.Schedule, func() (*engine.Result, error)) (*engine.Result, error) {
	return func(_ *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error) {
		res, err := run()
		for k := 0; res != nil && k < len(res.Outputs); k++ {
			for i, v := range res.Outputs[k] {
				res.Outputs[k][i] = f(v)
			}
		}
		return res, err
	}
}

var runs int

// faults are what may be wrong with a device, each with a case that must find it.
var faults = map[string]struct {
	run   string
	spoil func(*engine.Schedule, func() (*engine.Result, error)) (*engine.Result, error)
}{
	"inexact":         {"conv/same/bias_true", each(func(v float64) float64 { return v * (1 + 1e-5) })},
	"hides NaN":       {"nonfinite/unary/Relu", each(func(v float64) float64 { return choose(math.IsNaN(v), 0, v) })},
	"clamps Inf":      {"nonfinite/matmul", each(func(v float64) float64 { return max(min(v, math.MaxFloat32), -math.MaxFloat32) })},
	"exact is copied": {"transpose/.3_4.,.1_0.", each(func(v float64) float64 { return v * (1 + epsilon32) })},
	"random": {"networks/cnn", func(_ *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error) {
		runs++
		res, err := run()
		res.Outputs[0][0] *= 1 + 1e-7*float64(runs)
		return res, err
	}},
	"ignores FirstStep": {"interface/random_streams", func(s *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error) {
		s.FirstStep = 0
		return run()
	}},
	"ignores the number of feeds": {"interface/schedule_errors", func(s *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error) {
		res, err := run()
		if err != nil && strings.Contains(err.Error(), "feed") {
			return &engine.Result{}, nil
		}
		return res, err
	}},
	"forgets the steps done": {"interface/cancel", func(s *engine.Schedule, run func() (*engine.Result, error)) (*engine.Result, error) {
		res, err := run()
		if err != nil {
			return nil, err
		}
		return res, nil
	}},
}

func choose(c bool, a, b float64) float64 {
	if c {
		return a
	}
	return b
}

const faultVariable = "NETMEND_DEVICETEST_FAULT"

// TestFaultyDevice is the table on the device that the environment names; TestFaultsAreFound starts it.
func TestFaultyDevice(t *testing.T) {
	f, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("run by TestFaultsAreFound")
	}
	Run(t, faulty{reference.New(), f.spoil})
}

func TestFaultsAreFound(t *testing.T) {
	for name, f := range faults {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFaultyDevice$/^"+strings.ReplaceAll(f.run, "/", "$/^")+"$", "-test.v")
		cmd.Env = append(os.Environ(), faultVariable+"="+name)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestFaultyDevice/"+f.run[:strings.IndexByte(f.run, '/')]) {
			t.Errorf("%s: not found:\n%s", name, out)
		}
	}
}
