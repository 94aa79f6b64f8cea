package main

import (
	"math"
	"testing"

	"netmend/data"
	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/repair/stats"
	"netmend/train"
)

// TestBF16IsAsGoodAsFloat32 trains the demo's classifier of digits with Adam and ten seeds in both precisions: the hold-out
// accuracies differ by no more than three standard errors, while the losses show that something else was computed.
func TestBF16IsAsGoodAsFloat32(t *testing.T) {
	half, err := cpu.New(cpu.Options{Precision: "bf16"})
	if err != nil {
		t.Skip(err)
	}
	defer half.Close()
	full, err := openDevice("cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	m, err := loadModel("../../testdata/demo/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	r, err := train.ReadRecipe("../../testdata/demo/recipe.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r.Optimizer, err = train.DefaultOptimizer("adam", train.PyTorch); err != nil {
		t.Fatal(err)
	}
	src, err := data.Open("../../testdata/optdigits", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := split(src, data.Ratios{Train: 60, Search: 20, Holdout: 20}, r)
	if err != nil {
		t.Fatal(err)
	}
	const seeds = 10
	score := func(dev engine.Device, seed uint64) (accuracy, loss float64) {
		r := r.Clone()
		r.Seed = seed
		tr, err := train.New(m, r, d, train.Options{Device: dev})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for range r.Epochs {
			if err := tr.Epoch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ev, err := tr.Evaluate(t.Context(), d.Holdout)
		if err != nil {
			t.Fatal(err)
		}
		return ev.Score, ev.Loss
	}
	var a, b [seeds]float64
	for i := range seeds {
		var lossA, lossB float64
		a[i], lossA = score(full, uint64(i+1))
		b[i], lossB = score(half, uint64(i+1))
		if lossA == lossB {
			t.Errorf("seed %d: both precisions end at the loss %v", i+1, lossA)
		}
	}
	off, noise := math.Abs(stats.Mean(a[:])-stats.Mean(b[:])), math.Sqrt((stats.Variance(a[:])+stats.Variance(b[:]))/seeds)
	t.Logf("accuracy %.4f ± %.4f in float32, %.4f ± %.4f in bf16", stats.Mean(a[:]), stats.SD(a[:]), stats.Mean(b[:]), stats.SD(b[:]))
	if off > 3*noise || stats.Mean(a[:]) < 0.8 {
		t.Errorf("accuracies %v in float32 and %v in bf16", a, b)
	}
}
