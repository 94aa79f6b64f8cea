package study

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"netmend/repair"
	"netmend/repair/technique"
)

// searchFor is the search: it gives the patch that the technique recommends, or the one with the best score.
func (s *session) searchFor(ctx context.Context) (repair.Patch, bool, error) {
	space := s.Operators.Space(s.search)
	t, err := technique.New(s.Technique, technique.Setup{Subject: s.search, Space: space, Operators: s.Operators,
		Seed: SeedFor(s.Seed, "search", 0), Keys: s.Keys, MinEpochs: s.MinEpochs, Suspicion: s.Suspicion})
	if err != nil {
		return nil, false, err
	}
	barren := 0
	for used := 0.0; used < 1; {
		p, err := t.Ask(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, false, err
		}
		var watch technique.Watch
		if w, ok := t.(technique.Watcher); ok {
			watch = w.Watch(p)
		}
		line, replay, err := s.next(ctx, p, watch)
		if err != nil {
			return nil, false, err
		}
		s.note(line)
		if err := t.Tell(line.Trial); err != nil {
			return nil, false, err
		}
		at := Progress{Phase: Searching, Trial: &line.Trial, Replay: replay, Holdout: math.NaN()}
		if line.Holdout != nil {
			at.Holdout = float64(*line.Holdout)
		}
		s.report(at)
		if barren++; line.Cost > 0 {
			barren = 0
		}
		if used = float64(line.Used); barren >= maxBarren {
			break
		}
	}
	if n := len(s.j.trials); n > len(s.trials) {
		return nil, false, fmt.Errorf("study: journal %s has %d trials, and the search ends after %d: it was written by another version", s.Journal, n, len(s.trials))
	}
	if c, ok := t.(technique.Chooser); ok {
		id := c.Chosen()
		s.chosen = &id
	}
	if r, ok := t.(technique.Recommender); ok {
		p, found := r.Recommend()
		return p, found && len(p) > 0, nil
	}
	if s.best <= 0 || len(s.trials[s.best].Patch) == 0 {
		return nil, false, nil
	}
	return s.trials[s.best].Patch, true, nil
}

// next is the trial of a proposal: from the journal where it is there, else made and written down.
func (s *session) next(ctx context.Context, p technique.Proposal, w technique.Watch) (line trialLine, replay bool, err error) {
	id := technique.TrialID(len(s.trials))
	if int(id) < len(s.j.trials) {
		line = s.j.trials[id]
		if !sameProposal(p, line.Proposal) {
			return line, true, fmt.Errorf("study: journal %s: trial %d is %q, and the search asks for %q: it was written by another version",
				s.Journal, id, line.Patch, p.Patch)
		}
		return line, true, s.findUnit(line)
	}
	if err := ctx.Err(); err != nil {
		return line, false, err
	}
	began := s.Clock()
	line = trialLine{Kind: "trial", Trial: technique.Trial{ID: id, Proposal: p}}
	if err := s.train(ctx, &line, w); err != nil {
		return line, false, err
	}
	took := s.Clock().Sub(began)
	line.Seconds = took.Seconds()
	line.Used = repair.Number(min(1, s.Budget.used(s.spent+float64(line.Cost), s.elapsed+took, len(s.trials)+1)))
	if line.State == technique.Cut {
		line.Used = 1
	}
	return line, false, s.j.Append(line)
}

func sameProposal(a, b technique.Proposal) bool {
	return a.Patch.String() == b.Patch.String() && a.Epochs == b.Epochs && a.From == b.From && a.Seed == b.Seed
}

// note takes a finished trial in.
func (s *session) note(line trialLine) {
	s.trials = append(s.trials, line.Trial)
	s.spent += float64(line.Cost)
	s.elapsed += time.Duration(line.Seconds * float64(time.Second))
	if line.Score.Valid && (s.best < 0 || s.metric().Better(float64(line.Score.Value), float64(s.trials[s.best].Score.Value))) {
		s.best = int(line.ID)
	}
}
