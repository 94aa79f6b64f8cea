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

// champion is the trained model with the best search score of the verdict so far.
type champion struct {
	seed  uint64
	model *onnx.Model
}

// whole trains a patched subject from scratch to the end of its recipe and scores it; the verdict's on the hold-out rows too. What the
// journal holds is not made again. keep is handed the trained model while it is there.
func (s *session) whole(ctx context.Context, kind string, p repair.Patch, seed uint64, keep func(runLine, Training) error) (runLine, error) {
	key := runKey{kind, p.String(), seed}
	if r, ok := s.runs[key]; ok {
		s.runCost += float64(r.Cost)
		s.runTime += r.Seconds
		return r, nil
	}
	if err := ctx.Err(); err != nil {
		return runLine{}, err
	}
	began := s.Clock()
	r := runLine{Kind: kind, Patch: p, Seed: seed, Search: repair.Number(s.metric().Worst())}
	if kind == string(Judging) {
		worst := r.Search
		r.Holdout = &worst
	}
	if err := s.trainWhole(ctx, &r, keep); err != nil {
		return runLine{}, err
	}
	r.Seconds = s.Clock().Sub(began).Seconds()
	if err := s.j.Append(r); err != nil {
		return runLine{}, err
	}
	s.runs[key] = r
	s.runCost += float64(r.Cost)
	s.runTime += r.Seconds
	return r, nil
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
	if s.price(tr); s.unit > 0 {
		r.Cost = repair.Number(price.training(float64(len(tr.Trace().Losses)), float64(tr.EpochsDone())) / s.unit)
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

// crown keeps a trained model when its search score is the best so far: the model that is written is not chosen by the hold-out rows.
func (s *session) crown(best *runLine) func(runLine, Training) error {
	return func(r runLine, tr Training) error {
		if best.State != "" && !s.metric().Better(float64(r.Search), float64(best.Search)) {
			return nil
		}
		m, err := tr.Model()
		if err != nil {
			return err
		}
		s.champion = &champion{r.Seed, m}
		return nil
	}
}

// trained is the model of a run of the verdict: kept from it, or trained again after a resume.
func (s *session) trained(ctx context.Context, r runLine) (*onnx.Model, error) {
	if s.champion != nil && s.champion.seed == r.Seed {
		return s.champion.model, nil
	}
	x, err := s.patched(s.Subject, r.Patch, r.Seed)
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
