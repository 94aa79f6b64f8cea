package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"netmend/repair"
	"netmend/repair/smoke"
)

func smokeCommand() *cli.Command {
	return &cli.Command{
		Name: "smoke", Usage: "check in seconds, on the CPU, that a model, its recipe and its data can be trained", ArgsUsage: "MODEL.onnx",
		Flags:  append([]cli.Flag{&cli.StringFlag{Name: "junit", Usage: "write the checks as JUnit XML to `FILE`"}, jsonFlag}, subjectFlags...),
		Action: runSmoke,
	}
}

func runSmoke(c *cli.Context) error {
	s, err := readSubject(c)
	if err != nil {
		return err
	}
	dev, err := openDevice("auto")
	if err != nil {
		return err
	}
	defer dev.Close()
	checks := smoke.Run(c.Context, s, dev, openOracle())
	if path := c.String("junit"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := smoke.JUnit(f, "netmend smoke", checks); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		type check struct {
			Name    string        `json:"name"`
			Result  string        `json:"result"`
			Detail  string        `json:"detail"`
			Seconds repair.Number `json:"seconds"`
		}
		var out struct {
			Device string  `json:"device"`
			Failed int     `json:"failed"`
			Checks []check `json:"checks"`
		}
		out.Device, out.Failed = dev.Name(), smoke.Failed(checks)
		for _, k := range checks {
			out.Checks = append(out.Checks, check{k.Name, result(k), k.Detail, repair.Number(k.Seconds)})
		}
		if err := writeJSON(c.App.Writer, out); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.App.Writer, "device %s\n", dev.Name())
		for _, k := range checks {
			fmt.Fprintf(c.App.Writer, "%-7s %-28s %s\n", result(k), k.Name, k.Detail)
		}
	}
	if n := smoke.Failed(checks); n > 0 {
		return &failure{code: exitNoRepair}
	}
	return nil
}

func result(k smoke.Check) string {
	switch {
	case k.Skipped:
		return "skipped"
	case k.Passed:
		return "ok"
	}
	return "FAILED"
}
