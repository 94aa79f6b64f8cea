package stats

import (
	"fmt"
	"math"
	"slices"
)

// Alternative is what a test looks for against the null hypothesis of no difference.
type Alternative int

// The alternatives.
const (
	TwoSided Alternative = iota
	Greater              // the differences lie above 0; x lies above y
	Less                 // the differences lie below 0; x lies below y
)

// ZeroMethod says what the signed-rank test does with differences of 0.
type ZeroMethod int

// The zero methods.
const (
	DropZeros ZeroMethod = iota // left out before ranking (Wilcoxon 1945; scipy's default "wilcox")
	Pratt                       // ranked with the others, then left out (Pratt 1959; scipy's "pratt")
)

// Method is how a p-value is had.
type Method int

// The methods. Exact is the distribution over all sign changes (all assignments to the two groups) given the ranks at hand, ties included:
// the permutation distribution, not the table for untied ranks. Approximate is the normal distribution with the variance of those ranks.
const (
	Auto Method = iota // Exact up to the limits below
	Exact
	Approximate
)

// Above these sizes Auto takes the normal distribution: there it is within 2 % of the exact p near 0.05 (TestMethodsMeetAtTheLimit).
const (
	maxExactPairs   = 100 // 100 ranks: 10^6 additions
	maxExactSamples = 100 // of both groups together: 100·50·10^4 additions at worst
)

// Result is the outcome of a rank test.
type Result struct {
	Statistic float64 // Wilcoxon: W+, the sum of the ranks of the positive differences; MannWhitney: U of x
	N         int     // differences or samples that were ranked and used
	P         float64
	Exact     bool
}

// Wilcoxon is the signed-rank test of paired differences (Wilcoxon 1945, "Individual comparisons by ranking methods"): W+ = Σ rank(|d|) over
// d > 0, mid-ranks for ties. Infinite differences rank highest, tied with each other; NaN is an error. Without a difference other
// than 0 there is nothing to tell apart: P is 1.
//
// The smallest p-value of n pairs is 2^-n one-sided and 2^(1-n) two-sided: five pairs cannot reach 0.05 two-sided.
// The two-sided p is min(1, 2·min(P(W <= w), P(W >= w))), as in scipy.
func Wilcoxon(d []float64, alternative Alternative, zeros ZeroMethod, method Method) (Result, error) {
	abs := make([]float64, 0, len(d))
	positive := make([]bool, 0, len(d))
	for i, v := range d {
		if math.IsNaN(v) {
			return Result{}, fmt.Errorf("stats: difference %d is NaN: take them from Differences", i)
		}
		if v != 0 || zeros == Pratt {
			abs, positive = append(abs, math.Abs(v)), append(positive, v > 0)
		}
	}
	all := doubledRanks(abs)
	var ranks []int // doubled, so that mid-ranks are integers
	w, total, squares := 0, 0, 0.0
	for i, r := range all {
		if abs[i] == 0 {
			continue
		}
		ranks = append(ranks, r)
		total += r
		squares += float64(r) * float64(r)
		if positive[i] {
			w += r
		}
	}
	out := Result{Statistic: float64(w) / 2, N: len(ranks), P: 1, Exact: true}
	if len(ranks) == 0 {
		return out, nil
	}
	if method == Exact || method == Auto && len(ranks) <= maxExactPairs {
		below, above := tails(signedRankDistribution(ranks, total), w)
		out.P = pValue(below, above, alternative)
		return out, nil
	}
	// Under the null each rank has sign + with probability 1/2: mean Σr/2, variance Σr²/4 (here in doubled ranks). No continuity correction.
	out.Exact = false
	z := (float64(w) - float64(total)/2) / math.Sqrt(squares/4)
	out.P = pValue(normalCDF(z), normalCDF(-z), alternative)
	return out, nil
}

// signedRankDistribution is P(Σ of the ranks with sign + = s) for s = 0..total: one convolution with {1/2 at 0, 1/2 at r} per rank.
func signedRankDistribution(ranks []int, total int) []float64 {
	p := make([]float64, total+1)
	p[0] = 1
	reached := 0
	for _, r := range ranks {
		reached += r
		for s := reached; s >= 0; s-- {
			v := p[s]
			if s >= r {
				v += p[s-r]
			}
			p[s] = v / 2
		}
	}
	return p
}

// tails are P(S <= at) and P(S >= at), each summed from its far end, where the terms are small.
func tails(p []float64, at int) (below, above float64) {
	for s := 0; s <= at; s++ {
		below += p[s]
	}
	for s := len(p) - 1; s >= at; s-- {
		above += p[s]
	}
	return below, above
}

func pValue(below, above float64, alternative Alternative) float64 {
	switch alternative {
	case Greater:
		return min(1, above)
	case Less:
		return min(1, below)
	}
	return min(1, 2*min(below, above))
}

func normalCDF(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// doubledRanks are twice the mid-ranks of x (1-based, ties share the mean of their ranks): always integers.
func doubledRanks(x []float64) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	ranks := make([]int, len(x))
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // first rank + last rank
		}
		from = to
	}
	return ranks
}

// MannWhitney is the rank-sum test of two independent samples (Mann and Whitney 1947): U = #(x > y) + #(x = y)/2, after Clean; Greater
// looks for larger x whatever the direction. The approximation corrects the variance for ties and U for continuity by 1/2, as scipy does.
func MannWhitney(x, y []float64, better Direction, alternative Alternative, method Method) (Result, error) {
	if err := better.check(); err != nil {
		return Result{}, err
	}
	if len(x) == 0 || len(y) == 0 {
		return Result{}, fmt.Errorf("stats: %d and %d runs: both groups need some", len(x), len(y))
	}
	nx, ny, n := len(x), len(y), len(x)+len(y)
	ranks := doubledRanks(append(better.Clean(x), better.Clean(y)...))
	sum := 0
	for _, r := range ranks[:nx] {
		sum += r
	}
	least := nx * (nx + 1) // doubled rank sum of x where all of x lie below y
	out := Result{Statistic: float64(sum-least) / 2, N: n, Exact: true}
	if method == Exact || method == Auto && n <= maxExactSamples {
		below, above := tails(rankSumDistribution(ranks, nx), sum)
		out.P = pValue(below, above, alternative)
		return out, nil
	}
	out.Exact = false
	// Sampling nx of n ranks without replacement: variance nx·ny/n · S², S² the ranks' variance with ddof 1.
	variance := 0.0
	for _, r := range ranks {
		d := float64(r)/2 - float64(n+1)/2
		variance += d * d
	}
	variance *= float64(nx) * float64(ny) / (float64(n) * float64(n-1))
	if out.P = 1; variance == 0 {
		return out, nil // all values are equal
	}
	d, sd := out.Statistic-float64(nx)*float64(ny)/2, math.Sqrt(variance)
	out.P = pValue(normalCDF((d+0.5)/sd), normalCDF(-(d-0.5)/sd), alternative)
	return out, nil
}

// rankSumDistribution is P(Σ of the ranks of a random subset of k = s): counts of subsets by size and sum, divided by all subsets of k.
func rankSumDistribution(ranks []int, k int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	// p[j][s]: the probability that, of the ranks so far, j are in the subset and sum to s. Rank i+1 of n is taken with probability
	// (k-j)/(n-i), which keeps the numbers in 0..1 where binomials would overflow.
	p := make([][]float64, k+1)
	for j := range p {
		p[j] = make([]float64, total+1)
	}
	p[0][0] = 1
	reached := 0
	for i, r := range ranks {
		reached += r
		left := float64(len(ranks) - i)
		for j := min(k, i+1); j >= 0; j-- {
			stay := max(0, 1-float64(k-j)/left)
			for s := reached; s >= 0; s-- {
				v := p[j][s] * stay
				if j > 0 && s >= r {
					v += p[j-1][s-r] * float64(k-j+1) / left
				}
				p[j][s] = v
			}
		}
	}
	return p[k]
}
