package bohb

import (
	"math"
	"slices"
)

// sampler proposes vectors and learns from their losses (HpBandSter, config_generators/bohb.py).
type sampler struct {
	Settings
	space    space
	src      Source
	discrete []bool
	seen     map[float64]*observations // by budget
	models   map[float64]model
	largest  float64 // budget that has a model; 0: none has
}

type observations struct {
	vectors [][]float64
	losses  []float64
}

// model are the densities of good and of bad vectors, l and g of Bergstra et al. 2011.
type model struct{ good, bad *kde }

func newSampler(x space, s Settings, src Source) *sampler {
	// Fewer points than dimensions and one more cannot be split in two densities: the original raises the number as well.
	s.MinPoints = max(s.MinPoints, len(x)+1)
	c := &sampler{Settings: s, space: x, src: src, seen: map[float64]*observations{}, models: map[float64]model{}}
	for _, d := range x {
		c.discrete = append(c.discrete, d.Kind == Choice)
	}
	return c
}

// sample gives a vector: by the model of the largest budget that has one, in a share of the cases and without a model uniformly.
func (c *sampler) sample() (v []float64, modelBased bool) {
	if len(c.models) == 0 || c.src.Float64() < c.RandomFraction {
		return c.space.sample(c.src), false
	}
	best := c.models[c.largest].minimize(c)
	if best == nil {
		return c.space.sample(c.src), false
	}
	// Integers are rounded before they are told, so that the model sees what was tried.
	for i, d := range c.space {
		best[i] = d.entry(d.value(best[i]))
	}
	return c.space.deactivate(best), true
}

// ratio is g(x)/l(x), what is minimised, with l(x). Both are at least 1e-32; which NaN survives the original's max says the order of its
// arguments.
func (m model) ratio(x []float64) (ratio, l float64) {
	const floor = 1e-32
	g, low := m.bad.pdf(x), m.good.pdf(x)
	num, den := floor, low
	if g > floor {
		num = g
	}
	if floor > low {
		den = floor
	}
	return num / den, low
}

// minimize draws vectors around good ones, with wider kernels, and gives the one with the least g/l; nil: none could be judged.
func (m model) minimize(c *sampler) []float64 {
	var best []float64
	least := math.Inf(1)
	for range c.Samples {
		v := m.draw(c)
		val, l := m.ratio(v)
		if (math.IsNaN(val) || math.IsInf(val, 0)) && !math.IsNaN(l) && !math.IsInf(l, 0) {
			// The bad data know one choice only, and this is another one: the original tries it without looking further.
			return v
		}
		if val < least {
			least, best = val, v
		}
	}
	return best
}

// draw varies a good datum.
func (m model) draw(c *sampler) []float64 {
	datum := m.good.data[intN(c.src, len(m.good.data))]
	v := make([]float64, len(datum))
	for j, d := range c.space {
		switch bw := m.good.bw[j]; {
		case d.Kind != Choice:
			v[j] = truncatedNormal(c.src.Float64(), datum[j], c.BandwidthFactor*bw)
		case c.src.Float64() < 1-bw:
			v[j] = datum[j]
		default:
			v[j] = float64(intN(c.src, d.Choices))
		}
	}
	return v
}

// observe takes a loss in and makes the model of its budget anew. A loss that is not finite is the worst; losses on smaller budgets than the
// largest with a model are ignored.
func (c *sampler) observe(v []float64, budget, loss float64) {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		loss = math.Inf(1)
	}
	if c.largest > budget {
		return
	}
	o := c.seen[budget]
	if o == nil {
		o = &observations{}
		c.seen[budget] = o
	}
	o.vectors, o.losses = append(o.vectors, v), append(o.losses, loss)
	if len(o.losses) < c.MinPoints {
		return
	}
	good, bad := c.split(o)
	goodData, badData := c.impute(good), c.impute(bad)
	if d := len(c.space); len(good) <= d || len(bad) <= d {
		return
	}
	c.models[budget] = model{newKDE(goodData, c.discrete, c.MinBandwidth), newKDE(badData, c.discrete, c.MinBandwidth)}
	c.largest = budget
}

// split gives the best vectors, TopPercent of all but at least MinPoints, and those that follow. Among equal losses the earlier one comes
// first; numpy's argsort leaves that open.
func (c *sampler) split(o *observations) (good, bad [][]float64) {
	order := make([]int, len(o.losses))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case o.losses[a] < o.losses[b]:
			return -1
		case o.losses[a] > o.losses[b]:
			return 1
		}
		return 0
	})
	n := len(order)
	goods := min(n, max(c.MinPoints, c.TopPercent*n/100))
	bads := max(c.MinPoints, (100-c.TopPercent)*n/100)
	for i, k := range order[:min(n, goods+bads)] {
		if i < goods {
			good = append(good, o.vectors[k])
		} else {
			bad = append(bad, o.vectors[k])
		}
	}
	return good, bad
}

// impute fills in what is inactive: with all of those entries of another vector that has the first of them, or uniformly where none has it.
func (c *sampler) impute(data [][]float64) [][]float64 {
	missing := func(v []float64) int { return slices.IndexFunc(v, math.IsNaN) }
	out := make([][]float64, len(data))
	for i, row := range data {
		v := slices.Clone(row)
		for j := missing(v); j >= 0; j = missing(v) {
			var donors [][]float64
			for _, other := range data {
				if !math.IsNaN(other[j]) {
					donors = append(donors, other)
				}
			}
			switch {
			case len(donors) > 0:
				donor := donors[intN(c.src, len(donors))]
				for k := range v {
					if math.IsNaN(v[k]) {
						v[k] = donor[k]
					}
				}
			case c.discrete[j]:
				v[j] = float64(intN(c.src, c.space[j].Choices))
			default:
				v[j] = c.src.Float64()
			}
		}
		out[i] = v
	}
	return out
}
