package engine

import (
	"fmt"
	"slices"
)

// Transfer checks what the host loads into a tensor of one of some roles, or fetches from it, and gives the tensor. values is as in Executable.Load.
// Every device refuses the same with the same words; verb, "load" or "fetch", begins them.
func (p *Program) Transfer(verb string, id TensorID, values any, roles ...Role) (*Tensor, error) {
	var n int
	var isInt bool
	switch v := values.(type) {
	case []float32:
		n = len(v)
	case []float64:
		n = len(v)
	case []int32:
		n, isInt = len(v), true
	default:
		return nil, fmt.Errorf("engine: %s tensor %d: values of type %T, wants []float32, []float64 or []int32", verb, id, values)
	}
	if id < 0 || int(id) >= len(p.Tensors) {
		return nil, fmt.Errorf("engine: %s: the program has no tensor %d", verb, id)
	}
	t := &p.Tensors[id]
	switch {
	case !slices.Contains(roles, t.Role):
		return nil, fmt.Errorf("engine: %s %q: a %v tensor, wants one of %v", verb, t.Name, t.Role, roles)
	case isInt != (t.Type == Int):
		return nil, fmt.Errorf("engine: %s %q: the tensor is %v, wants []int32 for int and []float32 or []float64 for float", verb, t.Name, t.Type)
	case n != t.Len():
		return nil, fmt.Errorf("engine: %s %q: %d values for shape %v, wants %d", verb, t.Name, n, t.Shape, t.Len())
	}
	return t, nil
}
