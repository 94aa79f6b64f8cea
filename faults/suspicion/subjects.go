package suspicion

import (
	"fmt"
	"slices"

	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/repair"
	"netmend/repair/operators"
)

// Subject is a healthy network that mutants are made of.
type Subject struct {
	Name    string
	Network string       // of package models: the family of its faults
	Patch   repair.Patch // of the fixed subject; empty: it as it is
	// An operator ends with Worse mutants that are worse, or Tries that were tried. What takes seconds to train is mutated less.
	Tries, Worse int
}

// Subjects are the fixed subjects of the benchmark that train in less than a second at lite scale, and variants of them that do as well or better:
// other ways to build and train the same network on the same data, so that a family is more than one recipe. Those of M, C, U, D5 and D9 take
// seconds, many times as long as the quick ones; a line each would add them. The quickest come first.
var Subjects = []Subject{
	{"D7", "D7", nil, 16, 5},
	{"D6", "D6", nil, 16, 5},
	{"D3", "D3", nil, 16, 5},
	{"D1", "D1", nil, 12, 4},
	{"D1-adam", "D1", patch("optimizer", "recipe", "adam", "activation", "dense1/activation", "elu", "activation", "dense2/activation", "elu"), 12, 4},
	{"D4", "D4", nil, 12, 4},
	{"D4-adam", "D4", patch("optimizer", "recipe", "adam", "activation", "dense1/MatMul_sigmoid", "relu", "kernel_initializer", "dense1/kernel", "glorot_uniform",
		"kernel_initializer", "dense2/kernel", "glorot_uniform", "bias_initializer", "dense1/bias", "zeros", "bias_initializer", "dense2/bias", "zeros"), 12, 4},
	{"D4-deep", "D4", patch("layer", "dense1/MatMul", 2., "activation", "dense1/MatMul_sigmoid", "tanh", "kernel_initializer", "dense1/kernel", "glorot_normal",
		"kernel_initializer", "dense2/kernel", "glorot_normal", "bias_initializer", "dense1/bias", "zeros", "bias_initializer", "dense2/bias", "zeros",
		"batch_normalization", "dense1/MatMul", "before_activation"), 12, 4},
	{"D8", "D8", nil, 8, 3},
	{"D2-scaled", "D2", patch("input_scaling", "input", "standardize", "epochs", "recipe", 5., "units", "dense1/MatMul", 300., "units", "dense2/MatMul", 200.), 8, 3},
	{"R", "R", nil, 4, 2},
}

// patch is made of operator, target and value in turn.
func patch(words ...any) repair.Patch {
	var p repair.Patch
	for i := 0; i < len(words); i += 3 {
		e := repair.Edit{Operator: words[i].(string), Target: words[i+1].(string)}
		switch v := words[i+2].(type) {
		case string:
			e.Value = repair.Word(v)
		case float64:
			e.Value = repair.Num(v)
		}
		p = p.With(e)
	}
	return p
}

// Load makes the subject, at lite scale under the strict protocol.
func (x Subject) Load(root string) (repair.Subject, error) {
	all := faults.All()
	i := slices.IndexFunc(all, func(f faults.Fault) bool { return f.Network == x.Network })
	if i < 0 {
		return repair.Subject{}, fmt.Errorf("suspicion: no fault has the network %q", x.Network)
	}
	p, err := all[i].Problem(faults.LiteScale)
	if err != nil {
		return repair.Subject{}, err
	}
	if p.Model, p.Recipe, err = all[i].Fixed(faults.LiteScale); err != nil {
		return repair.Subject{}, err
	}
	s, err := load(p, root)
	if err != nil {
		return repair.Subject{}, err
	}
	return operators.All().Apply(s, x.Patch)
}

func load(p faults.Problem, root string) (repair.Subject, error) {
	trainSet, testSet, err := dataset.Open(p.Data, root, p.TrainRows, p.TestRows)
	if err != nil {
		return repair.Subject{}, err
	}
	return p.Subject(trainSet, testSet, faults.StrictProtocol, 1)
}
