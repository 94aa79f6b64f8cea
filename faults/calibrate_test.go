package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/onnx"
	"netmend/repair/stats"
	"netmend/train"
)

// TestCalibrate trains the faulty and the fixed subject of the faults that NETMEND_CALIBRATE lists ("all", "M1,R3") with five seeds each, on
// one thread of the CPU under the strict protocol, and prints what their scores on the test rows are and how long a training takes: the values of the
// lite scale were chosen with it (docs/benchmark/lite.md has what they give). At that scale the two must be clearly apart, Cohen's d >= 2.
// NETMEND_CALIBRATE_SCALE=paper trains at the scale of the paper, NETMEND_CALIBRATE_LITE='{"train": 500}' tries other values.
func TestCalibrate(t *testing.T) {
	list := os.Getenv("NETMEND_CALIBRATE")
	if list == "" {
		t.Skip("set NETMEND_CALIBRATE to a list of faults, or all")
	}
	scale := faults.LiteScale
	if s := os.Getenv("NETMEND_CALIBRATE_SCALE"); s != "" {
		scale = faults.Scale(s)
	}
	root := os.Getenv("NETMEND_DATA")
	if root == "" {
		root = filepath.Join("..", "..", "shared", "data")
	}
	chosen, err := faults.Select(list)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	total := 0.0
	for _, f := range chosen {
		if try := os.Getenv("NETMEND_CALIBRATE_LITE"); try != "" {
			if err := json.Unmarshal([]byte(try), &f.Lite); err != nil {
				t.Fatal(err)
			}
		}
		total += calibrate(t, dev, f, scale, root)
	}
	fmt.Printf("%.1f s for one faulty training of each\n", total)
}

const calibrationSeeds = 5

func calibrate(t *testing.T, dev engine.Device, f faults.Fault, scale faults.Scale, root string) (seconds float64) {
	p, err := f.Problem(scale)
	if err != nil {
		t.Fatal(err)
	}
	trainSet, testSet, err := dataset.Open(p.Data, root, p.TrainRows, p.TestRows)
	if err != nil {
		t.Logf("%s: %v", f.ID, err)
		return 0
	}
	s, err := p.Subject(trainSet, testSet, faults.StrictProtocol, 1)
	if err != nil {
		t.Fatal(err)
	}
	model, recipe, err := f.Fixed(scale)
	if err != nil {
		t.Fatal(err)
	}
	faulty, secondsFaulty := trainings(t, dev, s.Model, s.Recipe, s.Data)
	fixed, secondsFixed := trainings(t, dev, model, recipe, s.Data)
	a, sa := stats.Mean(faulty), stats.SD(faulty)
	b, sb := stats.Mean(fixed), stats.SD(fixed)
	d := (b - a) / math.Sqrt((sa*sa+sb*sb)/2)
	if !f.Metric.Maximize() {
		d = -d
	}
	fmt.Printf("%-3s faulty %.4f ± %.4f (%.2f s)  fixed %.4f ± %.4f (%.2f s)  d %.1f  published %v, %v\n",
		f.ID, a, sa, secondsFaulty, b, sb, secondsFixed, d, f.Published.Faulty, f.Published.Fixed)
	if scale == faults.LiteScale && !(d >= 2) {
		t.Errorf("%s: d is %.2f", f.ID, d)
	}
	return secondsFaulty
}

// trainings are scores on the hold-out rows by seed, and the mean duration of a training.
func trainings(t *testing.T, dev engine.Device, m *onnx.Model, r train.Recipe, d data.Splits) (scores []float64, seconds float64) {
	ctx, began := context.Background(), time.Now()
	for seed := range uint64(calibrationSeeds) {
		r.Seed = seed + 1
		tr, err := train.New(m, r, d, train.Options{Device: dev})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Fit(ctx, r.Epochs); err != nil {
			t.Fatal(err)
		}
		e, err := tr.Evaluate(ctx, d.Holdout)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		scores = append(scores, e.Score)
	}
	return scores, time.Since(began).Seconds() / calibrationSeeds
}
