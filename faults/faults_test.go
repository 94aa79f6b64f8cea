package faults_test

import (
	"testing"

	"netmend/faults"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/train/lower"
)

func TestSubjects(t *testing.T) {
	for _, f := range faults.All() {
		t.Run(f.ID, func(t *testing.T) {
			p, err := f.Problem(faults.PaperScale)
			if err != nil {
				t.Fatal(err)
			}
			if err := lower.Check(p.Model); err != nil {
				t.Error(err)
			}
			space := operators.All().Space(repair.Subject{Model: p.Model, Recipe: p.Recipe})
			for _, k := range p.Keys {
				if _, ok := space.Slot(k); !ok {
					t.Errorf("there is no slot %v", k)
				}
			}
			m, _, err := f.Fixed(faults.PaperScale)
			if err != nil {
				t.Fatal(err)
			}
			if err := lower.Check(m); err != nil {
				t.Error(err)
			}
		})
	}
}
