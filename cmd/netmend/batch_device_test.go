package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

// space is a device's memory, in halves of what the largest training takes.
type space struct {
	mu         sync.Mutex
	free       int
	live, most int // trainings
}

func (m *space) take(n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.free {
		return fmt.Errorf("%w: %d of %d", engine.ErrMemoryInUse, n, m.free)
	}
	m.free -= n
	return nil
}

func (m *space) give(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += n
}

// start takes the halves one by one, as Compile and Load do.
func (m *space) start(halves int) study.Start {
	return func(repair.Subject, train.Options) (study.Training, error) {
		for i := range halves {
			if err := m.take(1); err != nil {
				m.give(i)
				return nil, err
			}
			time.Sleep(time.Millisecond)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.live++
		m.most = max(m.most, m.live)
		return &held{space: m, halves: halves}, nil
	}
}

type held struct {
	study.Training
	space  *space
	halves int
	closed bool
}

func (h *held) Close() error {
	h.space.mu.Lock()
	defer h.space.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.space.free += h.halves
		h.space.live--
	}
	return nil
}

// TestTrainingsWaitForMemory: however many want it, and whatever they take in part before they are refused, all are trained.
func TestTrainingsWaitForMemory(t *testing.T) {
	for _, c := range []struct{ free, halves int }{{2, 2}, {3, 2}, {4, 1}, {5, 3}} {
		m, q := &space{free: c.free}, newQueue(time.Millisecond)
		var wait sync.WaitGroup
		for range 12 {
			wait.Go(func() {
				for range 3 {
					tr, err := q.start(t.Context(), m.start(c.halves), func(error) {})(repair.Subject{}, train.Options{})
					if err != nil {
						t.Errorf("%+v: %v", c, err)
						return
					}
					time.Sleep(time.Millisecond)
					if err := errors.Join(tr.Close(), tr.Close()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if q.live != 0 || m.free != c.free || m.most < 1 || m.most > c.free/c.halves {
			t.Errorf("%+v: %d are free at the end, %d trainings were live at the most", c, m.free, m.most)
		}
	}
}

// TestNobodyWaitsForNobody: a training that does not fit where there is no other is refused, at once; one that is interrupted does not wait on.
func TestNobodyWaitsForNobody(t *testing.T) {
	m, q := &space{free: 1}, newQueue(time.Hour)
	waited := 0
	_, err := q.start(t.Context(), m.start(2), func(error) { waited++ })(repair.Subject{}, train.Options{})
	if !errors.Is(err, engine.ErrMemoryInUse) || !study.NoResult(err) || waited != 1 {
		t.Errorf("alone: error %v, waited %d times", err, waited)
	}
	other, err := q.start(t.Context(), m.start(1), func(error) {})(repair.Subject{}, train.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := q.start(ctx, m.start(1), func(error) { cancel() })(repair.Subject{}, train.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: error %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("for a test")
	broken := func(repair.Subject, train.Options) (study.Training, error) { return nil, failure }
	_, err = q.start(t.Context(), broken, func(error) { t.Error("it waits") })(repair.Subject{}, train.Options{})
	if err != failure {
		t.Errorf("another error: %v", err)
	}
}

func TestGPUsOf(t *testing.T) {
	for name, want := range map[string]int{"cpu (oneDNN 2.6.3, 2 threads)": 0, "reference": 0, "cuda:3 (X, a, b)": 1, "cuda:0,1,5 (X, a)": 3} {
		if got := gpusOf(name); got != want {
			t.Errorf("%q: %d GPUs, want %d", name, got, want)
		}
	}
}
