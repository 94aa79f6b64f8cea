package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

const defaultSplit = "60:20:20"

// The flags of commands that read a model with its recipe and data.
var subjectFlags = []cli.Flag{
	&cli.StringFlag{Name: "recipe", Usage: "training recipe, `FILE.yaml` as the export scripts write it"},
	&cli.StringFlag{Name: "data", Usage: "data set: an npz, npy or csv file, a folder of idx, CIFAR or image files, or a tar of one"},
	&cli.IntFlag{Name: "limit", Usage: "use at most `N` training rows (0: all)"},
	&cli.StringFlag{Name: "split", Usage: "shares of training, search and hold-out rows, `A:B:C`; C is not used where the data has its own test part", Value: defaultSplit},
	&cli.StringSliceFlag{Name: "target", Usage: "csv: target `COLUMN`, by name or number; may be repeated (default: the last)"},
	&cli.StringSliceFlag{Name: "categorical", Usage: "csv: `COLUMN` that holds categories; \"*\" stands for all that hold text"},
}

// readModel reads and checks the model that a command is given as its only argument.
func readModel(c *cli.Context) (*onnx.Model, error) {
	if c.NArg() != 1 {
		return nil, oneModel(c)
	}
	return loadModel(c.Args().First())
}

func oneModel(c *cli.Context) error {
	return usage("%s takes one model, got %d arguments", c.Command.Name, c.NArg())
}

func loadModel(path string) (*onnx.Model, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, err
	}
	if err := onnx.Check(m); err != nil {
		return nil, err
	}
	return m, nil
}

// subjectFiles say where a subject comes from.
type subjectFiles struct {
	Model, Recipe, Data, Split string
	Limit                      int
	Target, Categorical        []string
}

// readSubject reads model, recipe and data as argument and flags say.
func readSubject(c *cli.Context) (repair.Subject, error) {
	if c.NArg() != 1 {
		return repair.Subject{}, oneModel(c)
	}
	return subjectFiles{Model: c.Args().First(), Recipe: c.String("recipe"), Data: c.String("data"), Split: c.String("split"),
		Limit: c.Int("limit"), Target: c.StringSlice("target"), Categorical: c.StringSlice("categorical")}.read()
}

// check finds what is wrong without a look at the files.
func (f subjectFiles) check() error {
	for _, x := range []struct{ name, value string }{{"recipe", f.Recipe}, {"data", f.Data}} {
		if x.value == "" {
			return &failure{err: fmt.Errorf("flag --%s is missing", x.name), code: exitUsage,
				hint: "scripts/export_pytorch.py and scripts/export_keras.py write model.onnx, recipe.yaml and data.npz"}
		}
	}
	if _, err := parseRatios(f.Split); err != nil {
		return err
	}
	if f.Limit < 0 {
		return usage("--limit %d is negative", f.Limit)
	}
	return nil
}

func (f subjectFiles) read() (s repair.Subject, err error) {
	if err := f.check(); err != nil {
		return s, err
	}
	if s.Model, err = loadModel(f.Model); err != nil {
		return s, err
	}
	if s.Recipe, err = train.ReadRecipe(f.Recipe); err != nil {
		return s, err
	}
	src, err := data.Open(f.Data, data.Options{Limit: f.Limit, Targets: f.Target, Categorical: f.Categorical})
	if err != nil {
		return s, err
	}
	ratios, err := parseRatios(f.Split)
	if err != nil {
		return s, err
	}
	s.Data, err = split(src, ratios, s.Recipe)
	return s, err
}

// split divides the data by the recipe's seed, keeping the shares of classes where the targets are classes.
func split(src data.Source, ratios data.Ratios, r train.Recipe) (data.Splits, error) {
	stratify := false
	if r.Task == train.Classification && len(src.Train.Targets) > 0 {
		_, stratify = data.Labels(&src.Train.Targets[0])
	}
	return src.Split(ratios, r.Seed, stratify)
}

func parseRatios(s string) (data.Ratios, error) {
	parts := strings.Split(s, ":")
	var v [3]float64
	for i, p := range parts {
		x, err := strconv.ParseFloat(p, 64)
		if len(parts) != 3 || err != nil || !(x >= 0) {
			return data.Ratios{}, usage("--split %q: three shares such as 60:20:20", s)
		}
		v[i] = x
	}
	return data.Ratios{Train: v[0], Search: v[1], Holdout: v[2]}, nil
}
