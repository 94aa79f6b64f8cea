package hebo

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Settings of the optimiser of acquisition functions: pymoo 0.6.0's NSGA2 with MixedVariableMating, as acq_optimizers/evolution_optimizer.py
// calls it. Files in comments are of pymoo/.
const (
	nsgaPopulation  = 100
	nsgaGenerations = 100 // the initial population is the first
	nsgaTries       = 100 // at filling a generation with new points (core/infill.py)
	crossoverProb   = 0.9 // of a mating, drawn for every group of variables (core/crossover.py)
	sbxEta          = 15  // operators/crossover/sbx.py
	sbxVariable     = 0.5 // probability that a variable takes part
	sbxExchange     = 0.5 // that a mating exchanges variables
	sbxBinomial     = 0.5 // that it exchanges one of them
	sbxTooClose     = 1e-14
	mutationProb    = 0.9 // of an individual, numbers only (operators/mutation/pm.py)
	mutationEta     = 20
	mutationMost    = 0.5 // of a variable: min(0.5, 1/variables of the group) (core/mutation.py, get_prob_var)
	sameObjectives  = 1e-32
)

// individual is a point with its objectives.
type individual struct {
	x        []float64 // transformed
	f        objectives
	rank     int
	crowding float64
}

// pareto minimises objectives over the space by NSGA-II (Deb et al. 2002) and gives the points that none of the last population dominates.
// The initial population is first, then points drawn uniformly.
func pareto(s *space, first []float64, eval func([]float64) objectives, rng *rand.Rand) [][]float64 {
	var pop []individual
	for i := range nsgaPopulation {
		x := first
		if i > 0 || first == nil {
			x = s.uniform(rng)
		}
		pop = append(pop, individual{x: x})
	}
	pop = distinct(pop, nil, nil)
	for i := range pop {
		pop[i].f = eval(pop[i].x)
	}
	pop = survive(pop, len(pop), rng)
	for range nsgaGenerations - 1 {
		off := offspring(s, pop, rng)
		if len(off) == 0 {
			break
		}
		for i := range off {
			off[i].f = eval(off[i].x)
		}
		pop = survive(append(pop, off...), nsgaPopulation, rng)
	}
	var out [][]float64
	for _, p := range pop {
		if p.rank == 0 {
			out = append(out, p.x)
		}
	}
	return out
}

// distinct leaves out what is in one of the others, and of equal points all but the last (core/duplicate.py, ElementwiseDuplicateElimination).
func distinct(all []individual, others ...[]individual) []individual {
	same := func(a individual) func(individual) bool {
		return func(b individual) bool { return slices.Equal(a.x, b.x) }
	}
	var out []individual
	for i, p := range all {
		taken := slices.ContainsFunc(all[i+1:], same(p))
		for _, o := range others {
			taken = taken || slices.ContainsFunc(o, same(p))
		}
		if !taken {
			out = append(out, p)
		}
	}
	return out
}

// offspring is a generation of new points, or as many as nsgaTries matings find (core/infill.py, do).
func offspring(s *space, pop []individual, rng *rand.Rand) []individual {
	var off []individual
	for range nsgaTries {
		children := distinct(mate(s, pop, nsgaPopulation-len(off), rng), pop, off)
		off = append(off, children[:min(len(children), nsgaPopulation-len(off))]...)
		if len(off) == nsgaPopulation {
			break
		}
	}
	return off
}

// mate makes n children of random pairs: real, integer and every categorical variable recombined and mutated for themselves (core/mixed.py,
// MixedVariableMating._do). The first children of all pairs come before the second ones.
func mate(s *space, pop []individual, n int, rng *rand.Rand) []individual {
	pairs := (n + 1) / 2
	var parents []int // random permutations, one after the other (operators/selection/rnd.py)
	for len(parents) < 2*pairs {
		parents = append(parents, rng.Perm(len(pop))...)
	}
	children := make([]individual, 2*pairs)
	for i := range pairs {
		children[i].x, children[pairs+i].x = slices.Clone(pop[parents[2*i]].x), slices.Clone(pop[parents[2*i+1]].x)
	}
	var reals, integers []int
	for i, p := range s.params[:s.numeric] {
		if p.Kind == Integer {
			integers = append(integers, i)
		} else {
			reals = append(reals, i)
		}
	}
	for _, group := range [][]int{reals, integers} {
		if len(group) == 0 {
			continue
		}
		for i := range pairs {
			if rng.Float64() < crossoverProb {
				simulatedBinary(s, group, children[i].x, children[pairs+i].x, rng)
			}
		}
		for i := range children {
			if rng.Float64() <= mutationProb {
				polynomial(s, group, children[i].x, rng)
			}
		}
	}
	for k := s.numeric; k < len(s.params); k++ {
		for i := range pairs { // operators/crossover/ux.py: uniform crossover of one variable
			if rng.Float64() < crossoverProb && rng.Float64() < 0.5 {
				children[i].x[k], children[pairs+i].x[k] = children[pairs+i].x[k], children[i].x[k]
			}
		}
		for i := range children { // operators/mutation/rm.py: of the one variable of its group
			if rng.Float64() < mutationMost {
				children[i].x[k] = sampleUniform(s.params[k], s.lower[k], s.upper[k], rng)
			}
		}
	}
	return children[:n]
}

// simulatedBinary recombines the variables of a group in two points (Deb and Agrawal 1995; operators/crossover/sbx.py, cross_sbx). Integers are
// rounded.
func simulatedBinary(s *space, group []int, x, y []float64, rng *rand.Rand) {
	exchange := sbxBinomial
	if rng.Float64() > sbxExchange {
		exchange = 0
	}
	for _, k := range group {
		takes := rng.Float64() < sbxVariable
		low, high := s.lower[k], s.upper[k]
		if !takes || math.Abs(x[k]-y[k]) <= sbxTooClose || low == high {
			continue
		}
		y1, y2 := min(x[k], y[k]), max(x[k], y[k])
		delta, u := y2-y1, rng.Float64()
		spread := func(room float64) float64 {
			alpha := 2 - math.Pow(1+2*room/delta, -(sbxEta+1))
			if u <= 1/alpha {
				return math.Pow(u*alpha, 1./(sbxEta+1))
			}
			return math.Pow(1/(2-u*alpha), 1./(sbxEta+1))
		}
		c1 := 0.5 * (y1 + y2 - spread(y1-low)*delta)
		c2 := 0.5 * (y1 + y2 + spread(high-y2)*delta)
		if rng.Float64() < exchange {
			c1, c2 = c2, c1
		}
		x[k], y[k] = clamp(s, k, c1), clamp(s, k, c2)
	}
}

// polynomial mutates the variables of a group (Deb and Goyal 1996; operators/mutation/pm.py, mut_pm). Integers are rounded.
func polynomial(s *space, group []int, x []float64, rng *rand.Rand) {
	p := min(mutationMost, 1/float64(len(group)))
	for _, k := range group {
		low, high := s.lower[k], s.upper[k]
		if !(rng.Float64() < p) || low == high {
			continue
		}
		u, span := rng.Float64(), high-low
		var step float64
		if u <= 0.5 {
			rest := 1 - (x[k]-low)/span
			step = math.Pow(2*u+(1-2*u)*math.Pow(rest, mutationEta+1), 1./(mutationEta+1)) - 1
		} else {
			rest := 1 - (high-x[k])/span
			step = 1 - math.Pow(2*(1-u)+2*(u-0.5)*math.Pow(rest, mutationEta+1), 1./(mutationEta+1))
		}
		x[k] = clamp(s, k, x[k]+step*span)
	}
}

func clamp(s *space, k int, v float64) float64 {
	v = min(s.upper[k], max(s.lower[k], v))
	if s.params[k].discrete() {
		return math.RoundToEven(v)
	}
	return v
}

// survive keeps the n best: by rank, and in the rank that does not fit wholly by crowding distance, ties at random (algorithms/moo/nsga2.py,
// RankAndCrowdingSurvival).
func survive(pop []individual, n int, rng *rand.Rand) []individual {
	var out []individual
	for rank, front := range fronts(pop, n) {
		crowding := crowdingDistance(pop, front)
		for i, p := range front {
			pop[p].rank, pop[p].crowding = rank, crowding[i]
		}
		if len(out)+len(front) > n {
			rng.Shuffle(len(front), func(i, j int) { front[i], front[j] = front[j], front[i] })
			slices.SortStableFunc(front, func(a, b int) int { return compareFloats(pop[b].crowding, pop[a].crowding) })
			front = front[:n-len(out)]
		}
		for _, p := range front {
			out = append(out, pop[p])
		}
	}
	return out
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// dominates says whether a is as good as b in all objectives and better in one.
func dominates(a, b objectives) bool {
	better := false
	for k := range a {
		if a[k] > b[k] {
			return false
		}
		better = better || a[k] < b[k]
	}
	return better
}

// fronts are the ranks of non-domination, as many as hold n points.
func fronts(pop []individual, n int) [][]int {
	beats := make([][]int, len(pop))
	beaten := make([]int, len(pop))
	var current []int
	for i := range pop {
		for j := i + 1; j < len(pop); j++ {
			if dominates(pop[i].f, pop[j].f) {
				beats[i] = append(beats[i], j)
				beaten[j]++
			} else if dominates(pop[j].f, pop[i].f) {
				beats[j] = append(beats[j], i)
				beaten[i]++
			}
		}
	}
	for i, b := range beaten {
		if b == 0 {
			current = append(current, i)
		}
	}
	var out [][]int
	for ranked := 0; len(current) > 0 && ranked < n; {
		out = append(out, current)
		ranked += len(current)
		var next []int
		for _, i := range current {
			for _, j := range beats[i] {
				if beaten[j]--; beaten[j] == 0 {
					next = append(next, j)
				}
			}
		}
		current = next
	}
	return out
}

// crowdingDistance is the mean over the objectives of the distances to both neighbours, normalised; infinite at the ends, zero for points whose
// objectives an earlier one has (algorithms/moo/nsga2.py, calc_crowding_distance).
func crowdingDistance(pop []individual, front []int) []float64 {
	out := make([]float64, len(front))
	if len(front) <= 2 {
		for i := range out {
			out[i] = math.Inf(1)
		}
		return out
	}
	var unique []int // positions in front
	for i, p := range front {
		if !slices.ContainsFunc(front[:i], func(q int) bool { return gap(pop[p].f, pop[q].f) <= sameObjectives }) {
			unique = append(unique, i)
		}
	}
	for k := range (objectives{}) {
		order := slices.Clone(unique)
		at := func(i int) float64 { return pop[front[order[i]]].f[k] }
		slices.SortStableFunc(order, func(a, b int) int { return compareFloats(pop[front[a]].f[k], pop[front[b]].f[k]) })
		last := len(order) - 1
		span := at(last) - at(0)
		if span == 0 || math.IsNaN(span) {
			continue
		}
		for i, u := range order {
			if i == 0 || i == last {
				out[u] = math.Inf(1)
			} else {
				out[u] += (at(i+1) - at(i-1)) / span / float64(len(objectives{}))
			}
		}
	}
	return out
}

func gap(a, b objectives) float64 {
	sum := 0.0
	for k := range a {
		sum += (a[k] - b[k]) * (a[k] - b[k])
	}
	return math.Sqrt(sum)
}
