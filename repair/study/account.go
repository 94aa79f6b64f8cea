package study

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// account is what the trials of the search have cost, and what those that are out may cost yet. They are charged in the order of their numbers,
// whatever the order in which they end: the budget cuts a trial where it would if those before it had been trained before it began. A trial whose
// end depends on what one before it will have cost waits for that one; the first that is out depends on none.
type account struct {
	mu      sync.Mutex
	changed *sync.Cond
	unit    float64 // declared seconds of a training of the faulty subject; 0: not known yet
	spent   float64 // by the trials that were told
	told    int
	out     []*share // in the order of their numbers
	giveWay bool     // see crew.giveWay
}

// share is a trial's part of the account.
type share struct {
	most float64 // it cannot cost more
	done bool    // most is what it cost
}

// errGiveWay ends a training that would have to wait for others while one of these wants the device for itself.
var errGiveWay = errors.New("study: a training gives way")

func newAccount() *account {
	a := &account{}
	a.changed = sync.NewCond(&a.mu)
	return a
}

// begin opens the share of a trial that comes after all others.
func (a *account) begin() *share {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &share{most: math.Inf(1)}
	a.out = append(a.out, s)
	return s
}

// limit says what a trial can cost at most.
func (a *account) limit(s *share, most float64) { a.set(s, most, false) }

// charge says what a trial has cost.
func (a *account) charge(s *share, cost float64) { a.set(s, cost, true) }

func (a *account) set(s *share, most float64, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.most, s.done = most, done
	a.changed.Broadcast()
}

// settle takes in that the first trial that is out was told.
func (a *account) settle(cost float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent += cost
	a.told++
	a.out = a.out[1:]
	a.changed.Broadcast()
}

// ended is the number of trials that have ended, told or not, and what they have cost.
func (a *account) ended() (trials int, cost float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	trials, cost = a.told, a.spent
	for _, s := range a.out {
		if s.done {
			trials, cost = trials+1, cost+s.most
		}
	}
	return trials, cost
}

// makeWay is crew.giveWay.
func (a *account) makeWay(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveWay = on
	a.changed.Broadcast()
}

// price gives the unit of cost. The first trial that can be started fixes it, to what a training of the faulty subject takes by that trial's prices: its
// own, unless the faulty subject cannot be trained at all. Trials that come after wait until it is fixed; without a share nothing waits.
func (a *account) price(ctx context.Context, s *share, unit float64) (float64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.await(ctx, func() bool { return a.unit != 0 || s == nil || a.out[0] == s })
	if err == nil && a.unit == 0 {
		a.unit = unit
		a.changed.Broadcast()
	}
	return a.unit, err
}

// before is what the trials before one have cost, or an upper bound of it where that is enough to know.
func (a *account) before(ctx context.Context, s *share, enough func(most float64) bool) (cost float64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err = a.await(ctx, func() bool {
		cost = a.spent
		for _, x := range a.out {
			if x == s {
				break
			}
			cost += x.most
		}
		return a.out[0] == s || enough(cost)
	})
	return cost, err
}

// await returns when something holds; the lock is held.
func (a *account) await(ctx context.Context, holds func() bool) error {
	if holds() {
		return nil
	}
	defer context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.changed.Broadcast()
	})()
	for !holds() {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case a.giveWay:
			return errGiveWay
		}
		a.changed.Wait()
	}
	return nil
}

// stopwatch is how long trainings have run, by the clock: the time in which several did counts once.
type stopwatch struct {
	now          func() time.Time
	mu           sync.Mutex
	running      int
	since        time.Time
	total, taken time.Duration
}

// during runs a training.
func (w *stopwatch) during(train func() error) error {
	w.mu.Lock()
	w.tick()
	w.running++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.tick()
		w.running--
		w.mu.Unlock()
	}()
	return train()
}

// tick brings the total up to now.
func (w *stopwatch) tick() {
	now := w.now()
	if w.running > 0 {
		w.total += now.Sub(w.since)
	}
	w.since = now
}

// lap is what has passed since the last lap.
func (w *stopwatch) lap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tick()
	d := w.total - w.taken
	w.taken = w.total
	return d
}

// elapsed is what has passed in all.
func (w *stopwatch) elapsed() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tick()
	return w.total
}

// add takes in what passed before a resume.
func (w *stopwatch) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total, w.taken = w.total+d, w.taken+d
}
