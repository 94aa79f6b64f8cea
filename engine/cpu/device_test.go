//go:build cgo && amd64

package cpu_test

import (
	"fmt"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/engine/cpu"
	"netmend/engine/devicetest"
)

// instructionSets are all kernels that there are, the best first.
var instructionSets = []string{"avx512", "avx2", "sse2"}

func open(t testing.TB, o cpu.Options) engine.Device {
	t.Helper()
	dev, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// each runs f with every set of kernels that this machine can run, and leaves the best one chosen.
func each(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	best := ""
	for _, isa := range instructionSets {
		if !cpu.Use(isa) {
			t.Logf("this machine has no %s", isa)
			continue
		}
		if best == "" {
			best = isa
		}
		t.Run(isa, f)
	}
	cpu.Use(best)
}

func TestDevice(t *testing.T) {
	for _, threads := range []int{1, 3} { // two: TestDeviceOnEveryInstructionSet
		t.Run(fmt.Sprintf("%d threads", threads), func(t *testing.T) { devicetest.Run(t, open(t, cpu.Options{Threads: threads})) })
	}
}

func TestDeviceOnEveryInstructionSet(t *testing.T) {
	each(t, func(t *testing.T) { devicetest.Run(t, open(t, cpu.Options{Threads: 2})) })
}

func TestName(t *testing.T) {
	if name := open(t, cpu.Options{Threads: 2}).Name(); !strings.HasPrefix(name, "cpu (oneDNN ") || !strings.Contains(name, ", 2 threads, ") {
		t.Errorf("name is %q", name)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []cpu.Options{{Threads: -1}, {Threads: 1 << 20}, {MemoryLimit: -1}} {
		if _, err := cpu.New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	devicetest.MemoryLimit(t, open(t, cpu.Options{Threads: 1, MemoryLimit: 1 << 20}))
}

func TestUnsupported(t *testing.T) { devicetest.Unsupported(t, open(t, cpu.Options{Threads: 1})) }
