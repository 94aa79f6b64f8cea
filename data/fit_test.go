package data

import (
	"slices"
	"testing"
)

func TestFitLayout(t *testing.T) {
	for _, c := range []struct {
		have, want, shape, perm []int
	}{
		{[]int{28, 28, 1}, []int{28, 28, 1}, []int{28, 28, 1}, nil},
		{[]int{28, 28, 1}, []int{-1, -1, -1}, []int{28, 28, 1}, nil},
		{[]int{28, 28, 1}, []int{1, 28, 28}, []int{1, 28, 28}, nil},
		{[]int{1, 28, 28}, []int{28, 28, 1}, []int{28, 28, 1}, nil},
		{[]int{28, 28}, []int{1, 28, 28}, []int{1, 28, 28}, nil},
		{[]int{28, 28}, []int{1, -1, 28}, []int{1, 28, 28}, nil},
		{[]int{784}, []int{1, 28, 28}, []int{1, 28, 28}, nil},
		{[]int{784}, []int{28, 28, 1}, []int{28, 28, 1}, nil},
		{[]int{784}, []int{28, 28}, []int{28, 28}, nil},
		{[]int{28, 28, 1}, []int{784}, []int{784}, nil},
		{[]int{32, 32, 3}, []int{3072}, []int{3072}, nil},
		{[]int{28, 28, 1}, []int{1, 784}, []int{1, 784}, nil},
		{[]int{32, 32, 3}, []int{3, 32, 32}, []int{3, 32, 32}, []int{2, 0, 1}},
		{[]int{3, 32, 32}, []int{32, 32, 3}, []int{32, 32, 3}, []int{1, 2, 0}},
		{[]int{32, 32, 3}, []int{3, -1, -1}, []int{3, 32, 32}, []int{2, 0, 1}},
		{[]int{3, 3, 3}, []int{3, 3, 3}, []int{3, 3, 3}, nil},
		{[]int{}, []int{1}, []int{1}, nil},
		{[]int{1}, []int{}, []int{}, nil},
		{[]int{4, 5, 6, 2}, []int{2, 4, 5, 6}, []int{2, 4, 5, 6}, []int{3, 0, 1, 2}},
	} {
		a := seq("x", append([]int{2}, c.have...)...)
		l, err := FitLayout(&a, append([]int{-1}, c.want...))
		if err != nil {
			t.Errorf("%v -> %v: %v", c.have, c.want, err)
			continue
		}
		if !slices.Equal(l.Shape, c.shape) || !slices.Equal(l.Perm, c.perm) {
			t.Errorf("%v -> %v: got %v, perm %v", c.have, c.want, l.Shape, l.Perm)
		}
		if err := l.Apply(&a).Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	for _, c := range []struct {
		have, want []int
		text       string
	}{
		{[]int{28, 30}, []int{28, 28}, `input "x": axis 2 is 30 in the data, 28 in the model`},
		{[]int{64}, []int{784}, `input "x": axis 1 is 64 in the data, 784 in the model`},
		{[]int{64}, []int{1, 28, 28}, `a sample has 64 values (64) in the data, 784 (1x28x28) in the model`},
		{[]int{3072}, []int{3, 32, 32}, `3072 flat values may hold the axes of 3x32x32 in any order`},
		{[]int{28, 28}, []int{-1, -1, -1}, `could become`},
		{[]int{7, 5, 7}, []int{-1, -1, 6}, `axis 3 is 7 in the data, 6 in the model`},
		{[]int{4, 5}, []int{5, 4}, `axis 1 is 4 in the data, 5 in the model; axis 2 is 5 in the data, 4 in the model`},
		{[]int{4, 5, 6}, []int{-1, 3}, `a sample has 3 axes (4x5x6) in the data, 2 (?x3) in the model`},
	} {
		a := seq("x", append([]int{2}, c.have...)...)
		_, err := Fit(a, append([]int{-1}, c.want...))
		wantError(t, err, c.text)
	}
	// A channel move that fits both ways says so rather than choosing.
	a := seq("x", 1, 4, 5, 4)
	_, err := Fit(a, []int{-1, -1, 4, -1})
	wantError(t, err, "could be the first axis or the last")
}

func TestFitTransposesEveryRow(t *testing.T) {
	a := seq("x", 2, 2, 3, 4) // rows of 2x3x4, channels last
	b, err := Fit(a, []int{-1, 4, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	for r := range 2 {
		for h := range 2 {
			for w := range 3 {
				for c := range 4 {
					if got, want := b.Float[((r*4+c)*2+h)*3+w], a.Float[((r*2+h)*3+w)*4+c]; got != want {
						t.Fatalf("row %d, y %d, x %d, channel %d: %v, want %v", r, h, w, c, got, want)
					}
				}
			}
		}
	}
	back, err := Fit(b, []int{-1, 2, 3, 4})
	if err != nil || !slices.Equal(back.Float, a.Float) {
		t.Errorf("the way back differs: %v", err)
	}
}

func TestMatch(t *testing.T) {
	arrays := []Array{seq("image", 1), seq("angles", 1)}
	got, err := Match(arrays, []string{"angles", "image"})
	if err != nil || !slices.Equal(got, []int{1, 0}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err = Match(arrays[:1], []string{"input_1"}); err != nil || !slices.Equal(got, []int{0}) {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = Match(arrays, []string{"image", "x"})
	wantError(t, err, `no array for "x"`)
	_, err = Match(arrays, []string{"image"})
	wantError(t, err, `array "angles" belongs to nothing`)
}
