package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"netmend/repair"
	"netmend/repair/diagnose"
	"netmend/repair/operators"
	"netmend/train"
)

func diagnoseCommand() *cli.Command {
	return &cli.Command{
		Name: "diagnose", Usage: "say what looks wrong with a model, its recipe, its data and its training, and what to suspect", ArgsUsage: "MODEL.onnx",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "static", Usage: "train nothing: look at graph, recipe and data alone"},
			&cli.IntFlag{Name: "epochs", Usage: "train for `N` epochs (0: the recipe's)"},
			&cli.StringFlag{Name: "sarif", Usage: "write the symptoms as SARIF 2.1.0 to `FILE`, for CI"},
			deviceFlag, precisionFlag, jsonFlag}, subjectFlags...),
		Action: runDiagnose,
	}
}

func runDiagnose(c *cli.Context) error {
	switch {
	case c.Int("epochs") < 0:
		return usage("--epochs %d is negative", c.Int("epochs"))
	case c.Bool("static") && c.IsSet("epochs"):
		return usage("--static trains nothing: leave --epochs out")
	}
	s, err := readSubject(c)
	if err != nil {
		return err
	}
	show := newProgress(c, s.Recipe.Metric)
	o := diagnose.Options{Epochs: c.Int("epochs")}
	name := ""
	if !c.Bool("static") {
		if o.Device, err = trainingDevice(c, 0); err != nil {
			return err
		}
		defer o.Device.Close()
		name = o.Device.Name()
		show.start(name)
		o.Progress = func(e train.Epoch) {
			show.show(fmt.Sprintf("epoch %d  loss %.4g  search %s %s", e.Number, e.Loss, s.Recipe.Metric, number(e.Score)))
		}
	}
	space := operators.All().Space(s)
	r, err := diagnose.Run(c.Context, s, space, o)
	show.end()
	if err != nil {
		return err
	}
	if path := c.String("sarif"); path != "" {
		if err := writeSARIF(path, c, r); err != nil {
			return err
		}
	}
	ranking := diagnose.Rank(r.Symptoms, space)
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, newDiagnosis(c.Args().First(), name, s.Recipe.Metric, r, ranking))
	} else {
		printDiagnosis(c.App.Writer, s.Recipe, r, ranking)
	}
	if err == nil && suspicious(r) {
		return &failure{code: exitNoRepair}
	}
	return err
}

// suspicious says whether there is more than notes, which healthy networks have as well.
func suspicious(r diagnose.Report) bool {
	worst := r.Worst()
	return worst == diagnose.Warning || worst == diagnose.Error
}

func writeSARIF(path string, c *cli.Context, r diagnose.Report) (err error) {
	recipe, err := os.ReadFile(c.String("recipe"))
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	files := diagnose.Files{Model: c.Args().First(), RecipePath: c.String("recipe"), Data: c.String("data"), Recipe: recipe}
	return diagnose.WriteSARIF(f, buildVersion(), files, r.Symptoms)
}

// The object of --json.
type (
	diagnosis struct {
		Model     string           `json:"model"`
		Device    string           `json:"device,omitempty"` // absent: nothing was trained
		Worst     diagnose.Level   `json:"worst,omitempty"`  // absent: there is no symptom
		Symptoms  []symptomLine    `json:"symptoms"`
		Training  *trainingLine    `json:"training,omitempty"`
		Suspicion []suspicionEntry `json:"suspicion"` // the most suspected first
	}
	symptomLine struct {
		Kind    diagnose.Kind  `json:"kind"`
		Part    diagnose.Part  `json:"part"`
		Level   diagnose.Level `json:"level"`
		Node    string         `json:"node,omitempty"`
		Epoch   int            `json:"epoch,omitempty"`
		Measure string         `json:"measure"`
		Value   repair.Number  `json:"value"`
		Limit   repair.Number  `json:"limit"`
		Words   string         `json:"words"`
		Source  string         `json:"source"`
	}
	trainingLine struct {
		Outcome train.Outcome `json:"outcome"`
		Epochs  int           `json:"epochs"`
		First   repair.Number `json:"first_loss"`
		Last    repair.Number `json:"last_loss"`
		Metric  train.Metric  `json:"metric"`
		Score   repair.Number `json:"score"` // on the search rows
	}
	suspicionEntry struct {
		Operator string          `json:"operator"`
		Target   string          `json:"target"`
		Current  repair.Value    `json:"current"`
		Values   []repair.Value  `json:"values,omitempty"` // that are expected to help
		Weight   repair.Number   `json:"weight"`
		Why      []diagnose.Kind `json:"why"`
	}
)

func newDiagnosis(model, device string, m train.Metric, r diagnose.Report, ranking []diagnose.Ranking) diagnosis {
	d := diagnosis{Model: model, Device: device, Worst: r.Worst(), Symptoms: []symptomLine{}, Suspicion: []suspicionEntry{}}
	for _, s := range r.Symptoms {
		d.Symptoms = append(d.Symptoms, symptomLine{s.Kind, s.Kind.Part(), s.Kind.Level(), s.Node, s.Epoch, s.Measure, repair.Number(s.Value),
			repair.Number(s.Limit), s.Words(), s.Kind.Source()})
	}
	if t := r.Training; t != nil {
		d.Training = &trainingLine{t.Outcome, t.Epochs, repair.Number(t.First), repair.Number(t.Last), m, repair.Number(t.Score)}
	}
	for _, x := range ranking {
		d.Suspicion = append(d.Suspicion, suspicionEntry{x.Operator, x.Target, x.Current, x.Values, repair.Number(x.Weight), x.Why})
	}
	return d
}

// What is printed of the slots and of the values of each; --json has all.
const (
	shownSuspects = 10
	shownValues   = 3
)

func printDiagnosis(w io.Writer, recipe train.Recipe, r diagnose.Report, ranking []diagnose.Ranking) {
	for _, place := range places(r.Symptoms) {
		fmt.Fprintln(w, place)
		for _, s := range r.Symptoms {
			if placeOf(s) == place {
				fmt.Fprintf(w, "  %-8s %s [%s]\n", s.Kind.Level(), s.Words(), s.Kind.Source())
			}
		}
	}
	if t := r.Training; t != nil {
		fmt.Fprintf(w, "%s after %d epochs: loss %s -> %s, %s %s on the search rows\n", t.Outcome, t.Epochs, number(t.First), number(t.Last), recipe.Metric, number(t.Score))
	}
	if !suspicious(r) {
		fmt.Fprintln(w, "nothing suspicious")
		return
	}
	if len(ranking) == 0 {
		fmt.Fprintln(w, "no edit of netmend's is suspected")
		return
	}
	fmt.Fprintln(w, "suspected, the most likely first:")
	for i, x := range ranking {
		if i == shownSuspects {
			fmt.Fprintf(w, "  and %d more\n", len(ranking)-i)
			break
		}
		fmt.Fprintf(w, "  %5.1f  %s\n", x.Weight, suspectWords(x))
	}
}

// placeOf is what a symptom is listed under.
func placeOf(s diagnose.Symptom) string {
	part := s.Kind.Part()
	if (part == diagnose.OfGraph || part == diagnose.OfTraining) && s.Node != "" {
		return "at " + s.Node
	}
	return string(part)
}

// places are the recipe, the data, the nodes and tensors as they come, and the training.
func places(symptoms []diagnose.Symptom) []string {
	var all []string
	for _, first := range []string{string(diagnose.OfRecipe), string(diagnose.OfData), string(diagnose.OfGraph), "at ", string(diagnose.OfTraining)} {
		for _, s := range symptoms {
			if p := placeOf(s); (p == first || first == "at " && strings.HasPrefix(p, first)) && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// suspectWords says what may be changed, and to what.
func suspectWords(x diagnose.Ranking) string {
	words := strings.ReplaceAll(x.Operator, "_", " ")
	if x.Target != "recipe" {
		words += " of " + x.Target
	}
	words += ", now " + x.Current.String()
	if len(x.Values) > 0 {
		var values []string
		for _, v := range x.Values[:min(len(x.Values), shownValues)] {
			values = append(values, v.String())
		}
		words += ": try " + strings.Join(values, ", ")
	}
	var why []string
	for _, k := range x.Why {
		why = append(why, strings.ReplaceAll(string(k), "_", " "))
	}
	return words + " (" + strings.Join(why, ", ") + ")"
}
