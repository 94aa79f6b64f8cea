package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/operators"
)

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "apply a patch to a model and its recipe, without training", ArgsUsage: "MODEL.onnx",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "patch", Usage: "`FILE.json` as repair writes it"},
			&cli.StringFlag{Name: "out", Usage: "folder for model.onnx and recipe.yaml", Value: "patched"}}, subjectFlags...),
		Action: runApply,
	}
}

func runApply(c *cli.Context) error {
	if c.String("patch") == "" {
		return usage("flag --patch is missing")
	}
	s, err := readSubject(c)
	if err != nil {
		return err
	}
	p, err := repair.ReadPatch(c.String("patch"))
	if err != nil {
		return err
	}
	ops := operators.All()
	patched, err := ops.Apply(s, p)
	if err != nil {
		return err
	}
	if err := onnx.Check(patched.Model); err != nil {
		return err
	}
	recipe, err := patched.Recipe.Marshal()
	if err != nil {
		return err
	}
	out := c.String("out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := patched.Model.Write(filepath.Join(out, "model.onnx")); err != nil {
		return err
	}
	if err := repair.WriteFile(filepath.Join(out, "recipe.yaml"), recipe); err != nil {
		return err
	}
	for _, line := range ops.Words(s, p) {
		fmt.Fprintln(c.App.Writer, line)
	}
	fmt.Fprintf(c.App.Writer, "wrote %s\n", out)
	return nil
}
