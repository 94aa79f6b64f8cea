package bohb

import (
	"cmp"
	"math"
	"slices"
)

// bracket is one run of successive halving (HpBandSter, core/base_iteration.py): stages that all configurations have to finish before the best
// of them are promoted.
type bracket struct {
	number   int
	counts   []int     // configurations per stage
	budgets  []float64 // per stage
	stage    int
	entered  int       // configurations that came into the stage
	running  int       // of them, those that are out
	configs  []*config // still in the race, in the order of their drawing
	finished bool
}

type config struct {
	id         int
	vector     []float64
	modelBased bool
	run        int // the last one; -1: none yet
	state      configState
	loss       float64 // on the budget of the stage
}

type configState uint8

const (
	queued configState = iota
	running
	review  // its loss is there
	crashed // its loss is not finite
)

// next gives the configuration to run; nil: there is none before others have finished, or ever. Where so many crashed that a stage
// has room, new configurations begin there.
func (b *bracket) next(o *Optimizer) *config {
	for !b.finished {
		for _, c := range b.configs {
			if c.state == queued {
				c.state = running
				b.running++
				return c
			}
		}
		switch {
		case b.entered < b.counts[b.stage]:
			v, modelBased := o.sampler.sample()
			b.configs = append(b.configs, &config{id: o.configs, vector: v, modelBased: modelBased, run: -1})
			o.configs++
			b.entered++
		case b.running > 0:
			return nil
		default:
			b.advance()
		}
	}
	return nil
}

func (b *bracket) result(c *config, loss float64) {
	b.running--
	c.loss, c.state = loss, review
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		c.state = crashed
	}
}

// advance ends a stage: the best of its configurations, as many as the next one takes, are queued for it.
func (b *bracket) advance() {
	if b.stage++; b.stage == len(b.counts) {
		b.finished, b.configs = true, nil
		return
	}
	b.configs = slices.DeleteFunc(b.configs, func(c *config) bool { return c.state != review })
	ranked := slices.Clone(b.configs)
	slices.SortStableFunc(ranked, func(x, y *config) int { return cmp.Compare(x.loss, y.loss) })
	for i, c := range ranked {
		if i < b.counts[b.stage] {
			c.state = queued
		}
	}
	b.configs = slices.DeleteFunc(b.configs, func(c *config) bool { return c.state != queued })
	b.entered = len(b.configs)
}
