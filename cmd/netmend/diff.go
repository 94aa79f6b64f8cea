package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
	"netmend/train"
)

func diffCommand() *cli.Command {
	return &cli.Command{Name: "diff", Usage: "show what differs between two models, or between a model and its repair", ArgsUsage: "A.onnx B.onnx",
		Flags: []cli.Flag{jsonFlag}, Action: runDiff}
}

// difference of two models, as `netmend diff --json` prints it.
type modelDiff struct {
	Same    bool     `json:"same"`
	Graph   []string `json:"graph"`   // nodes, inputs, outputs
	Weights []string `json:"weights"` // initializers
	Recipe  []string `json:"recipe"`  // of the metadata
	Patch   []string `json:"patch"`   // of B's metadata, where it is a repair
}

func runDiff(c *cli.Context) error {
	if c.NArg() != 2 {
		return usage("diff takes two models, got %d arguments", c.NArg())
	}
	a, err := loadModel(c.Args().Get(0))
	if err != nil {
		return err
	}
	b, err := loadModel(c.Args().Get(1))
	if err != nil {
		return err
	}
	// Whether a model was exported for training or for use is no difference of the network.
	a, b = a.InferenceForm(), b.InferenceForm()
	d := modelDiff{Graph: diffGraphs(a.Graph, b.Graph), Weights: diffWeights(a.Graph, b.Graph), Recipe: []string{}, Patch: []string{}}
	ra, okA := a.Meta(repair.MetaRecipe)
	rb, okB := b.Meta(repair.MetaRecipe)
	if okA && okB {
		d.Recipe = diffRecipes(ra, rb)
	}
	if raw, ok := b.Meta(repair.MetaPatch); ok {
		p, err := repair.ParsePatch([]byte(raw))
		if err != nil {
			return err
		}
		d.Patch = operators.All().Words(repair.Subject{Model: a}, p)
	}
	d.Same = len(d.Graph)+len(d.Weights)+len(d.Recipe) == 0
	if c.Bool("json") {
		return writeJSON(c.App.Writer, d)
	}
	for _, part := range []struct {
		name  string
		lines []string
	}{{"graph", d.Graph}, {"weights", d.Weights}, {"recipe", d.Recipe}, {"patch", d.Patch}} {
		for _, l := range part.lines {
			fmt.Fprintf(c.App.Writer, "%-8s %s\n", part.name, l)
		}
	}
	if d.Same {
		fmt.Fprintln(c.App.Writer, "the models are the same")
	}
	return nil
}

func nodeText(n *onnx.Node) string {
	s := fmt.Sprintf("%s(%v) -> %v", n.OpType, n.Inputs, n.Outputs)
	for _, a := range n.Attrs {
		s += " " + a.Name + "=" + attrText(a)
	}
	return s
}

// attrText is an attribute's value; of tensors and graphs no more than what they are.
func attrText(a *onnx.Attribute) string {
	switch a.Type {
	case onnx.AttrFloat:
		return fmt.Sprint(a.Float)
	case onnx.AttrInt:
		return fmt.Sprint(a.Int)
	case onnx.AttrString:
		return fmt.Sprintf("%q", a.Str)
	case onnx.AttrFloats:
		return fmt.Sprint(a.Floats)
	case onnx.AttrInts:
		return fmt.Sprint(a.Ints)
	case onnx.AttrStrings:
		return fmt.Sprintf("%q", a.Strings)
	case onnx.AttrTensor:
		raw, err := a.Tensor.Raw()
		if err != nil || len(raw) > 64 {
			return fmt.Sprintf("%s%v", a.Tensor.Type, a.Tensor.Dims)
		}
		return fmt.Sprintf("%s%v:%x", a.Tensor.Type, a.Tensor.Dims, raw)
	}
	return a.Type.String()
}

func diffGraphs(a, b *onnx.Graph) []string {
	out := []string{}
	for _, n := range a.Nodes {
		m := b.Node(n.Label())
		switch {
		case m == nil:
			out = append(out, fmt.Sprintf("- node %q: %s", n.Label(), nodeText(n)))
		case nodeText(m) != nodeText(n):
			out = append(out, fmt.Sprintf("~ node %q: %s => %s", n.Label(), nodeText(n), nodeText(m)))
		}
	}
	for _, n := range b.Nodes {
		if a.Node(n.Label()) == nil {
			out = append(out, fmt.Sprintf("+ node %q: %s", n.Label(), nodeText(n)))
		}
	}
	list := func(vs []onnx.Value) (s []string) {
		for _, v := range vs {
			s = append(s, v.Name+" "+v.Type.String())
		}
		return s
	}
	if x, y := list(a.DataInputs()), list(b.DataInputs()); !slices.Equal(x, y) {
		out = append(out, fmt.Sprintf("~ inputs %v => %v", x, y))
	}
	if x, y := list(a.Outputs), list(b.Outputs); !slices.Equal(x, y) {
		out = append(out, fmt.Sprintf("~ outputs %v => %v", x, y))
	}
	return out
}

func diffWeights(a, b *onnx.Graph) []string {
	out := []string{}
	changed := 0
	for _, t := range a.Initializers {
		u := b.Initializer(t.Name)
		switch {
		case u == nil:
			out = append(out, fmt.Sprintf("- %q %s%v", t.Name, t.Type, t.Dims))
		case t.Type != u.Type || !slices.Equal(t.Dims, u.Dims):
			out = append(out, fmt.Sprintf("~ %q %s%v => %s%v", t.Name, t.Type, t.Dims, u.Type, u.Dims))
		default:
			x, errX := t.Raw()
			y, errY := u.Raw()
			if errX != nil || errY != nil || !slices.Equal(x, y) {
				changed++
			}
		}
	}
	for _, u := range b.Initializers {
		if a.Initializer(u.Name) == nil {
			out = append(out, fmt.Sprintf("+ %q %s%v", u.Name, u.Type, u.Dims))
		}
	}
	if changed > 0 {
		out = append(out, fmt.Sprintf("~ values of %d of %d weights", changed, len(a.Initializers)))
	}
	return out
}

// diffRecipes compares two recipes line by line of their YAML.
func diffRecipes(a, b string) []string {
	out := []string{}
	ra, errA := train.ParseRecipe([]byte(a))
	rb, errB := train.ParseRecipe([]byte(b))
	if errA == nil && errB == nil && ra.Equal(rb) {
		return out
	}
	la, lb := strings.Split(strings.TrimSpace(a), "\n"), strings.Split(strings.TrimSpace(b), "\n")
	for _, l := range la {
		if !slices.Contains(lb, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range lb {
		if !slices.Contains(la, l) {
			out = append(out, "+ "+l)
		}
	}
	return out
}
