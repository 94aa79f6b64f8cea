package dataset

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"netmend/data"
)

// adultNumbers are the numeric columns of the Adult set, adultWords its columns of words with the words that get an indicator: 31 features
// together, as many as the Higgs set has without EventId and Label. The rare word Never-worked and missing ones ("?") get none. The column fnlwgt
// is left out: it is a sampling weight of up to 1.5 million, unscaled beside which nothing else is learnt (both programs of D2 then give the
// accuracy of the more common class).
var (
	adultNumbers = []int{0, 4, 10, 11, 12} // age, education-num, capital-gain, capital-loss, hours-per-week
	adultWords   = []struct {
		column int
		words  []string
	}{
		{1, []string{"Federal-gov", "Local-gov", "Private", "Self-emp-inc", "Self-emp-not-inc", "State-gov", "Without-pay"}},
		{5, []string{"Divorced", "Married-AF-spouse", "Married-civ-spouse", "Married-spouse-absent", "Never-married", "Separated", "Widowed"}},
		{7, []string{"Husband", "Not-in-family", "Other-relative", "Own-child", "Unmarried", "Wife"}},
		{8, []string{"Amer-Indian-Eskimo", "Asian-Pac-Islander", "Black", "Other", "White"}},
		{9, []string{"Male"}},
	}
)

// As many rows as the published program for D2 takes from its file, divided 7:3 as there.
const (
	adultEach      = 5_000 // rows of either class
	adultColumns   = 15
	adultTestShare = 0.3
)

// adult stands in for the Higgs challenge's training.csv: the first 5,000 rows of either class of adult-train.csv, in the order of the file, unscaled,
// the common class (income <= 50K; there: background) labelled 1. The classes are balanced because the accuracy of the file's 76 % is hard to
// tell from that of a network that learnt something: Keras on these rows gives 0.68-0.72 for D2's faulty program and 0.81 for the fixed one (two
// seeds; published on Higgs: 0.53 and 0.71).
func adult(root string) (train, test data.Set, err error) {
	path, err := present(root, "tabular", "adult-train.csv")
	if err != nil {
		return train, test, err
	}
	f, err := os.Open(path)
	if err != nil {
		return train, test, err
	}
	defer f.Close()
	var x []float32
	var y []int32
	lines := bufio.NewScanner(f)
	var have [2]int
	for line := 1; have[0]+have[1] < 2*adultEach && lines.Scan(); line++ {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) == 1 && strings.TrimSpace(fields[0]) == "" {
			continue // UCI's file ends in an empty line
		}
		more, label, err := adultRow(x, fields)
		if err != nil {
			return train, test, fmt.Errorf("%q: line %d: %w", path, line, err)
		}
		if have[label] == adultEach {
			continue
		}
		have[label]++
		x, y = more, append(y, label)
	}
	if err := lines.Err(); err != nil {
		return train, test, fmt.Errorf("%q: %w", path, err)
	}
	if have[0]+have[1] < 2*adultEach {
		return train, test, fmt.Errorf("%q has %d rows of >50K and %d of <=50K, %d of each are needed", path, have[0], have[1], adultEach)
	}
	train, test = dividedBy(labelled([]int{len(x) / len(y)}, x, y), adultTestShare)
	return train, test, nil
}

// adultRow appends the features of a row to x, the numbers, then an indicator for every word of adultWords, and gives its label.
func adultRow(x []float32, fields []string) (to []float32, label int32, err error) {
	if len(fields) != adultColumns {
		return nil, 0, fmt.Errorf("it has %d columns, not %d", len(fields), adultColumns)
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	switch c := fields[adultColumns-1]; c {
	case "<=50K":
		label = 1
	case ">50K":
	default:
		return nil, 0, fmt.Errorf("class %q is neither <=50K nor >50K", c)
	}
	for _, c := range adultNumbers {
		v, err := strconv.ParseFloat(fields[c], 32)
		if err != nil {
			return nil, 0, fmt.Errorf("column %d: %q is no number", c+1, fields[c])
		}
		x = append(x, float32(v))
	}
	for _, w := range adultWords {
		at := len(x)
		x = append(x, make([]float32, len(w.words))...)
		if i := slices.Index(w.words, fields[w.column]); i >= 0 {
			x[at+i] = 1
		}
	}
	return x, label, nil
}
