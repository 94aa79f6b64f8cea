package study

import (
	"context"
	"math"
	"time"

	"netmend/onnx"
	"netmend/repair"
	"netmend/repair/technique"
	"netmend/train"
)

// runKey names a whole training outside the search.
type runKey struct {
	kind, patch string
	seed        uint64
}

// run is a whole training that was asked for.
type run struct {
	key  runKey
	job  *job // nil: it is known already
	seen func()
}

// begin asks for a whole training of a patched subject, from scratch to the end of its recipe and scored, the verdict's on the hold-out rows too. What
// the journal holds is not made again. keep is handed the trained model while it is there; seen is called once when the training is done, or awaited
// where it was known.
func (s *session) begin(q *crew, kind string, p repair.Patch, seed uint64, keep func(runLine, Training) error, seen func()) *run {
	x := &run{key: runKey{kind, p.String(), seed}, seen: seen}
	if _, ok := s.runs[x.key]; ok {
		return x
	}
	r := runLine{}
	x.job = &job{
		train: func(ctx context.Context, j *job) (ending, error) {
			r = runLine{Kind: kind, Patch: p, Seed: seed, Search: repair.Number(s.metric().Worst())}
			if kind == string(Judging) {
				worst := r.Search
				r.Holdout = &worst
			}
			if err := s.busy.during(func() error { return s.trainWhole(ctx, &r, keep) }); err != nil {
				return finished, err
			}
			if r.State == technique.OutOfMemory && j.crowded() {
				return outOfRoom, nil
			}
			r.Seconds = s.busy.lap().Seconds()
			return finished, s.j.Append(r)
		},
		landed: func() {
			s.runs[x.key] = r
			x.seen()
		},
	}
	q.add(x.job)
	return x
}

// await gives a training that was asked for, and charges it.
func (s *session) await(q *crew, x *run) (runLine, error) {
	if x.job == nil {
		x.seen()
	} else if err := q.wait(x.job); err != nil {
		return runLine{}, err
	}
	r := s.runs[x.key]
	s.runCost += float64(r.Cost)
	s.runTime += r.Seconds
	return r, nil
}

// crew is one for trainings outside the search. Where no trial could be started, the first of them fixes the unit of cost, and they follow each other.
func (s *session) crew(ctx context.Context) *crew {
	if s.account.unit == 0 {
		return newCrew(ctx, 1)
	}
	return newCrew(ctx, s.Parallel)
}

func (s *session) trainWhole(ctx context.Context, r *runLine, keep func(runLine, Training) error) error {
	base := s.search
	if r.Holdout != nil {
		base = s.Subject
	}
	bad := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.State, r.Cause = FailedState(err), err.Error()
		return nil
	}
	x, err := s.patched(base, r.Patch, r.Seed)
	if err != nil {
		return bad(err)
	}
	tr, err := s.Start(x, train.Options{})
	if err != nil {
		return bad(err)
	}
	defer tr.Close()
	outcome, err := tr.Fit(ctx, x.Recipe.Epochs)
	if err != nil {
		return bad(err)
	}
	price := s.Cost.prices(tr, len(base.Data.Search))
	unit, err := s.price(ctx, nil, tr)
	if err != nil {
		return err
	}
	if unit > 0 {
		r.Cost = repair.Number(price.training(float64(len(tr.Trace().Losses)), float64(tr.EpochsDone())) / unit)
	}
	if outcome == train.Diverged {
		r.State, r.Cause = technique.Diverged, divergence(tr)
		return nil
	}
	r.State = technique.Completed
	if r.Search, err = Score(ctx, tr, s.metric(), base.Data.Search); err != nil {
		return bad(err)
	}
	if r.Holdout != nil {
		ev, err := tr.EvaluateGroups(ctx, base.Data.Holdout, rowGroups)
		if err != nil {
			return bad(err)
		}
		*r.Holdout = scoreOf(ev, s.metric())
		for _, v := range ev.Without {
			r.Without = append(r.Without, repair.Number(v))
		}
	}
	if keep != nil {
		return keep(*r, tr)
	}
	return nil
}

// Score is a training's metric on rows; outputs or a score that are not finite have the metric's worst.
func Score(ctx context.Context, tr Training, m train.Metric, rows []int32) (repair.Number, error) {
	ev, err := tr.Evaluate(ctx, rows)
	if err != nil {
		return 0, err
	}
	return scoreOf(ev, m), nil
}

func scoreOf(ev train.Evaluation, m train.Metric) repair.Number {
	if ev.NonFinite > 0 || math.IsNaN(ev.Score) || math.IsInf(ev.Score, 0) {
		return repair.Number(m.Worst())
	}
	return repair.Number(ev.Score)
}

// champion is the training of the verdict that has the best search score so far, the first of equal ones.
type champion struct {
	pair  int
	score float64
	model *onnx.Model // nil: it was not made in this process
}

// contend takes a training of a pair for the champion where it is better; model is asked for its model then. The model that is written is not chosen
// by the hold-out rows.
func (s *session) contend(pair int, r runLine, model func() (*onnx.Model, error)) error {
	wins := func() bool {
		c := s.champion
		return c == nil || s.metric().Better(float64(r.Search), c.score) || float64(r.Search) == c.score && pair < c.pair
	}
	s.crowning.Lock()
	best := wins()
	s.crowning.Unlock()
	if !best {
		return nil
	}
	m, err := model()
	if err != nil {
		return err
	}
	s.crowning.Lock()
	defer s.crowning.Unlock()
	if wins() { // another may have been better meanwhile
		s.champion = &champion{pair, float64(r.Search), m}
	}
	return nil
}

// trained is the model of the champion: kept from its training, or trained again after a resume.
func (s *session) trained(ctx context.Context, patch repair.Patch, seed uint64) (*onnx.Model, error) {
	if m := s.champion.model; m != nil {
		return m, nil
	}
	x, err := s.patched(s.Subject, patch, seed)
	if err != nil {
		return nil, err
	}
	tr, err := s.Start(x, train.Options{})
	if err != nil {
		return nil, err
	}
	defer tr.Close()
	if _, err := tr.Fit(ctx, x.Recipe.Epochs); err != nil {
		return nil, err
	}
	return tr.Model()
}

// seconds is a duration as reports have it.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }
