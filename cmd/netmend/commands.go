package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"netmend/repair/operators"
)

// commands are netmend's commands in the order that help lists them.
func commands() []*cli.Command {
	return []*cli.Command{repairCommand(), batchCommand(), inspectCommand(), diagnoseCommand(), smokeCommand(), trainCommand(), benchCommand(), verifyCommand(), diffCommand(), applyCommand(), mutateCommand(), faultCommand(),
		operatorsCommand(), devicesCommand(), versionCommand(), completionCommand()}
}

var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print one JSON object on standard output and nothing else there"}

func operatorsCommand() *cli.Command {
	return &cli.Command{Name: "operators", Usage: "list the edits that a repair is made of", Action: func(c *cli.Context) error {
		if c.NArg() > 0 {
			return usage("operators takes no arguments")
		}
		w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
		for _, o := range operators.All() {
			fmt.Fprintf(w, "%s\t%s\n", o.Name(), o.Doc())
		}
		return w.Flush()
	}}
}

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version", Action: func(c *cli.Context) error {
		printVersion(c)
		return nil
	}}
}

// The completion scripts ask the program itself (cli's --generate-bash-completion).
var completions = map[string]string{
	"bash": `_netmend() {
  local cur="${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[@]:0:COMP_CWORD}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _netmend netmend
`,
	"zsh": `#compdef netmend
_netmend() {
  local -a opts
  opts=("${(@f)$(${words[@]:0:$((CURRENT-1))} --generate-bash-completion 2>/dev/null)}")
  _describe 'values' opts || _files
}
compdef _netmend netmend
`,
	"fish": `complete -c netmend -f -a '(set -l words (commandline -opc); $words --generate-bash-completion 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "print a completion script for bash, zsh or fish", ArgsUsage: "SHELL", Action: func(c *cli.Context) error {
		script, ok := completions[c.Args().First()]
		if !ok || c.NArg() != 1 {
			return usage("completion takes bash, zsh or fish")
		}
		_, err := io.WriteString(c.App.Writer, script)
		return err
	}}
}
