package study

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"netmend/repair"
	"netmend/repair/technique"
	"netmend/train"
)

// anyWidth are the techniques whose searches do not depend on how many trainings there are at a time (techniquetest.Options.AnyWidth).
var anyWidth = []string{"autotrainer", "hebo-plain", "random"}

// timeless is a report as it is written, without its times.
func timeless(t *testing.T, r Report) string {
	t.Helper()
	r.Seconds = 0
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	seed := ""
	if r.Model != nil {
		seed, _ = r.Model.Meta("seed")
	}
	return string(raw) + seed
}

var usedField = regexp.MustCompile(`"used":[0-9.e+-]+`)

// searches are the lines of the trials that count, in the order of their numbers, without what depends on the order of arrival. Behind them there may be
// trials that could not be made, and ended while the one that used the budget up was trained.
func searches(t *testing.T, path string, r Report) []string {
	t.Helper()
	out := make([]string, r.Trials)
	for _, l := range lines(t, path) {
		if kind, id := kindOf(t, l); kind == "trial" && id < r.Trials {
			out[id] = strings.TrimSpace(string(usedField.ReplaceAll(l, []byte(`"used":0`))))
		}
	}
	return out
}

func kindOf(t *testing.T, line []byte) (kind string, id int) {
	t.Helper()
	var x struct {
		Kind string
		ID   int
	}
	if err := json.Unmarshal(line, &x); err != nil {
		t.Fatal(err)
	}
	return x.Kind, x.ID
}

// arrivals are the numbers of the trials in the order of a journal.
func arrivals(t *testing.T, path string) (ids []int) {
	t.Helper()
	for _, l := range lines(t, path) {
		if kind, id := kindOf(t, l); kind == "trial" {
			ids = append(ids, id)
		}
	}
	return ids
}

// parallel is a study with four trainings at a time, whose lengths are drawn by a number.
func parallel(t *testing.T, name string, pauses uint64) (Config, *fakeWorld) {
	w := &fakeWorld{pauses: pauses}
	c := config(t, w)
	c.Technique, c.Parallel = name, 4
	return c, w
}

// Trainings side by side give the report of trainings one after the other, whichever ends first: of the whole study where the technique's search is the
// same, and else whatever the order of arrival.
func TestSideBySide(t *testing.T) {
	for _, budget := range []Budget{{Times: 12}, {Trials: 14}} {
		for _, name := range technique.Names() {
			if testing.Short() && strings.HasPrefix(name, "hebo") {
				continue
			}
			t.Run(name+" "+budget.String(), func(t *testing.T) {
				a, w := parallel(t, name, 1)
				a.Budget = budget
				report := mustRun(t, a)
				got, disordered := timeless(t, report), !slices.IsSorted(arrivals(t, a.Journal))
				if w.most != 4 || w.live != 0 {
					t.Errorf("%d trainings at a time, %d at the end", w.most, w.live)
				}
				// A short search may end in order by chance: lengths are drawn until one does not.
				for pauses := uint64(2); pauses == 2 || name != "autotrainer" && !disordered && pauses < 10; pauses++ {
					b, _ := parallel(t, name, pauses)
					b.Budget = budget
					if again := timeless(t, mustRun(t, b)); again != got {
						t.Errorf("trainings of other lengths give another report:\n%s\n%s", again, got)
					}
					if !slices.Equal(searches(t, a.Journal, report), searches(t, b.Journal, report)) {
						t.Error("trainings of other lengths give other trials")
					}
					disordered = disordered || !slices.IsSorted(arrivals(t, b.Journal))
				}
				if name != "autotrainer" && !disordered {
					t.Error("trials ended in the order of asking: the test shows nothing")
				}
				if !slices.Contains(anyWidth, name) && name != "hebo" {
					return
				}
				c, _ := parallel(t, name, 0)
				c.Budget, c.Parallel = budget, 1
				if one := timeless(t, mustRun(t, c)); one != got {
					t.Errorf("one training at a time gives another report:\n%s\n%s", one, got)
				}
				if !slices.Equal(searches(t, a.Journal, report), searches(t, c.Journal, report)) {
					t.Error("one training at a time gives other trials")
				}
			})
		}
	}
}

// A study that was killed at any moment holds the header, some of the trials, and some other trainings once all trials are there; it goes on to the same
// report, and loses no line.
func TestResumeSideBySide(t *testing.T) {
	for _, name := range []string{"random", "bohb", "guided"} {
		t.Run(name, func(t *testing.T) {
			c, _ := parallel(t, name, 1)
			report := mustRun(t, c)
			want, trials := timeless(t, report), searches(t, c.Journal, report)
			raw, err := os.ReadFile(c.Journal)
			if err != nil {
				t.Fatal(err)
			}
			all := bytes.SplitAfter(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
			all[len(all)-1] = append(all[len(all)-1], '\n')
			asked := len(arrivals(t, c.Journal))
			rng := rand.New(rand.NewPCG(1, 1))
			for k := range 12 {
				kept := slices.Clone(all[:1])
				for i, l := range all[1:] {
					if k < 6 && i < asked && rng.IntN(2) == 0 || k >= 6 && (i < asked || rng.IntN(2) == 0) {
						kept = append(kept, l)
					}
				}
				rest := append(bytes.Join(kept, nil), all[1][:len(all[1])/2]...) // and a part of a line
				c, _ := parallel(t, name, uint64(k+2))
				c.Resume, c.CheckpointBytes = true, 1
				if err := os.WriteFile(c.Journal, rest, 0o644); err != nil {
					t.Fatal(err)
				}
				if got := timeless(t, mustRun(t, c)); got != want {
					t.Fatalf("resumed with %d lines of %d: \n%s\n%s", len(kept), len(all), got, want)
				}
				if now, _ := os.ReadFile(c.Journal); !bytes.HasPrefix(now, bytes.Join(kept, nil)) {
					t.Error("a line is gone")
				}
				if !slices.Equal(searches(t, c.Journal, report), trials) {
					t.Errorf("resumed with %d lines of %d: other trials", len(kept), len(all))
				}
			}
			c.Resume, c.Parallel = true, 2
			if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "its number of trainings at a time is 4, asked for is 2") {
				t.Errorf("with another number of trainings at a time: %v", err)
			}
		})
	}
}

// What a device cannot hold beside others it is given alone: no trial fails that would not fail alone, near the end of the budget too, where trials wait
// for what others cost.
func TestMemoryOfNeighbours(t *testing.T) {
	for _, budget := range []Budget{{Times: 3}, {Times: 8}, {Trials: 20}} {
		for _, capacity := range []int{1, 2, 3} {
			c, w := parallel(t, "random", 1)
			c.Budget, w.capacity = budget, capacity
			r := mustRun(t, c)
			one, _ := parallel(t, "random", 0)
			one.Budget, one.Parallel = budget, 1
			if got, want := timeless(t, r), timeless(t, mustRun(t, one)); got != want {
				t.Errorf("budget %s on a device that holds %d trainings:\n%s\n%s", budget, capacity, got, want)
			}
			if !slices.Equal(searches(t, c.Journal, r), searches(t, one.Journal, r)) {
				t.Errorf("budget %s on a device that holds %d trainings: other trials", budget, capacity)
			}
			if w.most > capacity || w.live != 0 {
				t.Errorf("%d trainings at a time, %d at the end", w.most, w.live)
			}
		}
	}
}

// within runs a study that has to end soon.
func within(t *testing.T, limit time.Duration, run func()) {
	t.Helper()
	began := time.Now()
	run()
	if took := time.Since(began); took > limit {
		t.Errorf("it ended after %v", took)
	}
}

// Ctrl-C ends all trainings, and what had ended is in the journal.
func TestInterruptSideBySide(t *testing.T) {
	for _, after := range []int{1, 5, 12} {
		c, w := parallel(t, "random", 1)
		want, _ := parallel(t, "random", 2)
		report := timeless(t, mustRun(t, want))
		ctx, cancel := context.WithCancel(context.Background())
		c.Start = func(s repair.Subject, o train.Options) (Training, error) {
			x, err := w.start(s, o)
			w.mu.Lock()
			defer w.mu.Unlock()
			if f, ok := x.(*fakeTraining); ok && w.starts >= after { // it would never end
				f.pause = time.Hour
				time.AfterFunc(10*time.Millisecond, cancel)
			}
			return x, err
		}
		within(t, time.Second, func() {
			if _, err := Run(ctx, c); !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
		if w.live != 0 {
			t.Errorf("%d trainings are left", w.live)
		}
		c.Resume, c.Start = true, (&fakeWorld{pauses: 3}).start
		if got := timeless(t, mustRun(t, c)); got != report {
			t.Errorf("resumed:\n%s\n%s", got, report)
		}
	}
}

// An error that is no result ends the others and is what the study says; a panic reaches the caller with its place.
func TestFailureSideBySide(t *testing.T) {
	c, w := parallel(t, "random", 1)
	w.broken = errors.New("the disk is full")
	within(t, 2*time.Second, func() {
		if _, err := Run(context.Background(), c); !errors.Is(err, w.broken) {
			t.Errorf("%v", err)
		}
	})
	if w.live != 0 {
		t.Errorf("%d trainings are left", w.live)
	}
	c, w = parallel(t, "random", 1)
	c.Start = func(s repair.Subject, o train.Options) (Training, error) {
		x, err := w.start(s, o)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.starts == c.Parallel {
			panic("of our own making")
		}
		if f, ok := x.(*fakeTraining); ok {
			f.pause = time.Hour
		}
		return x, err
	}
	within(t, 2*time.Second, func() {
		defer func() {
			if x, _ := recover().(string); !strings.HasPrefix(x, "of our own making") || !strings.Contains(x, "parallel_test.go") {
				t.Errorf("recovered %q", x)
			}
		}()
		_, err := Run(context.Background(), c)
		t.Errorf("no panic, and %v", err)
	})
}

// The account charges trials in the order of their numbers: a bound is enough where it does not matter, and else a trial waits for those before it.
func TestAccount(t *testing.T) {
	a := newAccount()
	first, second := a.begin(), a.begin()
	never := func(float64) bool { return false }
	got := make(chan float64)
	go func() {
		v, err := a.before(context.Background(), second, never)
		if err != nil {
			t.Error(err)
		}
		got <- v
	}()
	if v, err := a.before(context.Background(), first, never); v != 0 || err != nil {
		t.Errorf("%v, %v before the first", v, err)
	}
	a.limit(first, 3)
	if v, err := a.before(context.Background(), second, func(most float64) bool { return most == 3 }); v != 3 || err != nil {
		t.Errorf("at most %v, %v before the second", v, err)
	}
	a.charge(first, 2)
	if n, cost := a.ended(); n != 1 || cost != 2 {
		t.Errorf("%d trials have ended and cost %v", n, cost)
	}
	select {
	case v := <-got:
		t.Errorf("%v before the first is told", v)
	case <-time.After(5 * time.Millisecond):
	}
	a.settle(2)
	if v := <-got; v != 2 {
		t.Errorf("%v before the second", v)
	}
	third := a.begin()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.before(ctx, third, never); err != context.Canceled {
		t.Errorf("an interrupted trial waits: %v", err)
	}
	a.makeWay(true)
	if _, err := a.price(context.Background(), third, 1); err != errGiveWay {
		t.Errorf("a trial waits beside one that wants the device for itself: %v", err)
	}
	if u, err := a.price(context.Background(), second, 7); u != 7 || err != nil {
		t.Errorf("unit %v, %v", u, err)
	}
	if u, err := a.price(context.Background(), third, 9); u != 7 || err != nil {
		t.Errorf("unit %v, %v", u, err)
	}
	if !math.IsInf(third.most, 1) {
		t.Errorf("at most %v of a trial of which nothing is known", third.most)
	}
}

// Time counts once in which several trainings run.
func TestStopwatch(t *testing.T) {
	now := time.Unix(0, 0)
	w := &stopwatch{now: func() time.Time { return now }}
	pass := func() { now = now.Add(time.Second) }
	pass()
	_ = w.during(func() error {
		pass()
		_ = w.during(func() error { pass(); return nil })
		if d := w.lap(); d != 2*time.Second {
			t.Errorf("first lap %v", d)
		}
		pass()
		return nil
	})
	pass()
	w.add(time.Minute)
	if d := w.lap(); d != time.Second || w.elapsed() != time.Minute+3*time.Second {
		t.Errorf("second lap %v of %v", d, w.elapsed())
	}
}

// Trainings of which the device could make any number at once without slowing down: what a study gains by so many at a time, at the most.
func BenchmarkSideBySide(b *testing.B) {
	for _, name := range []string{"random", "bohb", "guided"} {
		for _, n := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					c := config(b, &fakeWorld{step: time.Millisecond})
					c.Technique, c.Budget, c.Parallel, c.Seeds = name, Budget{Times: 20}, n, DefaultSeeds
					c.Subject.Recipe.Epochs = 10
					r, err := Run(context.Background(), c)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(r.CostX), "search-x/op")
				}
			})
		}
	}
}
