package main

import (
	"testing"
)

// TestStepsLeaveNoGrowth trains the tiny network for 40,000 steps after 2,000: neither the resident set nor the live heap may grow by more than 48
// bytes a step, of which the trace of losses takes up to 16. Smaller leaks than that are below what an allocator keeps for itself.
func TestStepsLeaveNoGrowth(t *testing.T) {
	if residentMemory() == 0 {
		t.Skip("the resident set is not known here")
	}
	const before, steps, most = 2_000, 40_000, 48
	dev, err := openDevice("cpu")
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	n, err := benchNetworkNamed("tiny")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := n.trainer(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := advance(t.Context(), tr, before); err != nil {
		t.Fatal(err)
	}
	first := takeGrowth(before)
	if err := advance(t.Context(), tr, steps); err != nil {
		t.Fatal(err)
	}
	last := takeGrowth(before + steps)
	resident, heap := float64(last.Resident-first.Resident)/steps, float64(last.Heap-first.Heap)/steps
	t.Logf("%.1f bytes a step of the resident set, %.1f of the heap", resident, heap)
	if resident > most || heap > most {
		t.Errorf("%d steps grew the resident set by %.1f bytes a step and the heap by %.1f", steps, resident, heap)
	}
}
