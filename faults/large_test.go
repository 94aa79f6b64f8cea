package faults_test

import (
	"fmt"
	"slices"
	"testing"

	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/models"
	"netmend/train"
)

// sampleShapes are those of package dataset's documentation.
var sampleShapes = map[string][]int64{"imdb200": {200}, "imdb80": {80}, "imdb64": {64}, "imdb40": {40}, "cifar10-chw": {3, 32, 32}, "cifar10-chw16": {3, 16, 16}}

// TestLargeFaults: six faults of every larger network, four of one edit and two of several, that are mended to one and the same subject, whose
// graph is the network's.
func TestLargeFaults(t *testing.T) {
	const perNetwork = 6
	of := map[string][]train.Recipe{}
	single := map[string]int{}
	for i, f := range faults.Large() {
		if want := fmt.Sprintf("L%d", i+1); f.ID != want || f.HasPublished() || f.Keys != nil {
			t.Errorf("fault %s stands at the place of %s, published: %t, keys %v", f.ID, want, f.HasPublished(), f.Keys)
		}
		if f.Lite.Network != f.Network+"-lite" || !slices.Contains(models.LargeNames(), f.Lite.Network) {
			t.Errorf("%s: the lite network is %q", f.ID, f.Lite.Network)
		}
		var mended []train.Recipe
		for _, scale := range scales {
			p, err := f.Problem(scale)
			if err != nil {
				t.Fatal(err)
			}
			if shape, _ := p.Model.Graph.Inputs[0].Type.Dims(); !slices.Equal(shape[1:], sampleShapes[p.Data]) || !slices.Contains(dataset.Names(), p.Data) {
				t.Errorf("%s at %s scale: the network takes %v, the data set %q has %v", f.ID, scale, shape[1:], p.Data, sampleShapes[p.Data])
			}
			m, r, err := f.Fixed(scale)
			if err != nil {
				t.Fatal(err)
			}
			if r.Equal(p.Recipe) && slices.Equal(ops(m), ops(p.Model)) {
				t.Errorf("%s: nothing is wrong at %s scale", f.ID, scale)
			}
			if len(f.FixAt(scale)) != len(f.Fix) {
				t.Errorf("%s: %d edits at %s scale, %d on paper", f.ID, len(f.FixAt(scale)), scale, len(f.Fix))
			}
			network := map[faults.Scale]string{faults.PaperScale: f.Network, faults.LiteScale: f.Lite.Network}[scale]
			healthy, err := models.Build(network)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ops(m), ops(healthy); !slices.Equal(got, want) {
				t.Errorf("%s: the fixed graph is %v, the network %v", f.ID, got, want)
			}
			mended = append(mended, r)
		}
		if first, ok := of[f.Network]; !ok {
			of[f.Network] = mended
		} else if !slices.EqualFunc(mended, first, train.Recipe.Equal) {
			t.Errorf("%s: the fixed recipe is not that of the network's first fault:\n%+v\nwant\n%+v", f.ID, mended, first)
		}
		if len(f.Fix) == 1 {
			single[f.Network]++
		}
	}
	if len(of) == 0 || len(of)*perNetwork != len(faults.Large()) {
		t.Errorf("%d faults of %d networks", len(faults.Large()), len(of))
	}
	for name := range of {
		if single[name] != 4 {
			t.Errorf("%s has %d faults of one edit", name, single[name])
		}
	}
}
