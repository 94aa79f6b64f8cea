package train

import (
	"slices"

	"netmend/onnx"
	"netmend/train/lower"
)

// Param is a float initializer of a graph under a recipe.
type Param struct {
	lower.Param
	Trained bool
}

// Params lists the float initializers of a graph that are no constants, in file order. A graph does not tell a bare parameter (a position
// table, a class token, the scale of a layer) from a constant: the recipe does, by an entry of its initializers, and it then has the role
// [lower.Parameter]. Running statistics and what the recipe freezes are not trained.
func Params(m *onnx.Model, r Recipe) ([]Param, error) {
	all, err := lower.Params(m)
	if err != nil {
		return nil, err
	}
	var params []Param
	for _, q := range all {
		if q.Role == lower.Fixed {
			if _, named := r.Initializers[q.Name]; !named {
				continue
			}
			q.Role = lower.Parameter
			q.FanIn, q.FanOut = bareFans(q.Shape, r.Semantics)
		}
		statistic := q.Role == lower.RunningMean || q.Role == lower.RunningVar
		params = append(params, Param{q, !statistic && !slices.Contains(r.Frozen, q.Name)})
	}
	return params, nil
}

// bareFans are the fans that a framework's initialisers count of a tensor by its shape alone: its last two axes are inputs and outputs in
// Keras (keras/src/initializers/random_initializers.py, compute_fans), its first two outputs and inputs in PyTorch (torch/nn/init.py,
// _calculate_fan_in_and_fan_out), times the other axes. A vector counts its length for both, as Keras does.
func bareFans(shape []int, s Semantics) (in, out int) {
	n, rank := 1, len(shape)
	for _, d := range shape {
		n *= d
	}
	if rank < 2 {
		return n, n
	}
	a, b := shape[rank-2], shape[rank-1]
	if s == PyTorch {
		a, b = shape[1], shape[0]
	}
	area := n / max(1, a*b)
	return a * area, b * area
}
