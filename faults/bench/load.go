package bench

import (
	"fmt"

	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/repair"
	"netmend/repair/operators"
)

// Entries are faults that load their data from root, the folder of the real sets.
func Entries(list []faults.Fault, scale faults.Scale, proto faults.Protocol, root string, seed uint64) []Entry {
	out := make([]Entry, len(list))
	for i, f := range list {
		out[i] = Entry{Fault: f, Load: func() (Case, error) { return load(f, scale, proto, root, seed) }}
	}
	return out
}

func load(f faults.Fault, scale faults.Scale, proto faults.Protocol, root string, seed uint64) (Case, error) {
	p, err := f.Problem(scale)
	if err != nil {
		return Case{}, err
	}
	train, test, err := dataset.Open(p.Data, root, p.TrainRows, p.TestRows)
	if err != nil {
		return Case{}, err
	}
	x := Case{Fix: f.FixAt(scale), Keys: p.Keys, MinEpochs: p.MinEpochs}
	if x.MinEpochs == 0 {
		x.MinEpochs = -1 // technique.Setup: no bound
	}
	if x.Faulty, err = p.Subject(train, test, proto, seed); err != nil {
		return Case{}, err
	}
	if x.Fixed, err = fixedSubject(f, scale, x.Faulty); err != nil {
		return Case{}, err
	}
	return x, nil
}

// fixedSubject is the faulty subject with the ground truth applied.
func fixedSubject(f faults.Fault, scale faults.Scale, faulty repair.Subject) (repair.Subject, error) {
	s, err := operators.All().Apply(faulty, f.FixAt(scale))
	if err != nil {
		return s, fmt.Errorf("bench: fault %s: fix: %w", f.ID, err)
	}
	return s, nil
}
