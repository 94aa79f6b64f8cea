//go:build linux && cgo

package driver

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// Optional is a library of NVIDIA's that is used where a user asks for it: how it is found.
type Optional struct {
	Package  string   // which opens it, to begin errors with
	Variable string   // of the environment: "on", a path, or "off"
	Files    []string // tried where no path is named
	Missing  error    // the class of what Open returns
}

// Asked reports whether the environment asks for the library: the variable is "on" or names one.
func (o *Optional) Asked() bool {
	v := os.Getenv(o.Variable)
	return v != "" && v != "off"
}

// Open tries the files until one opens. The error is o.Missing, with its cause.
func (o *Optional) Open(open func(path string) error) error {
	tries := o.Files
	switch v := os.Getenv(o.Variable); v {
	case "off":
		return fmt.Errorf("%s: %w: %s is \"off\"", o.Package, o.Missing, o.Variable)
	case "", "on":
	default:
		tries = []string{v}
	}
	var errs []error
	if slices.ContainsFunc(tries, func(path string) bool {
		err := open(path)
		errs = append(errs, err)
		return err == nil
	}) {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", o.Package, o.Missing, errors.Join(errs...))
}

// NotOpened is what a shim's open says by its code, which is not 0: 1, the loader's words are in reason, or 2, the library lacks the function that is named there.
func NotOpened(path string, code int, reason []byte) error {
	if code == 1 {
		return errors.New(text(reason))
	}
	return fmt.Errorf("%s has no function %s", path, text(reason))
}
