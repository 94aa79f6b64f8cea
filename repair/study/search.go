package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"netmend/repair"
	"netmend/repair/technique"
	"netmend/train"
)

// searchFor is the search: it gives the patch that the technique recommends, or the one with the best score.
func (s *session) searchFor(ctx context.Context) (repair.Patch, bool, error) {
	space := s.Operators.Space(s.search)
	t, err := technique.New(s.Technique, technique.Setup{Subject: s.search, Space: space, Operators: s.Operators,
		Seed: SeedFor(s.Seed, "search", 0), Keys: s.Keys, MinEpochs: s.MinEpochs, Suspicion: s.Suspicion})
	if err != nil {
		return nil, false, err
	}
	if err := s.makeTrials(ctx, t); err != nil {
		return nil, false, err
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

// flight is a trial that is out.
type flight struct {
	line   trialLine
	replay bool
	share  *share
	job    *job // nil with replay
}

// makeTrials asks for as many proposals as may be out, tells of the oldest when it has ended, and so on until the budget is used or nothing is left to
// propose: what is asked never depends on which training ends first. What is out when the budget is used does not count.
func (s *session) makeTrials(ctx context.Context, t technique.Technique) error {
	q := newCrew(ctx, s.Parallel)
	q.giveWay = s.account.makeWay
	defer q.stop()
	var out []*flight
	asked, barren, over := 0, 0, false
	for used := 0.0; used < 1 && barren < maxBarren; {
		for !over && len(out) < s.Parallel && (s.Budget.Trials == 0 || asked < s.Budget.Trials) {
			p, err := t.Ask(ctx)
			if over = err == io.EOF; over || err == technique.ErrWait && len(out) > 0 {
				break
			}
			if err != nil {
				return err
			}
			x, err := s.send(q, t, technique.TrialID(asked), p)
			if err != nil {
				return err
			}
			out, asked = append(out, x), asked+1
		}
		if len(out) == 0 {
			break
		}
		x := out[0]
		out = out[1:]
		if err := s.receive(q, x); err != nil {
			return err
		}
		if err := t.Tell(x.line.Trial); err != nil {
			return err
		}
		s.reportTrial(x)
		if barren++; x.line.Cost > 0 {
			barren = 0
		}
		used = float64(x.line.Used)
	}
	for id := range s.j.trials {
		if int(id) >= asked {
			return fmt.Errorf("study: journal %s has trial %d, and the search ends before it: it was written by another version", s.Journal, id)
		}
	}
	return nil
}

// send begins the trial of a proposal, or takes it from the journal where it is there.
func (s *session) send(q *crew, t technique.Technique, id technique.TrialID, p technique.Proposal) (*flight, error) {
	x := &flight{share: s.account.begin()}
	if line, ok := s.j.trials[id]; ok {
		if !sameProposal(p, line.Proposal) {
			return nil, fmt.Errorf("study: journal %s: trial %d is %q, and the search asks for %q: it was written by another version",
				s.Journal, id, line.Patch, p.Patch)
		}
		x.line, x.replay = line, true
		s.account.charge(x.share, float64(line.Cost))
		s.busy.add(line.took())
		return x, nil
	}
	a := attempt{session: s, share: x.share, refused: s.refuses(p)}
	if a.refused == "" && p.From != technique.None {
		from := s.trials[p.From]
		a.from = &from
	}
	x.job = &job{
		prepare: func() {
			if w, ok := t.(technique.Watcher); ok {
				a.watch = w.Watch(p)
			}
		},
		train: func(ctx context.Context, j *job) (ending, error) {
			x.line = trialLine{Kind: "trial", Trial: technique.Trial{ID: id, Proposal: p}}
			switch err := s.busy.during(func() error { return a.train(ctx, &x.line) }); {
			case errors.Is(err, errGiveWay):
				return gaveWay, nil
			case err != nil:
				return finished, err
			case x.line.State == technique.OutOfMemory && j.crowded():
				return outOfRoom, nil
			}
			return finished, s.write(x)
		},
	}
	q.add(x.job)
	return x, nil
}

// write puts a trial that has ended into the journal.
func (s *session) write(x *flight) error {
	x.line.Seconds = s.busy.lap().Seconds()
	s.account.charge(x.share, float64(x.line.Cost))
	trials, cost := s.account.ended()
	x.line.use(s.Budget.used(cost, s.busy.elapsed(), trials))
	return s.j.Append(x.line)
}

// receive waits for a trial and takes it in.
func (s *session) receive(q *crew, x *flight) error {
	if x.job != nil {
		if err := q.wait(x.job); err != nil {
			return err
		}
	}
	if x.replay {
		if err := s.findUnit(q, x.line); err != nil {
			return err
		}
	}
	line := &x.line
	s.account.settle(float64(line.Cost))
	s.elapsed += line.took()
	if s.Parallel > 1 { // when it was written, others had ended that come after it, and others had not that come before
		line.use(s.Budget.used(s.account.spent, s.elapsed, len(s.trials)+1))
	}
	s.trials = append(s.trials, line.Trial)
	if line.Score.Valid && (s.best < 0 || s.metric().Better(float64(line.Score.Value), float64(s.trials[s.best].Score.Value))) {
		s.best = int(line.ID)
	}
	return nil
}

// use says what share of the budget is used after a trial; one that the budget cut leaves nothing.
func (t *trialLine) use(share float64) {
	if t.Used = repair.Number(min(1, share)); t.State == technique.Cut {
		t.Used = 1
	}
}

// took is how long a trial was trained, by the clock.
func (t *trialLine) took() time.Duration { return time.Duration(t.Seconds * float64(time.Second)) }

func sameProposal(a, b technique.Proposal) bool {
	return a.Patch.String() == b.Patch.String() && a.Epochs == b.Epochs && a.From == b.From && a.Seed == b.Seed
}

// findUnit does what account.price does for a trial that is read from the journal.
func (s *session) findUnit(q *crew, line trialLine) error {
	if s.account.unit != 0 || line.Steps == 0 {
		return nil
	}
	j := &job{train: func(ctx context.Context, j *job) (ending, error) {
		x, err := s.patched(s.search, line.Patch, line.Seed)
		if err == nil {
			var tr Training
			if tr, err = s.Start(x, train.Options{}); err == nil {
				defer tr.Close()
				_, err = s.price(ctx, nil, tr)
				return finished, err
			}
		}
		if FailedState(err) == technique.OutOfMemory && j.crowded() {
			return outOfRoom, nil
		}
		return finished, fmt.Errorf("study: journal %s: trial %d cannot be made again: %w", s.Journal, line.ID, err)
	}}
	q.add(j)
	return q.wait(j)
}

// reportTrial reports a trial that was told.
func (s *session) reportTrial(x *flight) {
	at := Progress{Phase: Searching, Trial: &x.line.Trial, Replay: x.replay, Holdout: math.NaN()}
	if x.line.Holdout != nil {
		at.Holdout = float64(*x.line.Holdout)
	}
	s.report(at)
}
