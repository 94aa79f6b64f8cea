package main

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/onnx"
	"netmend/train"
	"netmend/train/lower"
)

func inspectCommand() *cli.Command {
	return &cli.Command{Name: "inspect", Usage: "show what is in a model and whether it can be trained", ArgsUsage: "MODEL.onnx", Action: runInspect,
		Flags: []cli.Flag{jsonFlag, &cli.StringFlag{Name: "recipe", Usage: "training recipe, `FILE.yaml`: tells what it trains from constants"}}}
}

// inspection is what `netmend inspect --json` prints.
type inspection struct {
	Producer   string         `json:"producer"`
	IRVersion  int64          `json:"ir_version"`
	Opset      int64          `json:"opset"`
	Inputs     []string       `json:"inputs"`
	Outputs    []string       `json:"outputs"`
	Operators  map[string]int `json:"operators"`
	Weights    []weight       `json:"weights"`
	Parameters int64          `json:"parameters"` // trained elements
	Refused    []string       `json:"refused"`    // why it cannot be trained
	Notes      []string       `json:"notes"`
}

type weight struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	Shape []int  `json:"shape"`
}

func runInspect(c *cli.Context) error {
	m, err := readModel(c)
	if err != nil {
		return err
	}
	r := inspection{Producer: strings.TrimSpace(m.ProducerName + " " + m.ProducerVersion), IRVersion: m.IRVersion, Opset: m.Opset(""),
		Operators: make(map[string]int), Weights: []weight{}, Refused: []string{}, Notes: []string{}}
	types, err := onnx.InferShapes(m)
	if err != nil {
		return err
	}
	for _, v := range m.Graph.DataInputs() {
		r.Inputs = append(r.Inputs, v.Name+" "+v.Type.String())
	}
	for _, v := range m.Graph.Outputs {
		r.Outputs = append(r.Outputs, v.Name+" "+types[v.Name].String())
	}
	for _, n := range m.Graph.Nodes {
		r.Operators[n.OpType]++
	}
	for _, p := range lower.Problems(m) {
		r.Refused = append(r.Refused, p.Error())
	}
	if err := r.addWeights(m, c.String("recipe")); err != nil {
		return err
	}
	r.Notes = append(r.Notes, lower.FoldedBatchNorms(m)...)
	if c.Bool("json") {
		return writeJSON(c.App.Writer, r)
	}
	return printInspection(c, r)
}

// addWeights lists all float initializers, and notes those that a program may have trained and netmend takes for constants.
func (r *inspection) addWeights(m *onnx.Model, recipePath string) error {
	var recipe train.Recipe
	if recipePath != "" {
		var err error
		if recipe, err = train.ReadRecipe(recipePath); err != nil {
			return err
		}
	}
	params, err := train.Params(m, recipe)
	if err != nil {
		return err
	}
	known := map[string]train.Param{}
	for _, p := range params {
		known[p.Name] = p
	}
	all, err := lower.Params(m)
	if err != nil {
		return err
	}
	for _, p := range all {
		q, weighs := known[p.Name]
		if weighs {
			p = q.Param
		}
		r.Weights = append(r.Weights, weight{p.Name, p.Role.String(), p.Shape})
		n := int64(1)
		for _, d := range p.Shape {
			n *= int64(d)
		}
		if q.Trained {
			r.Parameters += n
		}
		if !weighs && n > 1 && !slices.Contains(recipe.Frozen, p.Name) {
			r.Notes = append(r.Notes, fmt.Sprintf("%q %v is taken for a constant: only with an entry in the recipe's initializers is it trained", p.Name, p.Shape))
		}
	}
	return nil
}

func printInspection(c *cli.Context, r inspection) error {
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "producer\t%s\nIR version\t%d\nopset\t%d\ninputs\t%s\noutputs\t%s\n", r.Producer, r.IRVersion, r.Opset, strings.Join(r.Inputs, ", "), strings.Join(r.Outputs, ", "))
	var ops []string
	for op, n := range r.Operators {
		ops = append(ops, fmt.Sprintf("%s %d", op, n))
	}
	sort.Strings(ops)
	fmt.Fprintf(w, "operators\t%s\nparameters\t%d\n", strings.Join(ops, ", "), r.Parameters)
	for _, p := range r.Weights {
		fmt.Fprintf(w, "  %s\t%s %v\n", p.Name, p.Role, p.Shape)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note\t%s\n", n)
	}
	for _, p := range r.Refused {
		fmt.Fprintf(w, "refused\t%s\n", p)
	}
	if len(r.Refused) == 0 {
		fmt.Fprintf(w, "trainable\tyes\n")
	}
	return w.Flush()
}
