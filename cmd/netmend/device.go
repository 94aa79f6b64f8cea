package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/reference"
)

var deviceFlag = &cli.StringFlag{Name: "device", Value: "auto", Usage: "`NAME`: auto, cpu or reference"}

// openDevice opens a device by name. auto is the fastest that this build and machine have; whoever uses it shows the device's own name.
func openDevice(name string) (engine.Device, error) {
	switch name {
	case "reference":
		return reference.New(), nil
	case "cpu":
		dev, err := cpu.New(cpu.Options{})
		if err != nil {
			return nil, hinted(err, "--device reference works everywhere, slowly")
		}
		return dev, nil
	case "auto":
		if dev, err := cpu.New(cpu.Options{}); err == nil {
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
