package train

import (
	"context"
	"math"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

// The frameworks have no gaze loss: its value is checked against the formula written out in Go, its gradient against central differences.
func TestAngleLoss(t *testing.T) {
	pred := []float64{0.3, -0.2, 1.1, 0.4, 2.0, -1.0, 0.01, 0.02}
	target := []float64{0.1, 0.2, 1.0, 0.5, 1.5, 1.0, 0.3, -0.4}
	n := len(pred) / 2
	p := engine.NewProgram(1)
	x := p.NewState("x", []int{n, 2})
	b := p.NewFunc("loss", 0)
	g := &lossGraph{Builder: b, loss: Loss{Name: "angle"}, semantics: Keras, output: x, logits: engine.None, axis: 1,
		target: p.NewConstant("t", engine.Float, []int{n, 2}, target)}
	v, o := g.build()
	b.Output(v)
	grad := b.Gradient(b.Reduce(engine.Mean, o, false), []engine.TensorID{x})
	b.Output(grad[0])
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	exec, err := reference.NewFloat64().Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	run := func(at []float64) [][]float64 {
		if err := exec.Load(x, at); err != nil {
			t.Fatal(err)
		}
		res, err := exec.Run(context.Background(), engine.Schedule{Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		return res.Outputs
	}
	out := run(pred)
	value, slope := out[0], out[1]
	for i := range n {
		if want := gazeAngle(pred[2*i], pred[2*i+1], target[2*i], target[2*i+1]); math.Abs(value[i]-want) > 1e-12 {
			t.Errorf("sample %d: %v, want %v", i, value[i], want)
		}
	}
	const h = 1e-6
	for k := range pred {
		shifted := func(d float64) float64 {
			at := append([]float64(nil), pred...)
			at[k] += d
			sum := 0.0
			for _, v := range run(at)[0] {
				sum += v / float64(n)
			}
			return sum
		}
		if want := (shifted(h) - shifted(-h)) / (2 * h); math.Abs(slope[k]-want) > 1e-8 {
			t.Errorf("gradient[%d] = %v, central difference %v", k, slope[k], want)
		}
	}
}
