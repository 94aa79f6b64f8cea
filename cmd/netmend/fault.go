package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/data"
	"netmend/faults"
	"netmend/faults/dataset"
	"netmend/onnx"
	"netmend/repair"
)

// rootFlag says where the benchmark's real data sets are.
var rootFlag = &cli.StringFlag{Name: "root", Value: filepath.Join("..", "shared", "data"), EnvVars: []string{"NETMEND_DATA"}, Usage: "`FOLDER` of the real data sets"}

func faultCommand() *cli.Command {
	return &cli.Command{
		Name: "fault", Usage: "write a fault of the benchmark, or what it is after its fix, as files that the other commands take", ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "list the faults"},
			&cli.BoolFlag{Name: "fixed", Usage: "write the fixed subject"},
			&cli.StringFlag{Name: "scale", Value: string(faults.LiteScale), Usage: "`SCALE` of rows and epochs: lite, or paper as published"},
			&cli.IntFlag{Name: "train-rows", Usage: "use `N` training rows in place of the scale's"},
			&cli.IntFlag{Name: "test-rows", Usage: "use `N` test rows in place of the scale's"},
			rootFlag,
			&cli.StringFlag{Name: "out", Value: "fault", Usage: "`FOLDER` for model.onnx, recipe.yaml, data.npz"}},
		Action: runFault,
	}
}

func runFault(c *cli.Context) error {
	if c.Bool("list") {
		w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
		for _, f := range slices.Concat(faults.All(), faults.Large()) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.ID, f.Network, f.Data, f.Description)
		}
		return w.Flush()
	}
	if c.NArg() != 1 {
		return usage("fault takes one id, got %d arguments", c.NArg())
	}
	list, err := faults.Select(c.Args().First())
	if err != nil || len(list) != 1 {
		return usage("fault %q is not one of `netmend fault --list`", c.Args().First())
	}
	scale := faults.Scale(c.String("scale"))
	p, err := list[0].Problem(scale)
	if err != nil {
		return usage("--scale: %v", err)
	}
	if c.Bool("fixed") {
		if p.Model, p.Recipe, err = list[0].Fixed(scale); err != nil {
			return err
		}
	}
	if n := c.Int("train-rows"); n > 0 {
		p.TrainRows = n
	}
	if n := c.Int("test-rows"); n > 0 {
		p.TestRows = n
	}
	trainSet, testSet, err := dataset.Open(p.Data, c.String("root"), p.TrainRows, p.TestRows)
	if err != nil {
		return err
	}
	s, err := p.Subject(trainSet, testSet, faults.StrictProtocol, p.Recipe.Seed)
	if err != nil {
		return err
	}
	if err := writeSubject(c.String("out"), s); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "wrote %s: %d training and %d test rows\n", c.String("out"), len(s.Data.Train)+len(s.Data.Search), len(s.Data.Holdout))
	return nil
}

// writeSubject writes a subject as the export scripts do: the hold-out rows are the data's test part.
func writeSubject(out string, s repair.Subject) (err error) {
	if err := onnx.Check(s.Model); err != nil {
		return err
	}
	recipe, err := s.Recipe.Marshal()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := s.Model.Write(filepath.Join(out, "model.onnx")); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(out, fileRecipe), recipe); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(out, "data.npz"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rows := slices.Concat(s.Data.Train, s.Data.Search)
	slices.Sort(rows)
	return data.WriteNpz(f, data.Source{Train: s.Data.Select(rows), Test: s.Data.Select(s.Data.Holdout)})
}
