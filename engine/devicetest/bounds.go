package devicetest

import (
	"errors"
	"strings"
	"testing"

	"netmend/engine"
)

// MemoryLimit tests a device with a limit of 1 MiB: what does not fit is refused with a cause, whether it is state, temporaries or more elements than an int counts.
func MemoryLimit(t *testing.T, dev engine.Device) {
	t.Helper()
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
	b.Output(b.Reduce(engine.Sum, b.Broadcast(b.Scalar(1), []int{1 << 10}), false)) // one number: a device may keep the outputs of many steps
	e, err := dev.Compile(p)
	if err != nil {
		t.Fatalf("a program that fits: %v", err)
	}
	e.Close()
}

// Unsupported tests a device that has no windows of four axes: the error names the op by its label.
func Unsupported(t *testing.T, dev engine.Device) {
	t.Helper()
	p := engine.NewProgram(0)
	b := p.NewFunc("f", 0)
	b.Label("the pool of four axes")
	one, zero := []int{1, 1, 1, 1}, []int{0, 0, 0, 0}
	b.Output(b.MaxPool(p.NewState("x", []int{1, 1, 2, 2, 2, 2}), engine.Window{Kernel: one, Strides: one, Dilations: one, PadBegin: zero, PadEnd: zero}))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if _, err := dev.Compile(p); err == nil || !strings.Contains(err.Error(), "the pool of four axes") {
		t.Errorf("error %v", err)
	}
}
