package train

import (
	"math"
	"strings"
	"testing"
)

// Limits and standard deviations are the formulas of Keras' and PyTorch's documentation for a kernel of fan 300 in, 200 out.
func TestInitialisersHaveTheirMoments(t *testing.T) {
	const in, out = 300, 200
	shape := []int{in, out}
	for _, c := range []struct {
		init           Initializer
		mean, std, max float64 // max: bound of |w|; 0 for none
	}{
		{Initializer{Name: "zeros"}, 0, 0, 0},
		{Initializer{Name: "ones"}, 1, 0, 1},
		{Initializer{Name: "constant", Value: -2.5}, -2.5, 0, 2.5},
		{Initializer{Name: "random_normal"}, 0, 0.05, 0},
		{Initializer{Name: "random_normal", Mean: 3, Stddev: 2}, 3, 2, 0},
		{Initializer{Name: "random_uniform"}, 0, 0.05 / math.Sqrt(3), 0.05},
		{Initializer{Name: "uniform", Minval: 1, Maxval: 3}, 2, 1 / math.Sqrt(3), 3},
		{Initializer{Name: "truncated_normal"}, 0, 0.05 * truncatedStd, 0.1},
		{Initializer{Name: "glorot_uniform"}, 0, math.Sqrt(2.0 / 500), math.Sqrt(6.0 / 500)},
		{Initializer{Name: "glorot_normal"}, 0, math.Sqrt(2.0 / 500), 2 * math.Sqrt(2.0/500) / truncatedStd},
		{Initializer{Name: "he_uniform"}, 0, math.Sqrt(2.0 / 300), math.Sqrt(6.0 / 300)},
		{Initializer{Name: "he_normal"}, 0, math.Sqrt(2.0 / 300), 2 * math.Sqrt(2.0/300) / truncatedStd},
		{Initializer{Name: "lecun_uniform"}, 0, math.Sqrt(1.0 / 300), math.Sqrt(3.0 / 300)},
		{Initializer{Name: "lecun_normal"}, 0, math.Sqrt(1.0 / 300), 2 * math.Sqrt(1.0/300) / truncatedStd},
		{Initializer{Name: "kaiming_uniform", A: math.Sqrt(5)}, 0, 1 / math.Sqrt(3*300), 1 / math.Sqrt(300)},
		{Initializer{Name: "kaiming_normal"}, 0, math.Sqrt(2.0 / 300), 0},
		{Initializer{Name: "orthogonal"}, 0, 1 / math.Sqrt(300), 0},
	} {
		w := make([]float32, in*out)
		if err := c.init.fill(w, "w", 7, in, out, shape); err != nil {
			t.Errorf("%s: %v", c.init.Name, err)
			continue
		}
		var sum, sq, largest float64
		for _, v := range w {
			sum += float64(v)
			sq += float64(v) * float64(v)
			largest = max(largest, math.Abs(float64(v)))
		}
		n := float64(len(w))
		mean := sum / n
		std := math.Sqrt(max(0, sq/n-mean*mean))
		// 60,000 draws: the mean's standard error is std/245, the deviation's about std/346; five of them.
		if math.Abs(mean-c.mean) > 5*c.std/245+1e-7 || math.Abs(std-c.std) > 5*c.std/300+1e-6 {
			t.Errorf("%+v: mean %v, std %v; want %v, %v", c.init, mean, std, c.mean, c.std)
		}
		if c.max > 0 && (largest > c.max*(1+1e-6) || c.std > 0 && largest < 0.9*c.max) {
			t.Errorf("%+v: largest |w| %v, the bound is %v", c.init, largest, c.max)
		}
	}
}

func TestOrthogonalIsOrthogonal(t *testing.T) {
	for _, shape := range [][]int{{5, 12}, {12, 5}, {4, 3, 2, 2}, {7, 7}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		w := make([]float32, n)
		if err := (Initializer{Name: "orthogonal", Gain: 2}).fill(w, "w", 1, 1, 1, shape); err != nil {
			t.Fatal(err)
		}
		rows, cols := shape[0], n/shape[0]
		at := func(i, k int) float64 { return float64(w[i*cols+k]) }
		count, length := rows, cols
		if rows > cols {
			at = func(i, k int) float64 { return float64(w[k*cols+i]) }
			count, length = cols, rows
		}
		for i := range count {
			for j := range i + 1 {
				dot := 0.0
				for k := range length {
					dot += at(i, k) * at(j, k)
				}
				want := 0.0
				if i == j {
					want = 4
				}
				if math.Abs(dot-want) > 1e-5 {
					t.Fatalf("%v: vectors %d and %d have product %v, want %v", shape, i, j, dot, want)
				}
			}
		}
	}
	if err := (Initializer{Name: "orthogonal"}).fill(make([]float32, 3), "b", 1, 3, 3, []int{3}); err == nil || !strings.Contains(err.Error(), "2 or more dimensions") {
		t.Errorf("orthogonal of a vector: %v", err)
	}
}

func TestATensorsNumbersDependOnSeedAndNameAlone(t *testing.T) {
	draw := func(name string, seed uint64) []float32 {
		w := make([]float32, 4)
		if err := (Initializer{Name: "random_normal"}).fill(w, name, seed, 2, 2, []int{2, 2}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	a := draw("fc1.weight", 1)
	if b := draw("fc1.weight", 1); a[0] != b[0] || a[3] != b[3] {
		t.Errorf("%v and %v differ", a, b)
	}
	if draw("fc1.weight", 2)[0] == a[0] || draw("fc2.weight", 1)[0] == a[0] {
		t.Error("another seed or name gives the same numbers")
	}
}
