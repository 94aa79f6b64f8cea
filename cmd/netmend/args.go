package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// interleave moves the flags of a command before its positional arguments, so that they work in any place: urfave/cli stops reading flags
// at the first positional argument. What follows "--" stays positional.
func interleave(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args, nil
	}
	named := 2 // the arguments that name the command: netmend bench train
	for named < len(args) {
		i := slices.IndexFunc(cmd.Subcommands, func(sub *cli.Command) bool { return sub.HasName(args[named]) })
		if i < 0 {
			break
		}
		cmd = cmd.Subcommands[i]
		named++
	}
	takesValue := make(map[string]bool)
	for _, f := range cmd.Flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takesValue[name] = !isBool
		}
	}
	var flags, positional []string
	rest := args[named:]
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		switch {
		case a == "--":
			positional = append(positional, rest[i+1:]...)
			i = len(rest)
		case !strings.HasPrefix(a, "-") || a == "-":
			positional = append(positional, a)
		default:
			name, _, inline := strings.Cut(strings.TrimLeft(a, "-"), "=")
			flags = append(flags, a)
			if takesValue[name] && !inline {
				if i+1 >= len(rest) {
					return nil, usage("flag -%s needs a value", name)
				}
				i++
				flags = append(flags, rest[i])
			}
		}
	}
	if len(positional) > 0 {
		flags = append(flags, "--")
	}
	return slices.Concat(args[:named], flags, positional), nil
}
