//go:build cgo && amd64

package cpu_test

import (
	"errors"
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

// TestMemoryLimit: what does not fit is refused with a cause, whether it is state, temporaries or more elements than an int counts.
func TestMemoryLimit(t *testing.T) {
	dev := open(t, cpu.Options{Threads: 1, MemoryLimit: 1 << 20})
	for name, build := range map[string]func(p *engine.Program, b *engine.Builder){
		"state":       func(p *engine.Program, b *engine.Builder) { b.Output(p.NewState("s", []int{1 << 19})) },
		"temporaries": func(p *engine.Program, b *engine.Builder) { b.Output(b.Broadcast(b.Scalar(1), []int{1 << 19})) },
		"overflow": func(p *engine.Program, b *engine.Builder) {
			b.Output(b.Broadcast(b.Scalar(1), []int{1 << 31, 1 << 31, 1 << 31}))
		},
	} {
		p := engine.NewProgram(0)
		b := p.NewFunc("f", 0)
		build(p, b)
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
		e, err := dev.Compile(p)
		if !errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), "MiB") {
			t.Errorf("%s: error %v", name, err)
		}
		if err == nil {
			e.Close()
		}
	}
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	b.Output(b.Broadcast(b.Scalar(1), []int{1 << 10}))
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatalf("a program that fits: %v", err)
	}
	e.Close()
}

// TestUnsupported: the error names the op by its label.
func TestUnsupported(t *testing.T) {
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	b.Label("the pool of four axes")
	one, zero := []int{1, 1, 1, 1}, []int{0, 0, 0, 0}
	b.Output(b.MaxPool(p.NewState("x", []int{1, 1, 2, 2, 2, 2}), engine.Window{Kernel: one, Strides: one, Dilations: one, PadBegin: zero, PadEnd: zero}))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if _, err := open(t, cpu.Options{Threads: 1}).Compile(p); err == nil || !strings.Contains(err.Error(), "the pool of four axes") {
		t.Errorf("error %v", err)
	}
}
