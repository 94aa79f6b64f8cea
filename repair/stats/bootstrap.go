package stats

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// IntervalMethod is how a bootstrap interval is made of the resampled means.
type IntervalMethod int

// The interval methods.
const (
	BCa        IntervalMethod = iota // bias-corrected and accelerated (Efron 1987, "Better bootstrap confidence intervals", eq. 3.9)
	Percentile                       // the quantiles of the resampled means
)

// Interval is a confidence interval of a mean. Method is the one that made it: BCa is not defined where a value is infinite, and
// then it is Percentile.
type Interval struct {
	Low, High float64
	Method    IntervalMethod
}

// BootstrapMean is the confidence interval, of the given level (0.95), of the mean of paired differences d: resamples times n of them are drawn
// with replacement. It depends on the arguments alone and is the same on every machine.
//
// Infinite differences are kept: a resample that holds one has an infinite mean, so the end of the interval is infinite where such
// resamples reach the quantile. With infinities of both signs nothing is known of the mean and the interval is (-Inf, +Inf). NaN is an error.
// Where all differences are equal the interval is that value.
func BootstrapMean(d []float64, level float64, resamples int, seed uint64, method IntervalMethod) (Interval, error) {
	if len(d) == 0 {
		return Interval{}, fmt.Errorf("stats: there are no differences to resample")
	}
	if !(level > 0 && level < 1) || resamples < 1 {
		return Interval{}, fmt.Errorf("stats: a level of %v from %d resamples: the level lies between 0 and 1, resamples are at least 1", level, resamples)
	}
	up, down := false, false
	for i, v := range d {
		if math.IsNaN(v) {
			return Interval{}, fmt.Errorf("stats: difference %d is NaN: take them from Differences", i)
		}
		up, down = up || math.IsInf(v, 1), down || math.IsInf(v, -1)
	}
	if up && down {
		return Interval{math.Inf(-1), math.Inf(1), Percentile}, nil
	}
	if up || down {
		method = Percentile
	}
	if slices.Min(d) == slices.Max(d) {
		return Interval{d[0], d[0], method}, nil
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], "bootstrap")
	random := rand.NewChaCha8(key)
	means := make([]float64, resamples)
	for b := range means {
		sum := 0.0
		for range d {
			// Multiply and shift; the bias of n/2^64 is far below any resampling error.
			i, _ := bits.Mul64(random.Uint64(), uint64(len(d)))
			sum += d[i]
		}
		means[b] = sum / float64(len(d))
	}
	return interval(d, means, level, method), nil
}

// interval makes the interval of the resampled means; d are the finite values that were resampled where the method is BCa.
func interval(d, means []float64, level float64, method IntervalMethod) Interval {
	means = slices.Sorted(slices.Values(means))
	lo, hi := (1-level)/2, 1-(1-level)/2
	if method == BCa {
		// z0 = Φ^-1(share of means below the mean of d), equal ones counted half, as in scipy. Equal means equal up to the rounding
		// of the sums: accuracies lie on a grid, where many resampled means
		// are the mean, and rounding must not decide on which side they count.
		m, below, equal := Mean(d), 0, 0
		tolerance := 1e-12 * max(math.Abs(slices.Min(d)), math.Abs(slices.Max(d)))
		for _, v := range means {
			if v < m-tolerance {
				below++
			} else if v <= m+tolerance {
				equal++
			}
		}
		z0 := normalQuantile((float64(below) + float64(equal)/2) / float64(len(means)))
		a := acceleration(d)
		shift := func(q float64) float64 { // eq. 3.9: Φ(z0 + (z0+z)/(1 - a(z0+z)))
			z := z0 + normalQuantile(q)
			return normalCDF(z0 + z/(1-a*z))
		}
		lo, hi = shift(lo), shift(hi)
		if math.IsNaN(lo) || math.IsNaN(hi) {
			// Every resampled mean lies on one side of the mean: too few resamples for a bias correction.
			return interval(d, means, level, Percentile)
		}
	}
	return Interval{sortedQuantile(means, lo), sortedQuantile(means, hi), method}
}

// acceleration is a = Σu³ / (6·(Σu²)^1.5) with u_i = mean of the jackknife means - the mean without d[i] (Efron 1987, eq. 6.6); for the
// mean, u_i = (d_i - mean)/(n-1), and the factor cancels.
func acceleration(d []float64) float64 {
	m, square, cube := Mean(d), 0.0, 0.0
	for _, v := range d {
		u := v - m
		square += u * u
		cube += u * u * u
	}
	return cube / (6 * math.Pow(square, 1.5))
}

// normalQuantile is Φ^-1.
func normalQuantile(q float64) float64 { return math.Sqrt2 * math.Erfinv(2*q-1) }
