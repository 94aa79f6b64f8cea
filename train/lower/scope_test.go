package lower

import (
	"slices"
	"strings"

	"netmend/onnx"
)

// The official node tests cover all of ONNX. netmend trains networks in float32 (float64 where a model says so), so that a test is in scope
// when it is of a float model: one that takes or gives a tensor of float32 or float64. The rest is out of scope for one of these reasons,
// the first that holds:
const (
	outContainer = "sequence, optional or map"
	outString    = "strings"
	outDomain    = "operators outside the default domain (ai.onnx.ml, preview, training)"
	outQuantised = "quantisation"
	outPrecision = "float16, bfloat16, float8, float4, 4 and 2 bit integers"
	outIntegers  = "no float tensor: integers, booleans or bytes only"
	outRandom    = "numpy's random numbers"
)

var (
	// operators of quantised arithmetic, which the default domain holds.
	quantised = []string{"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
	// operators over containers and strings.
	containers = []string{"SplitToSequence", "ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
		"SequenceLength", "SequenceMap", "Optional", "OptionalGetElement", "OptionalHasElement"}
	random = []string{"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
)

// outOfScope says why a test is none of a float model; "" when it is one.
func (o *officialTest) outOfScope() string {
	s := &scope{}
	g := o.model.Graph
	s.graph(g)
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		s.float = s.float || v.Type.Elem == onnx.Float32 || v.Type.Elem == onnx.Float64
	}
	is := func(ops []string) bool {
		return slices.ContainsFunc(s.ops, func(op string) bool { return slices.Contains(ops, op) })
	}
	switch {
	case s.container || is(containers):
		return outContainer
	case slices.Contains(s.types, onnx.StringType):
		return outString
	case slices.ContainsFunc(s.ops, func(op string) bool { return strings.Contains(op, ":") }):
		return outDomain
	case is(quantised):
		return outQuantised
	case slices.ContainsFunc(s.types, func(t onnx.DataType) bool { return t != onnx.Undefined && !slices.Contains(readable, t) }):
		return outPrecision
	case !s.float:
		return outIntegers
	case is(random) || randomTest(o.name):
		return outRandom
	}
	return ""
}

// scope collects what a model is made of.
type scope struct {
	container, float bool
	types            []onnx.DataType
	ops              []string // with their domain, unless it is the default one
}

func (s *scope) graph(g *onnx.Graph) {
	for _, v := range slices.Concat(g.Inputs, g.Outputs, g.ValueInfo) {
		s.container = s.container || v.Type.Kind != onnx.KindTensor && v.Type.Kind != onnx.KindUnknown
		s.types = append(s.types, v.Type.Elem)
	}
	for _, t := range g.Initializers {
		s.types = append(s.types, t.Type)
	}
	for _, n := range g.Nodes {
		s.ops = append(s.ops, opName(n))
		if n.Is("Cast") {
			s.types = append(s.types, onnx.DataType(n.Int("to", 0)))
		}
		if t := n.Tensor("value"); t != nil {
			s.types = append(s.types, t.Type)
		}
		for _, sub := range n.Subgraphs() {
			s.graph(sub)
		}
	}
}

// randomTest names those that compare with numpy's random numbers, which no other generator draws.
func randomTest(name string) bool {
	return strings.HasPrefix(name, "test_training_dropout") && !strings.Contains(name, "zero_ratio")
}
