package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"netmend/data"
)

// writeReviews makes a folder of reviews as the real one is.
func writeReviews(t *testing.T, trainPart, testPart string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "imdb"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"train.tsv.xz": trainPart, "test.tsv.xz": testPart} {
		f, err := os.Create(filepath.Join(root, "imdb", name))
		if err != nil {
			t.Fatal(err)
		}
		z, err := xz.NewWriter(f)
		if err == nil {
			_, err = z.Write([]byte(text))
		}
		if err == nil {
			err = z.Close()
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The words by hand: "the" is the most frequent of the training part, then "don't" and "film", which the alphabet orders.
func TestReviewsAsWords(t *testing.T) {
	root := writeReviews(t, "0\t0_1\tThe film.<br />Don't!\n1\t0_9\tthe Film don't THE end\n", "1\t1_9\tthe end, unheard\n")
	train, test, err := imdb(4)(root)
	if err != nil {
		t.Fatal(err)
	}
	// the 4, don't 5, film 6, end 7
	if want := []int32{1, 4, 6, 5, 6, 5, 4, 7}; !slices.Equal(train.Inputs[0].Int, want) {
		t.Errorf("training texts are %v, want %v", train.Inputs[0].Int, want)
	}
	if want := []int32{1, 4, 7, 2}; !slices.Equal(test.Inputs[0].Int, want) {
		t.Errorf("test texts are %v, want %v: words that the training part lacks are rare ones", test.Inputs[0].Int, want)
	}
	if !slices.Equal(train.Targets[0].Int, []int32{0, 1}) || !slices.Equal(train.Inputs[0].Shape, []int{2, 4}) {
		t.Errorf("classes %v, shape %v", train.Targets[0].Int, train.Inputs[0].Shape)
	}
	var many []string
	for i := range imdbWords {
		many = append(many, fmt.Sprint(i))
	}
	top := int32(0)
	for _, i := range vocabulary([][]string{many}, imdbWords-wordOffset-1) {
		top = max(top, i)
	}
	if top != imdbWords-1 {
		t.Errorf("the last word has the index %d, the embedding has %d rows", top, imdbWords)
	}
	for _, bad := range []string{"2\tid\ttext\n", "1\tid\n", "good\tid\ttext\n"} {
		if _, _, err := imdb(4)(writeReviews(t, bad, "")); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q is read: %v", bad, err)
		}
	}
}

func TestIMDB(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 50,000 reviews")
	}
	train, test := open(t, "imdb40")
	for _, s := range []data.Set{train, test} {
		y := s.Targets[0].Int
		if len(y) != 25_000 || !slices.IsSorted(y) || !slices.Equal(data.ClassCounts(y, nil, 2), []int{12_500, 12_500}) {
			t.Errorf("%d reviews, in order %t, classes %v", len(y), slices.IsSorted(y), data.ClassCounts(y, nil, 2))
		}
		if lo, hi := data.LabelRange(s.Inputs[0].Int); lo < 0 || hi >= imdbWords {
			t.Errorf("words from %d to %d", lo, hi)
		}
	}
}

func TestMoveChannels(t *testing.T) {
	// One image of 2 x 4 pixels with two channels: pixel p has p and 10 + p.
	a := data.Array{Name: "x", Shape: []int{1, 2, 4, 2}}
	for p := range 8 {
		a.Float = append(a.Float, float32(p), float32(10+p))
	}
	for block, want := range map[int]data.Array{
		1: {Shape: []int{1, 2, 2, 4}, Float: []float32{0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17}},
		2: {Shape: []int{1, 2, 1, 2}, Float: []float32{2.5, 4.5, 12.5, 14.5}},
	} {
		if got := moveChannels(a, block); got.Name != "x" || !slices.Equal(got.Shape, want.Shape) || !slices.Equal(got.Float, want.Float) {
			t.Errorf("blocks of %d: %v %v, want %v %v", block, got.Shape, got.Float, want.Shape, want.Float)
		}
	}
}
