package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"netmend/engine"
	"netmend/repair"
	"netmend/repair/study"
	"netmend/train"
)

// queue lets the trainings of jobs on one device wait for one another's memory. One that does not fit at present is started again when another has
// ended. Who waits holds no training, so nobody waits for someone who waits; and one tries again at a time, as two that each took half of what they
// need would refuse each other without end.
type queue struct {
	pause time.Duration // before a training is started again: it is compiled each time

	turn    chan struct{} // holds one element while someone waits to try again
	mu      sync.Mutex
	live    int           // trainings that are started or being started
	ended   int           // those that were
	changed chan struct{} // closed when one ends, and made anew
}

func newQueue(pause time.Duration) *queue {
	return &queue{pause: pause, turn: make(chan struct{}, 1), changed: make(chan struct{})}
}

// start is a Start whose trainings wait until they fit, or until ctx ends; waits is told why before one does. Where there is nobody left to wait for, it is
// another program that holds the memory: no result of the training.
func (q *queue) start(ctx context.Context, start study.Start, waits func(error)) study.Start {
	return func(s repair.Subject, o train.Options) (study.Training, error) {
		tr, before, err := q.try(start, s, o)
		if !errors.Is(err, engine.ErrMemoryInUse) {
			return tr, err
		}
		waits(err)
		select {
		case q.turn <- struct{}{}:
			defer func() { <-q.turn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		for errors.Is(err, engine.ErrMemoryInUse) {
			if other, stop := q.wait(ctx, before); stop != nil {
				return nil, stop
			} else if !other {
				return nil, fmt.Errorf("%w: %w", study.ErrNoResult, err)
			}
			tr, before, err = q.try(start, s, o)
		}
		return tr, err
	}
}

// try starts a training. before is how many had ended when it began.
func (q *queue) try(start study.Start, s repair.Subject, o train.Options) (_ study.Training, before int, _ error) {
	q.mu.Lock()
	q.live++
	before = q.ended
	q.mu.Unlock()
	tr, err := start(s, o)
	if err != nil {
		q.end()
		return nil, before, err
	}
	return &queued{Training: tr, queue: q}, before, nil
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live--
	q.ended++
	close(q.changed)
	q.changed = make(chan struct{})
}

// wait returns when another training than the one that was tried has ended since; other is false where there is none that could.
func (q *queue) wait(ctx context.Context, before int) (other bool, _ error) {
	for {
		q.mu.Lock()
		live, ended, changed := q.live, q.ended, q.changed
		q.mu.Unlock()
		if ended > before+1 { // the first is the try itself
			changed = nil
		} else if live == 0 {
			return false, nil
		}
		var pause <-chan time.Time
		if changed == nil {
			pause = time.After(q.pause)
		}
		select {
		case <-changed:
		case <-pause:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// queued is a training that others may wait for.
type queued struct {
	study.Training
	queue *queue
	once  sync.Once
}

func (t *queued) Close() error {
	err := t.Training.Close()
	t.once.Do(t.queue.end)
	return err
}

// placing is a device that says where its executables lie.
type placing struct {
	engine.Device
	place func(string)
}

func (d placing) Compile(p *engine.Program) (engine.Executable, error) {
	e, err := d.Device.Compile(p)
	if err == nil {
		name := d.Name()
		if at, ok := e.(engine.Placed); ok {
			name = at.Place()
		}
		d.place(name)
	}
	return e, err
}

// gpusOf is the number of GPUs in a device's name; 0: it is none.
func gpusOf(name string) int {
	head, _, _ := strings.Cut(name, " (")
	list, ok := strings.CutPrefix(head, "cuda:")
	if !ok {
		return 0
	}
	return 1 + strings.Count(list, ",")
}
