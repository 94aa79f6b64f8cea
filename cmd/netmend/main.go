// Command netmend repairs neural networks: a faulty ONNX model with its training recipe and data goes in, a repaired model and a small
// patch come out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"
)

// Exit codes.
const (
	exitRepaired = 0 // also: the command did what it says
	exitError    = 1
	exitUsage    = 2
	exitNoRepair = 3 // ran, and found no repair (or a check that failed, or something suspicious)
)

// version is set by the linker (Makefile).
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: args as in os.Args.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	args, err := interleave(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		return exitRepaired
	}
	var e *failure
	if !errors.As(err, &e) {
		e = &failure{err: err, code: exitError}
	}
	if e.err != nil {
		fmt.Fprintf(stderr, "netmend: error: %v\n", e.err)
	}
	if e.hint != "" {
		fmt.Fprintf(stderr, "netmend: hint: %s\n", e.hint)
	}
	return e.code
}

// failure is an error with its exit code and, where there is one, the way out.
type failure struct {
	err  error // nil: everything has been said already
	hint string
	code int
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// usage is an error in how the command was called.
func usage(format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), hint: "see `netmend --help`", code: exitUsage}
}

// hinted adds the way out to an error.
func hinted(err error, hint string) error { return &failure{err: err, hint: hint, code: exitError} }

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                   "netmend",
		Usage:                  "repair neural networks that were designed or trained wrongly",
		Version:                buildVersion(),
		Writer:                 stdout,
		ErrWriter:              stderr,
		EnableBashCompletion:   true,
		UseShortOptionHandling: false,
		ExitErrHandler:         func(*cli.Context, error) {}, // run decides
		OnUsageError:           func(_ *cli.Context, err error, _ bool) error { return usage("%v", err) },
		CommandNotFound:        nil,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("there is no command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: commands(),
	}
	for _, c := range app.Commands {
		c.OnUsageError = app.OnUsageError
	}
	return app
}

// The flag --version says what the command version does.
func init() { cli.VersionPrinter = printVersion }

func printVersion(c *cli.Context) {
	fmt.Fprintf(c.App.Writer, "netmend %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
