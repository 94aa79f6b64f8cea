package dataset

import (
	"netmend/data"
	"netmend/faults/eyes"
)

// ones is the data of D1: 10,000 rows of 128 ones (label 1), then as many of zeros (label 0); for the test 100 of each.
func ones() (train, test data.Set) {
	part := func(each int) data.Set {
		x, y := make([]float32, 2*each*128), make([]int32, 2*each)
		for i := range each * 128 {
			x[i] = 1
		}
		for i := range each {
			y[i] = 1
		}
		return labelled([]int{128}, x, y)
	}
	return part(10_000), part(100)
}

// divided is the program's own division of a set, train_test_split(test_size=.2, random_state=42).
func divided(s data.Set) (train, test data.Set) { return dividedBy(s, 0.2) }

func dividedBy(s data.Set, share float64) (train, test data.Set) {
	a, b := TrainTestSplit(s.Rows(), share, seed)
	return s.Select(a), s.Select(b)
}

// pairs is the data of D6: 200 numbers of U(0.2, 0.4) and 200 of U(0.7, 0.5), taken two by two, the classes in turn.
func pairs() (train, test data.Set) {
	const n = 200
	r := newRandomState(seed)
	var class [2][n]float64
	for c, bounds := range [2][2]float64{{0.2, 0.4}, {0.7, 0.5}} {
		for i := range class[c] {
			class[c][i] = bounds[0] + (bounds[1]-bounds[0])*r.float64()
		}
	}
	var x []float32
	var y []int32
	for i := 0; i < n; i += 2 {
		for c := range class {
			x = append(x, float32(class[c][i]), float32(class[c][i+1]))
			y = append(y, int32(c))
		}
	}
	return divided(labelled([]int{2}, x, y))
}

// line is the data of D7: x = linspace(1, 2, 100), y = 5x.
func line() (train, test data.Set) {
	const n = 100
	x := data.Array{Name: "x", Shape: []int{n, 1}}
	y := data.Array{Name: "y", Shape: []int{n, 1}}
	for i := range n {
		v := 1 + float64(i)*(1.0/(n-1))
		x.Float, y.Float = append(x.Float, float32(v)), append(y.Float, float32(5*v))
	}
	return divided(data.Set{Inputs: []data.Array{x}, Targets: []data.Array{y}})
}

// modulo is the data of D8: 10,000 rows of 20 random bits, read as a number with the lowest bit first; the target is that number mod 7, written
// likewise, so that a row has up to two ones and may have none. The published fault localisation seeds the bits with 42; the published search drew new ones
// for every trial.
func modulo() (train, test data.Set) {
	const n, bits, radix = 10_000, 20, 7
	r := newRandomState(seed)
	x := data.Array{Name: "x", Shape: []int{n, bits}, Float: make([]float32, n*bits)}
	y := data.Array{Name: "y", Shape: []int{n, bits}, Float: make([]float32, n*bits)}
	for i := range n {
		number := uint32(0)
		for k := range bits {
			bit := r.below(2)
			x.Float[i*bits+k] = float32(bit)
			number |= bit << k
		}
		for k := range bits {
			y.Float[i*bits+k] = float32(number % radix >> k & 1)
		}
	}
	return divided(data.Set{Inputs: []data.Array{x}, Targets: []data.Array{y}})
}

// threshold stands in for the data of D3, of which only the columns are known (number, class): 10,000 numbers of U(0, 100), of which those of at least
// 60 are class 1. With it the published networks come near their published accuracies: see the test.
func threshold() (train, test data.Set) {
	const n, limit = 10_000, 60
	r := newRandomState(seed)
	x, y := make([]float32, n), make([]int32, n)
	for i := range x {
		x[i] = float32(100 * r.float64())
		if x[i] >= limit {
			y[i] = 1
		}
	}
	return divided(labelled([]int{1}, x, y))
}

// The rows of U's program: DeepCrime's properties_lenet.py says how many it trains on, which are four fifths of all.
const (
	eyesTrain = 103_428
	eyesTest  = 25_857
)

// eyeImages renders as many rows of either part as asked for, 0 or too many: all. The test part starts behind the whole training part.
func eyeImages(train, test int) (data.Set, data.Set) {
	rows := func(limit, all int) int {
		if limit == 0 {
			return all
		}
		return min(limit, all)
	}
	return eyes.Set(seed, 0, rows(train, eyesTrain)), eyes.Set(seed, eyesTrain, rows(test, eyesTest))
}
