package study

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"netmend/engine"
	"netmend/repair"
	"netmend/train"
)

// mortal is a training on a device that is lost after so many calls of all its trainings.
type mortal struct {
	Training
	left *int
}

func (t mortal) lost() error {
	if *t.left--; *t.left < 0 {
		return fmt.Errorf("fake: %w: for a test", engine.ErrDeviceLost)
	}
	return nil
}

func (t mortal) Advance(ctx context.Context, steps int) (bool, error) {
	if err := t.lost(); err != nil {
		return false, err
	}
	return t.Training.Advance(ctx, steps)
}

func (t mortal) Fit(ctx context.Context, epochs int) (train.Outcome, error) {
	if err := t.lost(); err != nil {
		return train.Failed, err
	}
	return t.Training.Fit(ctx, epochs)
}

func (t mortal) Evaluate(ctx context.Context, rows []int32) (train.Evaluation, error) {
	if err := t.lost(); err != nil {
		return train.Evaluation{}, err
	}
	return t.Training.Evaluate(ctx, rows)
}

func (t mortal) EvaluateGroups(ctx context.Context, rows []int32, n int) (train.Evaluation, error) {
	if err := t.lost(); err != nil {
		return train.Evaluation{}, err
	}
	return t.Training.EvaluateGroups(ctx, rows, n)
}

func (t mortal) Checkpoint() (Checkpoint, error) {
	if err := t.lost(); err != nil {
		return nil, err
	}
	return t.Training.Checkpoint()
}

// TestLostDevice: wherever a study loses its device, no line of the journal says that a training was bad, and another device like it goes on to the
// journal of an unbroken study.
func TestLostDevice(t *testing.T) {
	for _, name := range []string{"guided", "bohb"} {
		c := config(t, &fakeWorld{})
		c.Technique, c.Device = name, "fake:0 (a model)"
		mustRun(t, c)
		want := bytes.Join(lines(t, c.Journal)[1:], nil)
		ended := false
		for calls := 0; !ended; calls += 1 + calls/3 {
			c := c
			left := calls
			c.Journal = filepath.Join(t.TempDir(), "j")
			c.Start = func(s repair.Subject, o train.Options) (Training, error) {
				tr, err := (&fakeWorld{}).start(s, o)
				x := mortal{tr, &left}
				if err == nil {
					err = x.lost()
				}
				return x, err
			}
			_, err := Run(context.Background(), c)
			if ended = left >= 0; ended {
				if err != nil || calls < 20 {
					t.Fatalf("%s, %d calls: %v", name, calls, err)
				}
				break
			}
			if !errors.Is(err, ErrInterrupted) || !errors.Is(err, engine.ErrDeviceLost) || !strings.Contains(err.Error(), "device lost: for a test") {
				t.Fatalf("%s, lost after %d calls: %v", name, calls, err)
			}
			if got := bytes.Join(lines(t, c.Journal)[1:], nil); !bytes.HasPrefix(want, got) {
				t.Fatalf("%s, lost after %d calls: the journal is no beginning of the unbroken one:\n%s", name, calls, got)
			}
			c.Resume, c.Start, c.Device = true, (&fakeWorld{}).start, "fake:1,2 (a model)"
			mustRun(t, c)
			if got := bytes.Join(lines(t, c.Journal)[1:], nil); !bytes.Equal(got, want) {
				t.Errorf("%s, lost after %d calls: the journals differ", name, calls)
			}
			c.Device = "fake:0 (another model)"
			if _, err := Run(context.Background(), c); err == nil || !strings.Contains(err.Error(), "its device is fake (a model)") {
				t.Fatalf("another model goes on: %v", err)
			}
		}
	}
}

// TestNoResult: a Start that says so interrupts a study as a lost device does; that memory is in use is a result unless it says so.
func TestNoResult(t *testing.T) {
	c := config(t, &fakeWorld{})
	failure := fmt.Errorf("%w: %w", ErrNoResult, engine.ErrMemoryInUse)
	c.Start = func(repair.Subject, train.Options) (Training, error) { return nil, failure }
	if _, err := Run(context.Background(), c); !errors.Is(err, ErrInterrupted) || !errors.Is(err, failure) || len(lines(t, c.Journal)) != 1 {
		t.Errorf("error %v, %d lines", err, len(lines(t, c.Journal)))
	}
	for err, want := range map[error]bool{nil: false, engine.ErrMemory: false, engine.ErrMemoryInUse: false, engine.ErrDeviceLost: true, failure: true} {
		if NoResult(err) != want {
			t.Errorf("%v: %t", err, !want)
		}
	}
}
