package mutate

import (
	"math"
	"slices"
	"testing"

	"netmend/data"
	"netmend/repair"
	"netmend/train"
)

// rowsOf is a subject with 60, 30 and 10 training rows of classes 2, 0 and 1, and 100 further rows; the one feature is the row's number.
func rowsOf(t *testing.T, oneHot bool) repair.Subject {
	s := subject(t, "pytorch_mlp")
	s.Recipe.Task = train.Classification
	x := data.Array{Name: "x", Shape: []int{200, 1}}
	y := data.Array{Name: "y", Shape: []int{200}}
	for i := range 200 {
		c := int32(2)
		if i%100 >= 60 {
			c = 0
		}
		if i%100 >= 90 {
			c = 1
		}
		x.Float, y.Int = append(x.Float, float32(i)), append(y.Int, c)
	}
	if oneHot {
		hot, err := data.OneHot(&y, 3)
		if err != nil {
			t.Fatal(err)
		}
		y = *hot
	}
	s.Data = data.Splits{Set: data.Set{Inputs: []data.Array{x}, Targets: []data.Array{y}}}
	for i := range int32(200) {
		if i < 100 {
			s.Data.Train = append(s.Data.Train, i)
		} else {
			s.Data.Holdout = append(s.Data.Holdout, i)
		}
	}
	return s
}

func counts(t *testing.T, s repair.Subject) []int {
	t.Helper()
	labels, ok := data.Labels(&s.Data.Targets[0])
	if !ok {
		t.Fatal("the targets are no labels")
	}
	return data.ClassCounts(labels, s.Data.Train, 3)
}

func mutated(t *testing.T, s repair.Subject, id, target string, v float64) repair.Subject {
	t.Helper()
	m, err := operator(t, id).Apply(s, target, repair.Num(v), 3)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDataOperatorsOnCounts(t *testing.T) {
	for _, oneHot := range []bool{false, true} {
		s := rowsOf(t, oneHot)
		for _, c := range []struct {
			id, target string
			value      float64
			want       []int // rows of classes 0, 1, 2; -1: not fixed
		}{
			{"TCL", "y", 50, []int{-1, -1, 30}},
			{"TCL", "y", 100, []int{-1, -1, 0}},
			{"TRD", "data", 99, []int{1, 1, 1}},
			{"TRD", "data", 50, []int{15, 5, 30}},
			{"TUD", "data", 50, []int{15, 5, 60}}, // both are below the average of 33
			{"TUD", "data", 100, []int{0, 0, 60}},
			{"TCO", "y", 25, []int{45, 10, 60}},
			{"TCO", "y", 100, []int{90, 10, 60}},
		} {
			got := counts(t, mutated(t, s, c.id, c.target, c.value))
			for k, w := range c.want {
				if w >= 0 && got[k] != w {
					t.Errorf("one-hot %v: %s %v: rows per class %v, want %v", oneHot, c.id, c.value, got, c.want)
				}
			}
			if total := got[0] + got[1] + got[2]; c.id == "TCL" && (total != 100 || got[0] <= 30 || got[1] <= 10) {
				t.Errorf("TCL %v: rows per class %v", c.value, got)
			}
		}
	}
	// The repeated rows of TCO are rows of class 2 with the label 0.
	s := rowsOf(t, false)
	m := mutated(t, s, "TCO", "y", 10)
	if len(m.Data.Train) != 106 || m.Data.Rows() != 206 {
		t.Fatalf("%d training rows of %d", len(m.Data.Train), m.Data.Rows())
	}
	for i := 200; i < 206; i++ {
		if x := m.Data.Inputs[0].Float[i]; x >= 60 || m.Data.Targets[0].Int[i] != 0 {
			t.Errorf("row %d repeats row %v with label %d", i, x, m.Data.Targets[0].Int[i])
		}
	}
	// A smaller share is a part of a larger one.
	small, large := mutated(t, s, "TRD", "data", 20), mutated(t, s, "TRD", "data", 60)
	for _, r := range large.Data.Train {
		if !slices.Contains(small.Data.Train, r) {
			t.Errorf("row %d is deleted at 20 %% and not at 60 %%", r)
		}
	}
	balanced := rowsOf(t, false)
	balanced.Data.Train = slices.Concat(balanced.Data.Train[:10], balanced.Data.Train[60:70], balanced.Data.Train[90:100])
	if sites := operator(t, "TUD").Sites(balanced); len(sites) != 0 {
		t.Errorf("TUD of balanced classes has sites %v", sites)
	}
}

// The noise has the standard deviation that was asked for, on the share of the rows that was asked for.
func TestNoise(t *testing.T) {
	s := rowsOf(t, false)
	x := data.Array{Name: "x", Shape: []int{200, 400}}
	for i := range 200 * 400 {
		x.Float = append(x.Float, float32(i%7))
	}
	s.Data.Inputs = []data.Array{x}
	m := mutated(t, s, "TAN", "x", 40)
	changed, squares, n := 0, 0.0, 0.0
	for r := range 200 {
		a, b := x.Float[r*400:(r+1)*400], m.Data.Inputs[0].Float[r*400:(r+1)*400]
		if slices.Equal(a, b) {
			continue
		}
		changed++
		for k := range a {
			d := float64(b[k] - a[k])
			squares, n = squares+d*d, n+1
		}
	}
	// std of 0..6 in equal shares is 2; 40 % of it. 16,000 samples: the estimate is good to 1 %.
	if got := math.Sqrt(squares / n); changed != 40 || math.Abs(got-0.8) > 0.03 {
		t.Errorf("%d rows changed, with noise of %v; want 40 and 0.8", changed, got)
	}
	// A regression's labels: all training rows, std(y)·pct/100.
	s.Recipe.Task = train.Regression
	y := data.Array{Name: "y", Shape: []int{200, 400}, Float: x.Float}
	s.Data.Targets = []data.Array{y}
	m = mutated(t, s, "TCL", "y", 25)
	squares, n = 0, 0
	for i := range 100 * 400 {
		d := float64(m.Data.Targets[0].Float[i] - y.Float[i])
		squares, n = squares+d*d, n+1
	}
	if got := math.Sqrt(squares / n); math.Abs(got-0.5) > 0.02 {
		t.Errorf("noise of %v on the targets, want 0.5", got)
	}
}
