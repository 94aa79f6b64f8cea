//go:build linux && cgo

package driver_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"netmend/cuda/driver"
)

// TestCalls: what calls queue stands between the launches of a batch, also in a graph, and the launches after a call have their own parameters.
func TestCalls(t *testing.T) {
	r := newRig(t, "")
	const n = 300
	a, b := r.upload(ramp(1, n)), r.alloc(4*n)
	twice := r.function("probe_twice")
	var batch driver.Batch
	add := func(to, from driver.Pointer) { r.ok(batch.Add(twice, line(2), line(256), 0, to, from, int32(n))) }
	write := func(at driver.Pointer, v float32) {
		batch.Call("write", func(s *driver.Stream) error { return s.Fill32(at, math.Float32bits(v), 1) })
	}
	write(a, 5)
	add(b, a)
	add(a, b)
	write(a, 100)
	write(a+4, 200)
	add(b, a)
	write(b+8, 7)
	want := ramp(1, n)
	for i := range want {
		want[i] *= 8
	}
	want[0], want[1], want[2] = 200, 400, 7
	g, err := r.stream.Capture(func() error { return r.stream.Run(&batch) })
	r.ok(err)
	if batch.Len() != 7 || g.Nodes() != 7 {
		t.Errorf("%d parts, %d nodes, want 7", batch.Len(), g.Nodes())
	}
	r.ok(g.Launch(r.stream, 1))
	if got := download[float32](r, b, n); !slices.Equal(got, want) {
		t.Errorf("%v…, want %v…", got[:4], want[:4])
	}
	r.ok(g.Close())
	failed := errors.New("refused")
	batch.Call("broken", func(*driver.Stream) error { return failed })
	if err := r.stream.Run(&batch); !errors.Is(err, failed) || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a call that fails: %v", err)
	}
	batch.Reset()
	if err := r.stream.Run(&batch); err != nil || batch.Len() != 0 {
		t.Errorf("an empty batch: %v, %d parts", err, batch.Len())
	}
}
