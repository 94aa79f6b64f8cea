package data

import (
	"fmt"
	"math"
)

// Labels returns the class of every row where the array holds class labels: integers of at least 0, one per row (integer elements, or
// floats that are all such integers), or one-hot rows (two or more columns, one 1 and zeros). ok is false for any other array.
func Labels(a *Array) (labels []int32, ok bool) {
	size := a.RowSize()
	switch {
	case a.Rows() == 0 || size == 0:
		return nil, false
	case size == 1 && a.IsInt():
		for _, v := range a.Int {
			if v < 0 {
				return nil, false
			}
		}
		return a.Int, true
	case size == 1:
		b, err := a.AsInt()
		if err != nil {
			return nil, false
		}
		return Labels(b)
	}
	f := a.AsFloat().Float
	labels = make([]int32, a.Rows())
	for r := range labels {
		hot := -1
		for c, v := range f[r*size : (r+1)*size] {
			switch {
			case v == 1 && hot < 0:
				hot = c
			case v != 0:
				return nil, false
			}
		}
		if hot < 0 {
			return nil, false
		}
		labels[r] = int32(hot)
	}
	return labels, true
}

// LabelRange is the smallest and the largest label; 0, -1 when there is none.
func LabelRange(labels []int32) (lo, hi int32) {
	if len(labels) == 0 {
		return 0, -1
	}
	lo, hi = labels[0], labels[0]
	for _, v := range labels {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// ClassCounts counts the given rows of labels by class; all rows when rows is nil. Labels are of 0..classes-1; others are not counted.
func ClassCounts(labels []int32, rows []int32, classes int) []int {
	counts := make([]int, classes)
	count := func(v int32) {
		if v >= 0 && int(v) < classes {
			counts[v]++
		}
	}
	if rows == nil {
		for _, v := range labels {
			count(v)
		}
	}
	for _, r := range rows {
		count(labels[r])
	}
	return counts
}

// CheckLabels reports labels that do not fit an output with the given number of classes, e.g.
// `labels reach 10, the output "prob" has 10 classes (0..9)`.
func CheckLabels(labels []int32, output string, classes int) error {
	lo, hi := LabelRange(labels)
	if lo < 0 {
		return fmt.Errorf("data: labels start at %d, the output %q has %d classes (0..%d)", lo, output, classes, classes-1)
	}
	if int(hi) >= classes {
		return fmt.Errorf("data: labels reach %d, the output %q has %d classes (0..%d)", hi, output, classes, classes-1)
	}
	return nil
}

// OneHot encodes the labels of an array (one integer per row) as rows of zeros with a one: [N] or [N,1] -> [N,classes], float.
func OneHot(a *Array, classes int) (*Array, error) {
	if a.RowSize() != 1 {
		return nil, fmt.Errorf("data: %q: samples of shape %v are not labels", a.Name, a.Shape[1:])
	}
	b, err := a.AsInt()
	if err != nil {
		return nil, err
	}
	if err := CheckLabels(b.Int, a.Name, classes); err != nil {
		return nil, err
	}
	if _, err := elements([]int{a.Rows(), classes}); err != nil {
		return nil, fmt.Errorf("data: %q: %w", a.Name, err)
	}
	out := &Array{Name: a.Name, Shape: []int{a.Rows(), classes}, Float: make([]float32, a.Rows()*classes)}
	for r, c := range b.Int {
		out.Float[r*classes+int(c)] = 1
	}
	return out, nil
}

// FromOneHot is the inverse of OneHot: [N,classes] -> [N], integers. It refuses a row that is not one-hot.
func FromOneHot(a *Array) (*Array, error) {
	if a.RowSize() < 2 {
		return nil, fmt.Errorf("data: %q: samples of shape %v are not one-hot", a.Name, a.Shape[min(1, len(a.Shape)):])
	}
	labels, ok := Labels(a)
	if !ok {
		return nil, fmt.Errorf("data: %q: the rows are not one-hot", a.Name)
	}
	return &Array{Name: a.Name, Shape: []int{a.Rows()}, Int: labels}, nil
}

// NonFinite counts the NaN and infinite elements of an array and gives the first row that holds one; 0, -1 when there is none.
// They are a symptom, not an error: a bad run is data.
func NonFinite(a *Array) (count, firstRow int) {
	firstRow = -1
	for i, v := range a.Float {
		if d := float64(v); math.IsNaN(d) || math.IsInf(d, 0) {
			if count == 0 {
				firstRow = i / a.RowSize()
			}
			count++
		}
	}
	return count, firstRow
}
