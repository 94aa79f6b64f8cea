package devicetest

import "testing"

func TestGradients(t *testing.T) { Gradients(t) }

func TestCoverage(t *testing.T) {
	have := Coverage(t)
	for _, w := range Wanted() {
		if have[w] == 0 {
			t.Errorf("no case runs %s", w)
		}
	}
}

// A name is the seed of its inputs and what a failure is replayed by.
func TestNamesAreUnique(t *testing.T) {
	for _, list := range [][]testCase{table(), nonFinite()} {
		seen := make(map[string]bool)
		for _, c := range list {
			if seen[c.name] {
				t.Errorf("two cases are called %q", c.name)
			}
			seen[c.name] = true
		}
	}
}
