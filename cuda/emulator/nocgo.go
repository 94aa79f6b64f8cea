//go:build !(linux && cgo)

package emulator

import (
	"fmt"
	"testing"
)

// Library fails: without cgo, or outside Linux, nothing could open it.
func Library(...string) (string, error) {
	return "", fmt.Errorf("emulator: %w: it needs Linux and a build with cgo", ErrUnavailable)
}

// Build skips the test.
func Build(t testing.TB, extra ...string) string {
	t.Helper()
	_, err := Library(extra...)
	t.Skip(err)
	return ""
}

// Use skips the test.
func Use(t testing.TB, settings string, extra ...string) {
	t.Helper()
	Build(t, extra...)
}
