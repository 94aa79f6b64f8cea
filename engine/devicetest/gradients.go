package devicetest

import (
	"context"
	"math"
	"testing"

	"netmend/engine"
	"netmend/engine/reference"
)

// Gradients compares the gradients that [engine.Builder.Gradient] derives with central differences, both on the float64 reference, for
// every differentiable case of the table that is small enough.
func Gradients(t *testing.T) {
	for _, c := range table() {
		if !c.noGrad {
			t.Run(c.name, func(t *testing.T) { c.gradient(t) })
		}
	}
}

const (
	perInput = 6      // elements that are tried of every input
	largest  = 20_000 // elements of all inputs together
)

func (c *testCase) gradient(t *testing.T) {
	g := newGraph(c.name)
	c.build(g)
	g.finish(t, true)
	total := 0
	for _, id := range g.in {
		total += engine.Len(g.b.Shape(id))
	}
	if total > largest {
		t.Skipf("%d input elements: compared between devices only", total)
	}
	first := len(g.out) + len(g.only)
	g.b.Output(g.loss)
	e, err := reference.NewFloat64().Compile(g.p)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	run := func() [][]float64 {
		res, err := e.Run(context.Background(), engine.Schedule{Steps: 1, FirstStep: firstStep, Seed: 42})
		if err != nil {
			t.Fatal(err)
		}
		return res.Outputs
	}
	load := func(id engine.TensorID, v []float64) {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	for id, v := range g.load {
		load(id, v)
	}
	plain := run()
	last := len(plain) - 1
	if len(plain)-1-first != 0 && len(plain)-1-first != len(g.in) {
		t.Fatalf("%d gradients of %d inputs", len(plain)-1-first, len(g.in))
	}
	for k, id := range g.in {
		v := g.load[id]
		at := func(i int, h float64) float64 {
			old := v[i]
			v[i] = old + h
			load(id, v)
			v[i] = old
			return run()[last][0]
		}
		size := len(v)
		tried := 0
		for range min(perInput, size) {
			i := g.r.IntN(size)
			d, ok := central(func(h float64) float64 { return at(i, h) }, math.Abs(plain[last][0]))
			if !ok { // a kink or a tie lies within reach
				continue
			}
			tried++
			got := 0.0 // an output without a gradient does not depend on the input
			if len(plain)-1 > first {
				got = plain[first+k][i]
			}
			if limit := 1e-6*math.Max(1, math.Abs(d)) + 1e-10*math.Abs(plain[last][0]); !same(got, d, limit) {
				t.Errorf("gradient by input %d, element %d: %.12g, central differences give %.12g (%s)", k, i, got, d, replay(t))
				break
			}
		}
		load(id, v)
		if size > 0 && tried < (min(perInput, size)+1)/2 {
			t.Errorf("input %d: only %d elements away from kinks (%s)", k, tried, replay(t))
		}
	}
}

// central is the derivative of f at 0 by central differences of the fourth order. It is not ok where two step sizes disagree. Rounding
// errors of f, of the size given, divided by the step, are the floor of what can be seen.
func central(f func(h float64) float64, size float64) (d float64, ok bool) {
	const h = 1e-4
	one := func(h float64) float64 {
		return (8*(f(h)-f(-h)) - (f(2*h) - f(-2*h))) / (12 * h)
	}
	a, b := one(h), one(h/4)
	return a, math.Abs(a-b) <= 1e-6*math.Max(1, math.Abs(a))+1e-10*size
}
