// Package dataset gives the data of the benchmark's faults by name.
//
// A set is what the published program loads or makes, raw: pixels of 0..255, unscaled columns, class labels as integers. What a program does to
// its data beyond that (division by 255, standardisation, one-hot encoding) is part of a recipe or follows from the loss. The rows and their
// order are fixed; where the original draws or divides them with numpy or sklearn, the same rows come out, bit for bit (TrainTestSplit).
//
//	name       faults       train, test     inputs              targets
//	mnist      D4 D9 M*     60000, 10000    x [28,28,1]         y: digit
//	cifar10    D5 C*        50000, 10000    x [32,32,3]         y: class
//	reuters46  R*            5506,  1721    x [10000] of 0, 1   y: topic of 46           stand-in for Keras' Reuters
//	adult      D2            7000,  3000    x [31]              y: 1 where income <= 50K  stand-in for Kaggle's Higgs set
//	threshold  D3            8000,  2000    x [1]               y: 1 above the threshold  stand-in for data.csv
//	ones       D1           20000,   200    x [128]             y: 1 for ones
//	pairs      D6             160,    40    x [2]               y: class
//	line       D7              80,    20    x [1]               y [1]: 5x
//	modulo     D8            8000,  2000    x [20] of 0, 1      y [20] of 0, 1: bits of the number mod 7
//	eyes       U*          103428, 25857    image [36,60,1], head [2]   gaze [2]          stand-in for UnityEyes
//
// Of the faults of larger networks (L*), which no published program loads:
//
//	cifar10-chw    L*  50000, 10000   x [3,32,32]       y: class
//	cifar10-chw16  L*  50000, 10000   x [3,16,16]       y: class               means of 2 x 2 pixels
//	imdb80         L*  25000, 25000   x [80]: words     y: 1 for a positive review; so imdb200, imdb64, imdb40
//
// The programs C, R and U leave a part of the training data to a validation set that trains nothing. reuters46 comes without it (the rows of
// train_test_split(test_size=.2, random_state=42)); of cifar10 and eyes all training rows are given, because D5 trains on all of them.
//
// With a limit, a part is a subset of fixed rows that keeps the shares of the classes (data.Split, seed 42), in the order of the whole part;
// regression sets take theirs without classes, and of eyes, whose rows are independent draws, the first ones.
package dataset

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"netmend/data"
)

// seed is the one that the published programs use nearly everywhere; the stand-ins and subsets take it as well.
const seed = 42

// set is how a data set is had. Exactly one of the functions is given.
type set struct {
	real      func(root string) (train, test data.Set, err error)
	synthetic func() (train, test data.Set)
	rows      func(train, test int) (data.Set, data.Set) // makes as many rows as asked for, 0: all
	standIn   string
}

var sets = map[string]set{
	"mnist":         {real: mnist},
	"cifar10":       {real: cifar10},
	"cifar10-chw":   {real: channelsFirst(1)},
	"cifar10-chw16": {real: channelsFirst(2)},
	"imdb200":       {real: imdb(200)},
	"imdb80":        {real: imdb(80)},
	"imdb64":        {real: imdb(64)},
	"imdb40":        {real: imdb(40)},
	"reuters46":     {real: reuters46, standIn: "Reuters-21578 with its 46 most frequent single topics for Keras' Reuters set"},
	"adult":         {real: adult, standIn: "10,000 rows of UCI Adult for Kaggle's Higgs training.csv"},
	"threshold":     {synthetic: threshold, standIn: "a seeded set with one threshold for data.csv (number, class)"},
	"ones":          {synthetic: ones},
	"pairs":         {synthetic: pairs},
	"line":          {synthetic: line},
	"modulo":        {synthetic: modulo},
	"eyes":          {rows: eyeImages, standIn: "rendered eye images for UnityEyes"},
}

// Names lists the sets, sorted.
func Names() []string { return slices.Sorted(maps.Keys(sets)) }

// StandIn says what a set stands in for; empty for the set that the published programs use.
func StandIn(name string) string { return sets[name].standIn }

// Open gives the training and the test part of a set. root is the folder that holds the real sets, each in a folder of its own (mnist, cifar10,
// imdb, reuters, tabular); the synthetic ones do not read it. limitTrain and limitTest bound the rows of a part; 0 or more than there are: all.
func Open(name, root string, limitTrain, limitTest int) (train, test data.Set, err error) {
	s, ok := sets[name]
	if !ok {
		return train, test, fmt.Errorf("dataset: %q is not known; there are %q", name, Names())
	}
	if limitTrain < 0 || limitTest < 0 {
		return train, test, fmt.Errorf("dataset: %q: limits %d and %d must not be negative", name, limitTrain, limitTest)
	}
	switch {
	case s.rows != nil:
		train, test = s.rows(limitTrain, limitTest)
		return train, test, nil
	case s.synthetic != nil:
		train, test = s.synthetic()
	default:
		if train, test, err = s.real(root); err != nil {
			return data.Set{}, data.Set{}, fmt.Errorf("dataset: %q: %w", name, err)
		}
	}
	if train, err = subset(train, limitTrain); err == nil {
		test, err = subset(test, limitTest)
	}
	if err != nil {
		return data.Set{}, data.Set{}, fmt.Errorf("dataset: %q: %w", name, err)
	}
	return train, test, nil
}

// Unused gives rows that Open leaves out with the same limits, at most so many: of the test part, or where all of that are in use, of the training
// part; none where Open leaves out nothing. Like a limit's, they are fixed and keep the shares of the classes.
func Unused(name, root string, limitTrain, limitTest, most int) (data.Set, error) {
	for part, limit := range []int{limitTest, limitTrain} {
		if limit == 0 || most < 1 {
			continue
		}
		wanted := [2]int{} // all of both parts
		made := sets[name].rows != nil
		if made {
			wanted[1-part], wanted[part] = limit+most, 1
		}
		train, test, err := Open(name, root, wanted[0], wanted[1])
		if err != nil {
			return data.Set{}, err
		}
		set := []data.Set{test, train}[part]
		var left []int32
		if made { // Open gives the first ones
			for i := limit; i < set.Rows(); i++ {
				left = append(left, int32(i))
			}
		} else if _, left, err = divide(set, limit); err != nil {
			return data.Set{}, fmt.Errorf("dataset: %q: %w", name, err)
		}
		if len(left) > 0 {
			return subset(set.Select(left), most)
		}
	}
	return data.Set{}, nil
}

// present gives the path of a file or folder of root.
func present(root string, parts ...string) (string, error) {
	path := filepath.Join(append([]string{root}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%q is not there: get it with scripts/fetch_data, or set NETMEND_DATA to the folder that holds %q", path, parts[0])
	}
	return path, nil
}

// subset picks limit rows.
func subset(s data.Set, limit int) (data.Set, error) {
	picked, left, err := divide(s, limit)
	if err != nil || len(left) == 0 {
		return s, err
	}
	return s.Select(picked), nil
}

// divide picks limit rows, or all for 0, and gives those that are left too. A class is a label, or a distinct row where the targets are rows of bits.
func divide(s data.Set, limit int) (picked, left []int32, err error) {
	n := s.Rows()
	if limit == 0 || limit >= n {
		return nil, nil, nil
	}
	classes, stratify := classesOf(&s.Targets[0])
	by := data.Set{Inputs: []data.Array{classes}, Targets: []data.Array{classes}}
	parts, err := data.Split(by, data.Ratios{Train: float64(limit), Search: float64(n - limit)}, seed, stratify)
	return parts.Train, parts.Search, err
}

// classesOf numbers the classes of targets; false where they are no classes but measured values.
func classesOf(y *data.Array) (data.Array, bool) {
	out := data.Array{Name: "class", Shape: []int{y.Rows()}}
	if labels, ok := data.Labels(y); ok && y.IsInt() {
		out.Int = labels
		return out, true
	}
	out.Int = make([]int32, y.Rows())
	size := y.RowSize()
	number := map[string]int32{}
	for r := range out.Int {
		bits := make([]byte, size)
		for i, v := range y.Float[r*size : (r+1)*size] {
			if v != 0 && v != 1 {
				return out, false
			}
			bits[i] = byte(v)
		}
		if _, ok := number[string(bits)]; !ok {
			number[string(bits)] = int32(len(number))
		}
		out.Int[r] = number[string(bits)]
	}
	return out, true
}

// labelled is a set of one input and integer labels.
func labelled(shape []int, x []float32, y []int32) data.Set {
	return data.Set{
		Inputs:  []data.Array{{Name: "x", Shape: append([]int{len(y)}, shape...), Float: x}},
		Targets: []data.Array{{Name: "y", Shape: []int{len(y)}, Int: y}},
	}
}
