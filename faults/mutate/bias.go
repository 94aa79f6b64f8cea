package mutate

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// A bias is the third input of a Conv or Gemm, or an Add behind a product, as Keras' dense layers are exported. The repair operators know which
// tensors are kernels and biases; a layer without bias is targeted by its kernel, one with by its bias.

// tensors are the targets of a repair operator's slots.
func tensors(s repair.Subject, operator string) map[string]bool {
	names := map[string]bool{}
	for _, x := range fixer(operator).Slots(s) {
		names[x.Target] = true
	}
	return names
}

// bare finds the node that multiplies with a kernel where that layer has no bias; nil otherwise.
func bare(g *onnx.Graph, kernel string, biases map[string]bool) *onnx.Node {
	users := g.Consumers(kernel)
	if len(users) != 1 || users[0].Input(1) != kernel {
		return nil
	}
	n := users[0]
	switch {
	case n.Is("Conv"), n.Is("Gemm"):
		if n.Input(2) != "" {
			return nil
		}
	case !n.Is("MatMul"):
		return nil
	}
	value := n.Output(0)
	for range len(g.Nodes) { // through what only moves elements to the Add
		next := g.Consumers(value)
		if len(next) != 1 || g.Output(value) != nil {
			return n
		}
		switch {
		case next[0].Is("Add") && slices.ContainsFunc(next[0].Inputs, func(in string) bool { return biases[in] }):
			return nil
		case !next[0].Is("Squeeze") && !next[0].Is("Unsqueeze") && !next[0].Is("Reshape") && !next[0].Is("Transpose") && !next[0].Is("Identity"):
			return n
		}
		value = next[0].Output(0)
	}
	return n
}

func addBiasSites(s repair.Subject) []Site {
	var sites []Site
	biases := tensors(s, "bias_initializer")
	for _, x := range fixer("kernel_initializer").Slots(s) {
		if bare(s.Model.Graph, x.Target, biases) != nil {
			sites = append(sites, Site{Target: x.Target, Values: words("use_bias")})
		}
	}
	return sites
}

// addBias is WAB. The new bias starts as the framework's layers do: the recipe gets zeros for it in Keras, and says nothing in PyTorch, where
// the trainer draws it from the range that the kernel's inputs give.
func addBias(s repair.Subject, x Site, _ repair.Value, _ *rand.Rand) (repair.Subject, error) {
	s.Model, s.Recipe = s.Model.Clone(), s.Recipe.Clone()
	g := s.Model.Graph
	n := bare(g, x.Target, tensors(s, "bias_initializer"))
	k := g.Initializer(x.Target)
	units := k.Dims[len(k.Dims)-1]
	if n.Is("Conv") || n.Is("Gemm") && n.Int("transB", 0) != 0 {
		units = k.Dims[0]
	}
	bias := onnx.NewFloat32(g.NewName(x.Target+"_bias"), []int64{units}, make([]float32, units))
	g.SetInitializer(bias)
	if s.Model.IRVersion < 4 { // initializers are inputs too there
		g.Inputs = append(g.Inputs, onnx.NewValue(bias.Name, bias.Type, int(units)))
	}
	if s.Recipe.Semantics == train.Keras {
		if s.Recipe.Initializers == nil {
			s.Recipe.Initializers = map[string]train.Initializer{}
		}
		s.Recipe.Initializers[bias.Name] = train.Initializer{Name: "zeros"}
	}
	if n.Is("MatMul") {
		return s, g.InsertAfter(n.Output(0), onnx.NewNode("Add", g.NewName(bias.Name+"_add"), []string{n.Output(0), bias.Name}, nil))
	}
	n.Inputs = append(slices.Clone(n.Inputs[:2]), bias.Name)
	return s, nil
}

func removeBiasSites(s repair.Subject) []Site {
	var sites []Site
	for _, x := range fixer("bias_initializer").Slots(s) {
		users := s.Model.Graph.Consumers(x.Target)
		if len(users) != 1 {
			continue
		}
		// Before operator set 11 a Gemm must have its third input.
		n := users[0]
		third := (n.Is("Conv") || n.Is("Gemm") && s.Model.Opset("") >= 11) && n.Input(2) == x.Target
		if third || n.Is("Add") {
			sites = append(sites, Site{Target: x.Target, Values: words("no_bias")})
		}
	}
	return sites
}

// removeBias is WRB. What the recipe says of the bias goes with it.
func removeBias(s repair.Subject, x Site, _ repair.Value, _ *rand.Rand) (repair.Subject, error) {
	s.Model, s.Recipe = s.Model.Clone(), s.Recipe.Clone()
	g := s.Model.Graph
	n := g.Consumers(x.Target)[0]
	if n.Is("Add") {
		if err := g.Remove(n); err != nil {
			return repair.Subject{}, err
		}
	} else {
		n.Inputs = slices.Clone(n.Inputs[:2])
	}
	if len(g.Consumers(x.Target)) > 0 {
		return repair.Subject{}, fmt.Errorf("bias %q is still in use", x.Target)
	}
	g.Initializers = slices.DeleteFunc(g.Initializers, func(t *onnx.Tensor) bool { return t.Name == x.Target })
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v onnx.Value) bool { return v.Name == x.Target })
	g.ValueInfo = slices.DeleteFunc(g.ValueInfo, func(v onnx.Value) bool { return v.Name == x.Target })
	delete(s.Recipe.Initializers, x.Target)
	delete(s.Recipe.Regularizers, x.Target)
	s.Recipe.Frozen = slices.DeleteFunc(s.Recipe.Frozen, func(name string) bool { return name == x.Target })
	return s, nil
}
