package data

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// shared is the path of a data set outside of the repository; the test is skipped where it is absent.
func shared(t *testing.T, name string) string {
	t.Helper()
	root := os.Getenv("NETMEND_DATA")
	if root == "" {
		root = "../../shared/data"
	} else if !filepath.IsAbs(root) {
		root = filepath.Join("..", root) // relative to the root of the repository
	}
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the data set %s is absent: set NETMEND_DATA", path)
	}
	return path
}

func mean(f []float32) float64 {
	sum := 0.0
	for _, v := range f {
		sum += float64(v)
	}
	return sum / float64(len(f))
}

func TestOptdigits(t *testing.T) {
	s, err := Open("../testdata/optdigits", Options{})
	if err != nil {
		t.Fatal(err)
	}
	x, y := &s.Train.Inputs[0], &s.Train.Targets[0]
	if !slices.Equal(x.Shape, []int{3823, 64}) || s.Test.Rows() != 1797 {
		t.Fatalf("shape %v, %d test rows", x.Shape, s.Test.Rows())
	}
	// The counts of optdigits.names.
	if got := ClassCounts(y.Int, nil, 10); !slices.Equal(got, []int{376, 389, 380, 389, 387, 376, 377, 387, 380, 382}) {
		t.Errorf("class counts are %v", got)
	}
	if got := ClassCounts(s.Test.Targets[0].Int, nil, 10); !slices.Equal(got, []int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}) {
		t.Errorf("class counts of the test part are %v", got)
	}
	splits, err := s.Split(Ratios{Train: 8, Search: 2}, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(splits.Train) != 3058 || len(splits.Search) != 765 || len(splits.Holdout) != 1797 {
		t.Errorf("parts have %d, %d, %d rows", len(splits.Train), len(splits.Search), len(splits.Holdout))
	}
	if _, err := Fit(splits.Inputs[0], []int{-1, 1, 8, 8}); err != nil {
		t.Error(err)
	}
}

func TestMNIST(t *testing.T) {
	path := shared(t, "mnist")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &s.Train.Inputs[0]
	if !slices.Equal(x.Shape, []int{60000, 28, 28}) || s.Test.Rows() != 10000 {
		t.Fatalf("shape %v, %d test rows", x.Shape, s.Test.Rows())
	}
	// 33.3184 is the well-known mean of the training pixels (0.1307 of 255).
	if m := mean(x.Float); math.Abs(m-33.3184) > 1e-3 {
		t.Errorf("mean pixel is %v", m)
	}
	if got := ClassCounts(s.Train.Targets[0].Int, nil, 10); !slices.Equal(got, []int{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}) {
		t.Errorf("class counts are %v", got)
	}
	s, err = Open(path, Options{Limit: 100})
	if err != nil || s.Train.Rows() != 100 || s.Test.Rows() != 10000 {
		t.Errorf("limit: %d rows, %v", s.Train.Rows(), err)
	}
}

func TestCIFARArchive(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 88 MiB")
	}
	s, err := Open(shared(t, "cifar10/cifar10-jpeg.tar.xz"), Options{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Train.Inputs[0].Shape, []int{1000, 32, 32, 3}) || s.Test.Rows() != 10000 || len(s.Train.Classes) != 10 || s.Train.Classes[0] != "airplane" {
		t.Fatalf("got %v, %d test rows, %q", s.Train.Inputs[0].Shape, s.Test.Rows(), s.Train.Classes)
	}
	if got := ClassCounts(s.Train.Targets[0].Int, nil, 10); slices.Min(got) != 100 {
		t.Errorf("class counts are %v", got)
	}
	// 0.4914, 0.4822, 0.4465 of 255 are the channel means that are in use for CIFAR-10.
	for c, want := range []float64{0.4914, 0.4822, 0.4465} {
		sum, n := 0.0, 0
		for i := c; i < len(s.Test.Inputs[0].Float); i += 3 {
			sum += float64(s.Test.Inputs[0].Float[i])
			n++
		}
		if got := sum / float64(n) / 255; math.Abs(got-want) > 0.01 {
			t.Errorf("mean of channel %d is %v", c, got)
		}
	}
	if a, err := Fit(s.Train.Inputs[0], []int{-1, 3, 32, 32}); err != nil || a.Shape[1] != 3 {
		t.Errorf("%v, %v", a.Shape, err)
	}
}

func TestTabular(t *testing.T) {
	for _, c := range []struct {
		name        string
		o           Options
		rows, width int
		classes     int // names of classes; 0: none
		err         string
	}{
		{name: "iris.csv", rows: 150, width: 4, classes: 3},
		{name: "wine.csv", rows: 178, width: 13},
		{name: "sonar.csv", rows: 208, width: 60, classes: 2},
		{name: "pima-indians-diabetes.csv", rows: 768, width: 8},
		{name: "wheat-seeds.csv", rows: 210, width: 7},
		{name: "banknote_authentication.csv", rows: 1372, width: 4},
		{name: "ionosphere.csv", rows: 351, width: 34, classes: 2},
		{name: "housing.csv", rows: 506, width: 13},
		{name: "haberman.csv", rows: 306, width: 3},
		{name: "abalone.csv", err: `line 1, column 1: "M" is no number`},
		{name: "abalone.csv", o: Options{Categorical: []string{"*"}}, rows: 4177, width: 10},
		{name: "adult-train.csv", err: `line 1, column 2: "State-gov" is no number`},
		{name: "adult-train.csv", o: Options{Categorical: []string{"*"}}, err: `line 15, column 14: the value is missing ("?")`},
		{name: "breast-cancer-wisconsin.csv", err: `column 6: the value is missing ("?")`},
	} {
		s, err := Open(shared(t, "tabular/"+c.name), c.o)
		if c.err != "" {
			wantError(t, err, c.err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.Equal(s.Train.Inputs[0].Shape, []int{c.rows, c.width}) || len(s.Train.Classes) != c.classes {
			t.Errorf("%s: shape %v, classes %q", c.name, s.Train.Inputs[0].Shape, s.Train.Classes)
		}
	}
	_, err := Open(shared(t, "tabular"), Options{})
	wantError(t, err, "holds 13 csv files")
}
