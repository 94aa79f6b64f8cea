package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/faults/mutate"
	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/repair/stats"
	"netmend/train"
)

// TestCalibrate trains the faulty and the fixed subject of the faults that NETMEND_CALIBRATE lists ("all", "large", "M1,R3") with five seeds each, or as
// many as NETMEND_CALIBRATE_SEEDS says, on one thread of the CPU under the strict protocol, and prints what their scores on the test rows are, whether
// DeepCrime's criterion calls the faulty one killed, and how many processor seconds a training takes: the values of the lite scale were chosen with it
// (docs/benchmark/lite.md and large.md have what they give). At that scale the two must be clearly apart, Cohen's d >= 2. With
// NETMEND_CALIBRATE_PARTS=1 a fault that takes several edits is trained with each left out of its fix, too: the subject must still be killed then.
// NETMEND_CALIBRATE_SCALE=paper trains at the scale of the paper, NETMEND_CALIBRATE_LITE='{"train": 500}' tries other values.
func TestCalibrate(t *testing.T) {
	list := os.Getenv("NETMEND_CALIBRATE")
	if list == "" {
		t.Skip("set NETMEND_CALIBRATE to a list of faults, or all")
	}
	c := calibration{scale: faults.LiteScale, seeds: 5, root: os.Getenv("NETMEND_DATA"), done: map[string]sample{}, sets: map[string][2]data.Set{}}
	if s := os.Getenv("NETMEND_CALIBRATE_SCALE"); s != "" {
		c.scale = faults.Scale(s)
	}
	if s := os.Getenv("NETMEND_CALIBRATE_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 10)
		if err != nil || n < 2 {
			t.Fatalf("NETMEND_CALIBRATE_SEEDS is %q: a number from 2", s)
		}
		c.seeds = n
	}
	if c.root == "" {
		c.root = filepath.Join("..", "..", "shared", "data")
	}
	chosen, err := faults.Select(list)
	if err != nil {
		t.Fatal(err)
	}
	if c.dev, err = cpu.New(cpu.Options{Threads: 1}); err != nil {
		t.Skip(err)
	}
	defer c.dev.Close()
	total := 0.0
	for _, f := range chosen {
		if try := os.Getenv("NETMEND_CALIBRATE_LITE"); try != "" {
			if err := json.Unmarshal([]byte(try), &f.Lite); err != nil {
				t.Fatal(err)
			}
		}
		total += c.calibrate(t, f)
	}
	fmt.Printf("%.1f s for one faulty training of each\n", total)
}

// calibration trains subjects; what two faults share is read and trained once.
type calibration struct {
	dev   engine.Device
	root  string
	scale faults.Scale
	seeds uint64
	sets  map[string][2]data.Set
	done  map[string]sample
}

// sample is scores on the hold-out rows by seed, and the mean processor time of a training with its evaluation.
type sample struct {
	scores  []float64
	seconds float64
}

func (s sample) String() string {
	return fmt.Sprintf("%.4f ± %.4f (%.2f s)", stats.Mean(s.scores), stats.SD(s.scores), s.seconds)
}

func (c *calibration) calibrate(t *testing.T, f faults.Fault) (seconds float64) {
	p, err := f.Problem(c.scale)
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint(p.Data, p.TrainRows, p.TestRows)
	if _, ok := c.sets[key]; !ok {
		a, b, err := dataset.Open(p.Data, c.root, p.TrainRows, p.TestRows)
		if err != nil {
			t.Logf("%s: %v", f.ID, err)
			return 0
		}
		c.sets[key] = [2]data.Set{a, b}
	}
	s, err := p.Subject(c.sets[key][0], c.sets[key][1], faults.StrictProtocol, 1)
	if err != nil {
		t.Fatal(err)
	}
	fixed := s
	if fixed.Model, fixed.Recipe, err = f.Fixed(c.scale); err != nil {
		t.Fatal(err)
	}
	faulty, healthy := c.trainings(t, f, s), c.trainings(t, f, fixed)
	judge := func(worse sample) mutate.Judgement {
		j, err := mutate.DeepCrime.Judge(healthy.scores, worse.scores, f.Metric)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := judge(faulty)
	fmt.Printf("%-3s faulty %v  fixed %v  d %.1f  killed %t", f.ID, faulty, healthy, j.Effect, j.Killed)
	if f.HasPublished() {
		fmt.Printf("  published %v, %v", f.Published.Faulty, f.Published.Fixed)
	}
	fmt.Println()
	if c.scale == faults.LiteScale && !(j.Test == mutate.TestGLM && j.Effect >= 2) {
		t.Errorf("%s: d is %.2f (%s)", f.ID, j.Effect, j.Test)
	}
	if fix := f.FixAt(c.scale); os.Getenv("NETMEND_CALIBRATE_PARTS") != "" && len(fix) > 1 {
		c.parts(t, f, s, fix, judge)
	}
	return faulty.seconds
}

// parts trains a subject with all edits of a fix but one.
func (c *calibration) parts(t *testing.T, f faults.Fault, s repair.Subject, fix repair.Patch, judge func(sample) mutate.Judgement) {
	for _, e := range fix {
		x, err := operators.All().Apply(s, fix.Without(e.Key()))
		if err != nil {
			t.Fatal(err)
		}
		part := c.trainings(t, f, x)
		j := judge(part)
		fmt.Printf("    without %v: %v  d %.1f  killed %t\n", e, part, j.Effect, j.Killed)
		if !j.Killed {
			t.Errorf("%s: the fix without %v is as good", f.ID, e)
		}
	}
}

// trainings trains a subject with every seed.
func (c *calibration) trainings(t *testing.T, f faults.Fault, s repair.Subject) sample {
	ctx := context.Background()
	recipe, err := s.Recipe.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint(f.Network, f.Lite.Train, f.Lite.Test, ops(s.Model), string(recipe))
	if done, ok := c.done[key]; ok {
		return done
	}
	var out sample
	began := processSeconds()
	for seed := range c.seeds {
		s.Recipe.Seed = seed + 1
		score, err := c.score(ctx, s.Model, s.Recipe, s.Data)
		if err != nil {
			t.Fatal(err)
		}
		out.scores = append(out.scores, score)
	}
	out.seconds = (processSeconds() - began) / float64(c.seeds)
	c.done[key] = out
	return out
}

func (c *calibration) score(ctx context.Context, m *onnx.Model, r train.Recipe, d data.Splits) (float64, error) {
	tr, err := train.New(m, r, d, train.Options{Device: c.dev})
	if err != nil {
		return 0, err
	}
	defer tr.Close()
	if _, err := tr.Fit(ctx, r.Epochs); err != nil {
		return 0, err
	}
	e, err := tr.Evaluate(ctx, d.Holdout)
	return e.Score, err
}
