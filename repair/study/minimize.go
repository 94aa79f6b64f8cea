package study

import (
	"cmp"
	"context"
	"math"
	"slices"

	"netmend/repair"
	"netmend/repair/stats"
	"netmend/repair/technique"
	"netmend/train"
)

// minimizeSeeds are the pairs of trainings on which a smaller patch is compared with the whole.
const minimizeSeeds = 3

// minimize makes a patch as small as it can be without losing what it gains: Zeller and Hildebrandt's ddmin ("Simplifying and Isolating
// Failure-Inducing Input", TSE 2002, figure 4) over its edits. A subset passes when, trained with the same seeds as the whole patch, its mean
// score on the search rows is not worse than the whole's by more than the margin. It ends early when its share of cost is spent, and does not begin
// where the whole alone would spend it.
//
// A subset is tested because those before it have failed, and a second seed because the first has not decided. With several trainings at a time those
// that come next if it goes on like that are made meanwhile; they count when they are asked for, and are dropped when they will not be.
func (s *session) minimize(ctx context.Context, patch repair.Patch) (repair.Patch, error) {
	if len(patch) < 2 || s.MinimizeTimes < 0 {
		return patch, nil
	}
	m := &minimizer{session: s, crew: s.crew(ctx), start: s.runCost, direction: s.direction(), seeds: s.minimizeSeeds(patch), begun: map[runKey]*run{}}
	defer m.crew.stop()
	if cost, err := m.wholeCost(ctx, patch); err != nil || cost >= s.MinimizeTimes { // nothing would be left to try a smaller one with
		return patch, err
	}
	whole, err := m.score(patch)
	if err != nil {
		return nil, err
	}
	m.whole = whole
	m.margin = m.marginOf(stats.Mean(whole))
	return ddmin(patch, m.order, m.passes)
}

// order puts those of some patches first that the search has trained to the end and that were better than the faulty subject, the best first.
func (m *minimizer) order(patches []repair.Patch) {
	origin := m.origin()
	gain := func(p repair.Patch) float64 {
		for _, t := range m.trials {
			if v, ok := m.searched(p, t.Seed); ok {
				return max(0, float64(m.direction)*(float64(v)-origin))
			}
		}
		return 0
	}
	slices.SortStableFunc(patches, func(a, b repair.Patch) int { return cmp.Compare(gain(b), gain(a)) })
}

// ddmin is the algorithm. order says which of the parts of a patch come first. test is never asked for the empty patch, which is the faulty subject, nor twice for
// the same; next are those that it is asked for after a patch unless one passes, as far as is known.
func ddmin(patch repair.Patch, order func(parts []repair.Patch), test func(p repair.Patch, next []repair.Patch) (bool, error)) (repair.Patch, error) {
	asked := map[string]bool{}
	known := func(p repair.Patch) bool {
		_, known := asked[p.String()]
		return known || len(p) == 0 || len(p) == len(patch)
	}
	for n := 2; len(patch) >= 2; {
		parts := split(patch, n)
		order(parts)
		subsets := slices.Clone(parts)
		for _, part := range parts {
			subsets = append(subsets, complement(patch, part))
		}
		reduced := false
		for i, p := range subsets {
			ok := asked[p.String()] && len(p) < len(patch)
			if !known(p) {
				var err error
				if ok, err = test(p, slices.DeleteFunc(slices.Clone(subsets[i+1:]), known)); err != nil {
					return nil, err
				}
				asked[p.String()] = ok
			}
			if ok {
				if patch, n = p, 2; i >= len(parts) {
					n = max(len(parts)-1, 2)
				}
				reduced = true
				break
			}
		}
		if !reduced {
			if n >= len(patch) {
				break
			}
			n = min(len(patch), 2*n)
		}
		n = min(n, max(2, len(patch)))
	}
	return patch, nil
}

// split divides a patch into n parts of about the same size.
func split(p repair.Patch, n int) []repair.Patch {
	var parts []repair.Patch
	for i := range n {
		if part := p[i*len(p)/n : (i+1)*len(p)/n]; len(part) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

func complement(p, part repair.Patch) repair.Patch {
	for _, e := range part {
		p = p.Without(e.Key())
	}
	return p
}

type minimizer struct {
	*session
	crew      *crew
	begun     map[runKey]*run // asked of the crew, and not dropped
	start     float64
	direction stats.Direction
	seeds     []uint64
	whole     []float64
	margin    float64
	done      int
}

// origin is where gains are measured from: the faulty subject's search score, or that of a constant answer, fitted on the training rows, where it has
// none; NaN where neither is known.
func (m *minimizer) origin() float64 {
	if len(m.trials) > 0 && m.trials[0].Score.Valid {
		if v := float64(m.trials[0].Score.Value); !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	}
	x := m.search
	ev, err := train.Constant(x.Model, x.Recipe, x.Data, x.Data.Train, x.Data.Search, 0)
	if err != nil { // the faulty subject cannot be trained
		return math.NaN()
	}
	return float64(scoreOf(ev, m.metric()))
}

// marginOf is how much worse a smaller patch may be on average: no less than the standard error of a share of n rows, below which scores cannot
// be told apart.
func (m *minimizer) marginOf(mean float64) float64 {
	margin := technique.Margin(m.metric(), m.origin(), mean)
	if m.metric().Maximize() && mean > 0 && mean < 1 {
		margin = max(margin, math.Sqrt(mean*(1-mean)/float64(len(m.search.Data.Search))))
	}
	return margin
}

// score trains a patch with all seeds.
func (m *minimizer) score(p repair.Patch) ([]float64, error) {
	var out []float64
	m.plan([]repair.Patch{p})
	for i := range minimizeSeeds {
		r, err := m.run(p, i)
		if err != nil {
			return nil, err
		}
		out = append(out, float64(r.Search))
	}
	return m.direction.Clean(out), nil
}

// wholeCost is what score costs for a patch: its trainings with the seeds that the search has not trained it to the end with. 0 where nobody knows before:
// early stopping may end them, or none can be started.
func (m *minimizer) wholeCost(ctx context.Context, p repair.Patch) (float64, error) {
	x, err := m.patched(m.search, p, m.seeds[0])
	if err != nil || x.Recipe.EarlyStopping.Patience > 0 {
		return 0, nil
	}
	tr, err := m.Start(x, train.Options{})
	if err != nil {
		return 0, nil
	}
	defer tr.Close()
	unit, err := m.price(ctx, nil, tr)
	if err != nil || unit == 0 {
		return 0, err
	}
	epochs, total := float64(x.Recipe.Epochs), 0.0
	for _, seed := range m.seeds {
		if _, ok := m.searched(p, seed); !ok {
			total += m.Cost.prices(tr, len(m.search.Data.Search)).training(epochs*float64(tr.StepsPerEpoch()), epochs) / unit
		}
	}
	return total, nil
}

// minimizeSeeds are the seeds with which the search has trained the patch to the end, then new ones.
func (s *session) minimizeSeeds(p repair.Patch) []uint64 {
	var seeds []uint64
	for _, t := range s.trials {
		if _, ok := s.searched(p, t.Seed); ok && !slices.Contains(seeds, t.Seed) && len(seeds) < minimizeSeeds {
			seeds = append(seeds, t.Seed)
		}
	}
	for i := 0; len(seeds) < minimizeSeeds; i++ {
		seeds = append(seeds, SeedFor(s.Seed, string(Minimizing), i))
	}
	return seeds
}

// searched is the search score of a patch that the search has trained to the end of its recipe with a seed.
func (s *session) searched(p repair.Patch, seed uint64) (repair.Number, bool) {
	epochs := float64(s.search.Recipe.Epochs)
	if v, ok := p.Get(epochsKey); ok {
		epochs = v.Number
	}
	for _, t := range s.trials {
		if t.Seed == seed && t.State == technique.Completed && t.Epochs >= epochs && t.Patch.String() == p.String() {
			return t.Score.Value, true
		}
	}
	return 0, false
}

// plan begins the trainings of patches with all seeds, in this order, and drops what was begun and is not among them.
func (m *minimizer) plan(patches []repair.Patch) {
	wanted := map[runKey]bool{}
	for _, p := range patches {
		for _, seed := range m.seeds {
			key := runKey{string(Minimizing), p.String(), seed}
			wanted[key] = true
			if _, ok := m.searched(p, seed); ok || m.begun[key] != nil {
				continue
			}
			m.begun[key] = m.begin(m.crew, key.kind, p, seed, nil, func() {
				m.done++
				m.report(Progress{Phase: Minimizing, Done: m.done})
			})
		}
	}
	for key, r := range m.begun {
		if !wanted[key] {
			delete(m.begun, key)
			if r.job != nil {
				m.crew.drop(r.job)
			}
		}
	}
}

// run is the training of a planned patch with the seed of a number.
func (m *minimizer) run(p repair.Patch, i int) (runLine, error) {
	if v, ok := m.searched(p, m.seeds[i]); ok {
		return runLine{Search: v}, nil
	}
	return m.await(m.crew, m.begun[runKey{string(Minimizing), p.String(), m.seeds[i]}])
}

// passes compares a smaller patch with the whole, seed by seed. It gives up on it as soon as the seeds that are left cannot make up for those
// that were worse, given that none is better than the whole's best. next may be trained meanwhile.
func (m *minimizer) passes(p repair.Patch, next []repair.Patch) (bool, error) {
	m.plan(append([]repair.Patch{p}, next...))
	sum := 0.0
	best := m.whole[0]
	for _, v := range m.whole {
		best = max(best*float64(m.direction), v*float64(m.direction)) * float64(m.direction)
	}
	for i := range minimizeSeeds {
		if m.runCost-m.start >= m.MinimizeTimes {
			return false, nil
		}
		r, err := m.run(p, i)
		if err != nil {
			return false, err
		}
		got := m.direction.Clean([]float64{float64(r.Search)})[0]
		sum += (got - m.whole[i]) * float64(m.direction)
		hope := 0.0
		for _, v := range m.whole[i+1:] {
			hope += (best - v) * float64(m.direction)
		}
		if !(sum+hope >= -m.margin*minimizeSeeds) {
			return false, nil
		}
	}
	return true, nil
}
