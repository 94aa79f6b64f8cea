package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
)

var deviceFlag = &cli.StringFlag{Name: "device", Value: "auto", Usage: "`NAME`: auto, cpu or reference"}

var precisionFlag = &cli.StringFlag{Name: "precision", Value: "float32", Usage: "`NAME`: float32, or bf16, which rounds the factors of matrix products and convolutions"}

// trainingDevice opens the device that --device and --precision name, with so many threads per training (0: one per core). A precision that
// it does not have is refused.
func trainingDevice(c *cli.Context, threads int) (engine.Device, error) {
	name, precision := c.String("device"), c.String("precision")
	switch {
	case !slices.Contains(cpu.Precisions, precision):
		return nil, usage("--precision %q is not known: one of %v", precision, cpu.Precisions)
	case precision == "float32":
		return openDeviceWith(name, cpu.Options{Threads: threads})
	case name != "auto" && name != "cpu":
		return nil, usage("--precision %s needs --device cpu", precision)
	}
	return cpu.New(cpu.Options{Threads: threads, Precision: precision})
}

// openDevice opens a device by name. auto is the fastest that this build and machine have; whoever uses it shows the device's own name.
func openDevice(name string) (engine.Device, error) { return openDeviceWith(name, cpu.Options{}) }

// openDeviceWith is openDevice with options for the cpu device.
func openDeviceWith(name string, o cpu.Options) (engine.Device, error) {
	switch name {
	case "reference":
		return reference.New(), nil
	case "cpu":
		dev, err := cpu.New(o)
		if err != nil {
			return nil, hinted(err, "--device reference works everywhere, slowly")
		}
		return dev, nil
	case "auto":
		if dev, err := cpu.New(o); err == nil {
			return dev, nil
		}
		return reference.New(), nil
	}
	return nil, usage("--device %q is not known: auto, cpu or reference", name)
}

func devicesCommand() *cli.Command {
	return &cli.Command{Name: "devices", Usage: "list the devices that can train here", Action: func(c *cli.Context) error {
		if c.NArg() > 0 {
			return usage("devices takes no arguments")
		}
		w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
		for _, name := range []string{"cpu", "reference"} {
			dev, err := openDevice(name)
			if err != nil {
				fmt.Fprintf(w, "%s\tnot here: %v\n", name, err)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\n", name, dev.Name())
			dev.Close()
		}
		return w.Flush()
	}}
}
