package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/engine"
	"netmend/faults/mutate"
	"netmend/repair"
	"netmend/repair/study"
)

func mutateCommand() *cli.Command {
	return &cli.Command{
		Name: "mutate", Usage: "inject faults into a model, and keep those that make it worse", ArgsUsage: "MODEL.onnx",
		Description: "Trains the original and each mutant --runs times and keeps the mutants that are worse by DeepCrime's criterion.\n" +
			"With --self-test every kept mutant is repaired again. With --list or --table there is no model.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "operator", Value: "all", Usage: "`IDS` of mutation operators, separated by commas, or all"},
			&cli.BoolFlag{Name: "list", Usage: "list the mutation operators"},
			&cli.BoolFlag{Name: "table", Usage: "print the mutants killed per operator of the output folders that are given in place of the model"},
			&cli.IntFlag{Name: "runs", Value: mutate.DeepCrime.Runs, Usage: "trainings of the original and of every mutant"},
			&cli.Float64Flag{Name: "level", Value: mutate.DeepCrime.P, Usage: "a killed mutant's p-value is below `P`"},
			&cli.Float64Flag{Name: "effect", Value: mutate.DeepCrime.Effect, Usage: "a killed mutant is worse by at least `D`, Cohen's d"},
			&cli.StringFlag{Name: "metric-part", Value: mutate.HoldoutPart, Usage: "rows that mutants are judged on: holdout or search"},
			&cli.IntFlag{Name: "per-operator", Usage: "go on to the next operator after `N` killed mutants (0: try all values at all sites; 1 with --self-test)"},
			&cli.BoolFlag{Name: "extreme", Usage: "of operators with a binary search, try the extreme value only"},
			&cli.BoolFlag{Name: "keep-all", Usage: "write the mutants that are not killed too"},
			&cli.BoolFlag{Name: "self-test", Usage: "repair every killed mutant, and say what was found and mended"},
			&cli.StringFlag{Name: "budget", Value: "20x", Usage: "--self-test: what each search may spend, as for repair"},
			&cli.IntFlag{Name: "pairs", Value: study.DefaultSeeds, Usage: "--self-test: paired trainings that each verdict may make"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "seed of the trainings and of what is random in a mutant's data"},
			&cli.StringFlag{Name: "out", Value: "mutants", Usage: "`FOLDER` for the mutants, " + mutate.FileMutants + " and " + fileJournal},
			&cli.BoolFlag{Name: "resume", Usage: "go on with the journal in the output folder; operators may be others than before"},
			deviceFlag, precisionFlag, jsonFlag}, subjectFlags...),
		Action: runMutate,
	}
}

func runMutate(c *cli.Context) error {
	ops, err := mutate.Select(c.String("operator"))
	if err != nil {
		return usage("--operator: %v", err)
	}
	if c.Bool("list") {
		return listMutations(c, ops)
	}
	if c.Bool("table") {
		return tableOfFolders(c)
	}
	budget, err := study.ParseBudget(c.String("budget"))
	if err != nil {
		return usage("--budget: %v", err)
	}
	perOperator := c.Int("per-operator")
	if c.Bool("self-test") && !c.IsSet("per-operator") {
		perOperator = 1
	}
	switch part := c.String("metric-part"); {
	case part != mutate.HoldoutPart && part != mutate.SearchPart:
		return usage("--metric-part %q: holdout or search", part)
	case c.Bool("self-test") && part != mutate.HoldoutPart:
		return usage("--self-test judges on the hold-out rows: leave --metric-part %s out", part)
	case c.Int("runs") < 2 || perOperator < 0 || c.Int("pairs") < 1:
		return usage("--runs must be at least 2, --per-operator at least 0 and --pairs at least 1")
	}
	dev, err := trainingDevice(c, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	s, err := readSubject(c)
	if err != nil {
		return err
	}
	if err := trainable(s, study.OnDevice(dev)); err != nil {
		return err
	}
	if err := prepareOut(c.String("out"), c.Bool("resume")); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "device %s\n", dev.Name())
	r, err := mutate.Run(c.Context, mutate.Config{Subject: s, Operators: ops, Part: c.String("metric-part"), Seed: c.Uint64("seed"),
		Criterion:   mutate.Criterion{Runs: c.Int("runs"), P: c.Float64("level"), Effect: c.Float64("effect")},
		PerOperator: perOperator, Extreme: c.Bool("extreme"), Start: study.OnDevice(dev), Device: dev.Name(), Journal: filepath.Join(c.String("out"), fileJournal),
		Resume: c.Bool("resume"), Progress: mutationProgress(c)})
	if err != nil {
		return resumable(err)
	}
	folders, err := mutate.Write(c.String("out"), s, r, c.Bool("keep-all"))
	if err != nil {
		return err
	}
	if c.Bool("self-test") {
		return selfTest(c, s, r, budget, dev)
	}
	return reportMutants(c, r, folders)
}

func listMutations(c *cli.Context, ops []mutate.Operator) error {
	if c.NArg() > 0 {
		return usage("mutate --list takes no model")
	}
	if c.Bool("json") {
		type operator struct {
			ID     string `json:"id"`
			Name   string `json:"name"`
			Search string `json:"search"`
			Doc    string `json:"doc"`
		}
		var out []operator
		for _, o := range ops {
			out = append(out, operator{o.ID, o.Name, o.Search.String(), o.Doc})
		}
		return writeJSON(c.App.Writer, map[string]any{"operators": out})
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, o := range ops {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", o.ID, o.Name, o.Search, o.Doc)
	}
	return w.Flush()
}

// tableOfFolders compares subjects whose mutants are in folders; a subject is called what its folder is.
func tableOfFolders(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("mutate --table takes the output folders of earlier runs")
	}
	var names []string
	var mutants [][]mutate.Mutant
	for _, dir := range c.Args().Slice() {
		m, err := mutate.Read(dir)
		if err != nil {
			return err
		}
		names, mutants = append(names, filepath.Base(filepath.Clean(dir))), append(mutants, m)
	}
	if c.Bool("json") {
		out := map[string]map[string]mutate.Count{}
		for i, name := range names {
			out[name] = mutate.Counts(mutants[i])
		}
		return writeJSON(c.App.Writer, out)
	}
	return mutate.Table(c.App.Writer, names, mutants)
}

// mutationProgress shows trainings on standard error: on a terminal all, elsewhere the last one of every mutant.
func mutationProgress(c *cli.Context) func(mutate.Progress) {
	show := newProgress(c, "")
	return func(p mutate.Progress) {
		what := "original"
		if p.Operator != "" {
			what = fmt.Sprintf("%s %s = %s", p.Operator, p.Site, p.Value)
		}
		line := fmt.Sprintf("%s: training %d of %d, score %s", what, p.Done, p.Of, number(p.Score))
		if p.Replay {
			line += " (from the journal)"
		}
		if show.terminal || p.Done == p.Of {
			show.show(line)
		}
		if p.Done == p.Of {
			show.end()
		}
	}
}

func reportMutants(c *cli.Context, r mutate.Result, folders []string) error {
	if c.Bool("json") {
		return writeJSON(c.App.Writer, r)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "operator\tsite\tvalue\t%s\tp\teffect\tkilled\n", r.Metric)
	fmt.Fprintf(w, "original\t\t\t%.4g\t\t\t\n", float64(r.Original.Mean))
	n := 0
	for i, m := range r.Mutants {
		killed := "no"
		switch {
		case m.Killed:
			killed = folders[i]
			n++
		case m.Cause != "":
			killed = "cannot be trained: " + m.Cause
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Operator, m.Site, m.Value, number(float64(m.Scores.Mean)), number(float64(m.P)), number(float64(m.Effect)), killed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d of %d mutants are killed, in %d trainings of %.0f s; wrote %s\n", n, len(r.Mutants), r.Trainings, r.Seconds, c.String("out"))
	return nil
}

// folderSelfTest holds a journal per repair, and what came of all.
const (
	folderSelfTest = "self-test"
	fileSelfTest   = "self-test.json"
)

func selfTest(c *cli.Context, s repair.Subject, r mutate.Result, budget study.Budget, dev engine.Device) error {
	out := c.String("out")
	if err := os.MkdirAll(filepath.Join(out, folderSelfTest), 0o755); err != nil {
		return err
	}
	show := newProgress(c, r.Metric)
	rows, err := mutate.SelfTest{Subject: s, Technique: "guided", Budget: budget, Seed: c.Uint64("seed"), Pairs: c.Int("pairs"), Start: study.OnDevice(dev),
		Device: dev.Name(), Folder: filepath.Join(out, folderSelfTest), Resume: c.Bool("resume"),
		Progress: func(m mutate.Mutant, p study.Progress) {
			show.show(fmt.Sprintf("%s %s = %s: %s", m.Operator, m.Site, m.Value, show.line(p)))
		}}.Run(c.Context, r)
	show.end()
	if err != nil {
		return resumable(err)
	}
	report := map[string]any{"metric": r.Metric, "original": r.Original.Mean, "budget": budget.String(), "mutants": rows}
	var sb strings.Builder
	if err := writeJSON(&sb, report); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(out, fileSelfTest), []byte(sb.String())); err != nil {
		return err
	}
	if c.Bool("json") {
		_, err := fmt.Fprint(c.App.Writer, sb.String())
		return err
	}
	return printSelfTest(c, r, rows, out)
}

func printSelfTest(c *cli.Context, r mutate.Result, rows []mutate.Row, out string) error {
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "operator\tsite\tvalue\tkilled\t%s\trepaired\tIR\tedits\tcost\tsymptoms\tpatch\n", r.Metric)
	killed, repaired := 0, 0
	for _, x := range rows {
		if !x.Killed {
			fmt.Fprintf(w, "%s\t%s\t%s\tno\t%s\t\t\t\t\t\t\n", x.Operator, x.Site, x.Value, number(float64(x.Mutated)))
			continue
		}
		killed++
		verdict := "no"
		if x.Repaired {
			repaired++
			verdict = number(float64(x.Mended))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\tyes\t%s\t%s\t%.2f\t%d\t%.1fx\t%s\t%s\n", x.Operator, x.Site, x.Value, number(float64(x.Mutated)), verdict, float64(x.IR),
			x.Edits, float64(x.Cost), strings.Join(x.Symptoms, ","), strings.Join(x.Words, "; "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s of the original %.4g; %d of %d injected faults are repaired; wrote %s\n", r.Metric, float64(r.Original.Mean), repaired, killed, out)
	return nil
}
