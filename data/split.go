package data

import (
	"fmt"
	"math"
	"slices"
)

// Splits is a Set with its rows divided into three disjoint parts: the searcher trains on Train and is scored on Search;
// Holdout is touched once, by the verdict. Each part is sorted by row.
type Splits struct {
	Set
	Train, Search, Holdout []int32
}

// Ratios are the shares of the three parts; they are divided by their sum, so 8:1:1 and 0.8:0.1:0.1 are the same.
type Ratios struct{ Train, Search, Holdout float64 }

// DefaultRatios is 60:20:20: enough hold-out rows for the verdict of a small tabular set, as in common practice.
var DefaultRatios = Ratios{Train: 0.6, Search: 0.2, Holdout: 0.2}

func (r Ratios) check() error {
	for _, v := range []float64{r.Train, r.Search, r.Holdout} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("data: split ratios %v:%v:%v must be finite and not negative", r.Train, r.Search, r.Holdout)
		}
	}
	if r.Train == 0 || r.Search == 0 {
		return fmt.Errorf("data: split ratios %v:%v:%v leave no training or search part", r.Train, r.Search, r.Holdout)
	}
	return nil
}

// Split divides the rows of one Set by seed. With stratify every class of the first target (see Labels) is divided by the
// ratios on its own, so each part keeps the class shares to within one row per class; targets that are not labels are an error then.
// Every part whose ratio is not zero must get a row.
func Split(set Set, r Ratios, seed uint64, stratify bool) (Splits, error) {
	if err := r.check(); err != nil {
		return Splits{}, err
	}
	out, err := divide(set, set.Rows(), r, seed, stratify)
	if err != nil {
		return Splits{}, err
	}
	if r.Holdout > 0 && len(out.Holdout) == 0 {
		return Splits{}, fmt.Errorf("data: %d rows are too few to divide %v:%v:%v", set.Rows(), r.Train, r.Search, r.Holdout)
	}
	return out, nil
}

// Join makes Splits of a source that comes with its own test part: the test part is the hold-out, and the rows of the training part
// are divided between Train and Search by seed (and by class, with stratify) in the ratio of r; r.Holdout is not used.
func Join(train, test Set, r Ratios, seed uint64, stratify bool) (Splits, error) {
	r.Holdout = 0
	if err := r.check(); err != nil {
		return Splits{}, err
	}
	if test.Rows() == 0 {
		return Splits{}, fmt.Errorf("data: the test part has no rows")
	}
	both, err := Concat(train, test)
	if err != nil {
		return Splits{}, err
	}
	out, err := divide(both, train.Rows(), r, seed, stratify)
	if err != nil {
		return Splits{}, err
	}
	out.Holdout = rowRange(train.Rows(), both.Rows())
	return out, nil
}

// divide splits the first n rows of set.
func divide(set Set, n int, r Ratios, seed uint64, stratify bool) (Splits, error) {
	if int64(set.Rows()) > math.MaxInt32 {
		return Splits{}, fmt.Errorf("data: %d rows are more than the %d that are supported", set.Rows(), math.MaxInt32)
	}
	groups := [][]int32{rowRange(0, n)}
	if stratify {
		var err error
		if groups, err = rowsByClass(set, n); err != nil {
			return Splits{}, err
		}
	}
	out := Splits{Set: set}
	sum := r.Train + r.Search + r.Holdout
	search, holdout := r.Search/sum, r.Holdout/sum
	// The parts that are cut are rounded on the running total over the classes, so that the sizes of the parts come out right
	// even where every class is small.
	total, cutS, cutH := 0, 0, 0
	for c, rows := range groups {
		shuffle(rows, newRandom("split", seed, uint64(c)))
		total += len(rows)
		h := min(int(math.Round(holdout*float64(total)))-cutH, len(rows))
		s := min(int(math.Round(search*float64(total)))-cutS, len(rows)-h)
		cutH, cutS = cutH+h, cutS+s
		out.Holdout = append(out.Holdout, rows[:h]...)
		out.Search = append(out.Search, rows[h:h+s]...)
		out.Train = append(out.Train, rows[h+s:]...)
	}
	if len(out.Train) == 0 || len(out.Search) == 0 {
		return Splits{}, fmt.Errorf("data: %d rows are too few to divide %v:%v:%v", n, r.Train, r.Search, r.Holdout)
	}
	for _, part := range [][]int32{out.Train, out.Search, out.Holdout} {
		slices.Sort(part)
	}
	return out, nil
}

func rowRange(from, to int) []int32 {
	rows := make([]int32, 0, to-from)
	for r := from; r < to; r++ {
		rows = append(rows, int32(r))
	}
	return rows
}

// rowsByClass groups the first n rows by the class of the first target, classes in ascending order.
func rowsByClass(set Set, n int) ([][]int32, error) {
	if len(set.Targets) == 0 {
		return nil, fmt.Errorf("data: there is no target to stratify by")
	}
	labels, ok := Labels(&set.Targets[0])
	if !ok {
		return nil, fmt.Errorf("data: target %q holds no class labels to stratify by", set.Targets[0].Name)
	}
	byClass := map[int32][]int32{}
	for r, c := range labels[:n] {
		byClass[c] = append(byClass[c], int32(r))
	}
	keys := make([]int32, 0, len(byClass))
	for c := range byClass {
		keys = append(keys, c)
	}
	slices.Sort(keys)
	groups := make([][]int32, len(keys))
	for i, c := range keys {
		groups[i] = byClass[c]
	}
	return groups, nil
}
