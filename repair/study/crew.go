package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
)

// crew makes trainings side by side: so many at a time, begun in the order in which they were added. They share the device's memory, so one that
// the device could not hold beside others is made once more with nothing beside it before that counts.
//
// A crew belongs to one goroutine; what its jobs do to train runs in others. Nothing begins but while it is waited for.
type crew struct {
	ctx     context.Context // of all trainings; its cause is the first error
	cancel  context.CancelCauseFunc
	size    int
	added   int
	waiting []*job // in the order of adding
	alone   []*job // likewise: to be made with nothing beside them
	running []*job
	lonely  *job // it runs, and nothing begins beside it
	ended   chan *job
	// giveWay, where it is not nil, is told whether some job waits for the device to be empty: trainings that wait for others then have to end.
	giveWay func(bool)
}

// job is a training.
type job struct {
	prepare  func()                                            // called before each making by the crew's goroutine; nil: not
	train    func(ctx context.Context, j *job) (ending, error) // makes it, in another goroutine
	landed   func()                                            // called by the crew's goroutine when it is finished; nil: not
	number   int
	ctx      context.Context
	cancel   context.CancelCauseFunc
	crowd    atomic.Bool
	done     bool
	ending   ending
	err      error
	panicked any
}

// ending is how the making of a job ended.
type ending int

const (
	finished  ending = iota
	outOfRoom        // the device could not hold it beside others
	gaveWay          // it had to wait for others, and one of these wants the device for itself
)

// errDropped is the cause of the end of a training that nobody needs any more.
var errDropped = errors.New("study: a training is not needed any more")

func newCrew(ctx context.Context, size int) *crew {
	c := &crew{size: size, ended: make(chan *job, size)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// add puts a job behind those that are there.
func (c *crew) add(j *job) {
	j.number = c.added
	c.added++
	j.ctx, j.cancel = context.WithCancelCause(c.ctx)
	c.waiting = append(c.waiting, j)
}

// wait makes jobs until one is finished. The error is the first of any job, which ends all, or that of the crew's context.
func (c *crew) wait(j *job) error {
	for !j.done {
		if err := context.Cause(c.ctx); err != nil {
			return err
		}
		c.dispatch()
		c.take(<-c.ended)
	}
	if j.err != nil {
		return context.Cause(c.ctx)
	}
	return nil
}

// drop ends a job that nobody will wait for.
func (c *crew) drop(j *job) {
	if j.done {
		return
	}
	j.cancel(errDropped)
	here := func(x *job) bool { return x == j }
	c.waiting, c.alone = slices.DeleteFunc(c.waiting, here), slices.DeleteFunc(c.alone, here)
	if !slices.Contains(c.running, j) {
		j.done = true
	}
}

// stop drops everything and returns when nothing runs any more.
func (c *crew) stop() {
	c.cancel(nil)
	for len(c.running) > 0 {
		c.take(<-c.ended)
	}
}

func (c *crew) dispatch() {
	switch {
	case c.lonely != nil:
	case len(c.alone) > 0 && len(c.running) == 0:
		c.lonely, c.alone = c.alone[0], c.alone[1:]
		c.start(c.lonely)
	case len(c.alone) > 0:
	default:
		for len(c.waiting) > 0 && len(c.running) < c.size {
			j := c.waiting[0]
			c.waiting = c.waiting[1:]
			c.start(j)
		}
	}
}

func (c *crew) start(j *job) {
	for _, x := range c.running {
		x.crowd.Store(true)
	}
	j.crowd.Store(len(c.running) > 0)
	c.running = append(c.running, j)
	if j.prepare != nil {
		j.prepare()
	}
	go func() {
		defer func() {
			if x := recover(); x != nil {
				j.panicked = fmt.Sprintf("%v\n\n%s", x, debug.Stack())
				c.cancel(errDropped)
			}
			c.ended <- j
		}()
		if j.ending, j.err = j.train(j.ctx, j); j.err != nil && context.Cause(j.ctx) != errDropped {
			c.cancel(j.err)
		}
	}()
}

// take takes in that the making of a job has ended. A panic goes on here, where callers expect it.
func (c *crew) take(j *job) {
	c.running = slices.DeleteFunc(c.running, func(x *job) bool { return x == j })
	if c.lonely == j {
		c.lonely = nil
	}
	if x := j.panicked; x != nil {
		c.stop()
		panic(x)
	}
	byNumber := func(a, b *job) int { return cmp.Compare(a.number, b.number) }
	switch dropped := context.Cause(j.ctx) == errDropped; {
	case j.err != nil || dropped && j.ending != finished:
		j.done = true
	case j.ending == outOfRoom:
		c.alone = append(c.alone, j)
		slices.SortFunc(c.alone, byNumber)
	case j.ending == gaveWay:
		c.waiting = append(c.waiting, j)
		slices.SortFunc(c.waiting, byNumber)
	default:
		if j.done = true; j.landed != nil {
			j.landed()
		}
	}
	if j.done {
		j.cancel(nil) // frees the context
	}
	if c.giveWay != nil {
		c.giveWay(len(c.alone) > 0)
	}
}

// crowded says whether another training has been on the device since this one began.
func (j *job) crowded() bool { return j.crowd.Load() }
