package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"netmend/train"
)

// residentPages reads the resident set from /proc/self/statm.
func residentPages(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTenThousandStepsLeaveNoGrowth trains D4 for 10,000 steps after 2,000: neither the resident set nor the heap has grown by more than the
// trace of losses (8 bytes a step) and the collector's slack explain. A leak of one kilobyte a step would show as ten mebibytes.
func TestTenThousandStepsLeaveNoGrowth(t *testing.T) {
	dev, err := openDevice("cpu")
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	for _, n := range benchNetworks {
		if n.name != "D4" {
			continue
		}
		m, err := n.build(n.name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := train.DefaultOptimizer(n.optimizer, train.PyTorch)
		if err != nil {
			t.Fatal(err)
		}
		d, err := n.data(m)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := train.New(m, train.Recipe{Semantics: train.PyTorch, Task: train.Classification, Optimizer: o, BatchSize: n.batch, Epochs: 1,
			Metric: train.Accuracy, Shuffle: true, Seed: 1, Loss: train.Loss{Name: n.loss}}, d, train.Options{Device: dev})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		steps := func(epochs int) {
			for range epochs {
				if err := tr.Epoch(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			debug.FreeOSMemory() // what the collector holds back would hide what C keeps
		}
		heap := func() uint64 {
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			return s.HeapAlloc
		}
		steps(2)
		pages, bytes := residentPages(t), heap()
		steps(10_000 / tr.StepsPerEpoch())
		grownPages, grown := residentPages(t)-pages, int64(heap())-int64(bytes)
		t.Logf("10,000 steps: resident set %+d KiB, heap %+d KiB", grownPages*os.Getpagesize()/1024, grown/1024)
		if grownPages*os.Getpagesize() > 4<<20 || grown > 1<<20 {
			t.Errorf("10,000 steps grew the resident set by %d KiB and the heap by %d KiB", grownPages*os.Getpagesize()/1024, grown/1024)
		}
	}
}
