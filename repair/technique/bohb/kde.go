package bohb

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// kde is a multivariate density with a product kernel: statsmodels.nonparametric.KDEMultivariate with bw="normal_reference" and variables of
// types c and u. Nothing is renormalised: the Gaussian loses what lies outside [0, 1], and a bandwidth of choices may exceed 1, so that a
// density can be negative, or infinite where the data show one choice only. The original lives with it, and so does this.
type kde struct {
	data     [][]float64 // observations, a number per variable
	discrete []bool      // per variable: type u
	bw       []float64
	levels   []float64 // of a discrete variable: distinct values in the data
}

// newKDE estimates bandwidths by Scott's rule, for all variables alike: 1.06·σ·n^(−1/(4+d)), σ the population's standard deviation
// (statsmodels, _kernel_base.py, _normal_reference), and at least minBandwidth.
func newKDE(data [][]float64, discrete []bool, minBandwidth float64) *kde {
	k := &kde{data: data, discrete: discrete, bw: make([]float64, len(discrete)), levels: make([]float64, len(discrete))}
	n := float64(len(data))
	for j := range discrete {
		seen := map[float64]bool{}
		mean, square := 0.0, 0.0
		for _, row := range data {
			mean += row[j] / n
			seen[row[j]] = true
		}
		for _, row := range data {
			square += (row[j] - mean) * (row[j] - mean) / n
		}
		k.bw[j] = max(minBandwidth, 1.06*math.Sqrt(square)*math.Pow(n, -1/(4+float64(len(discrete)))))
		k.levels[j] = float64(len(seen))
	}
	return k
}

// pdf is the density at a point (statsmodels, _kernel_base.py, gpke).
func (k *kde) pdf(x []float64) float64 {
	scale := 1.0
	for j, h := range k.bw {
		if !k.discrete[j] {
			scale *= h
		}
	}
	sum := 0.0
	for _, row := range k.data {
		p := 1.0
		for j, h := range k.bw {
			p *= k.kernel(j, row[j], x[j], h)
		}
		sum += p / scale
	}
	return sum / float64(len(k.data))
}

// kernel is the Gaussian, or Aitchison and Aitken's for choices, which counts the choices that the data show (statsmodels, kernels.py).
func (k *kde) kernel(j int, xi, x, h float64) float64 {
	if !k.discrete[j] {
		return math.Exp(-(xi-x)*(xi-x)/(2*h*h)) / math.Sqrt(2*math.Pi)
	}
	if xi == x {
		return 1 - h
	}
	return h / (k.levels[j] - 1)
}

// truncatedNormal is the quantile at u of a normal distribution with mean m, which lies in [0, 1], and standard deviation sd, cut to [0, 1].
// Of the two tails it works with the one that is near, so that no digits are lost.
func truncatedNormal(u, m, sd float64) float64 {
	below := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	a, b := -m/sd, (1-m)/sd
	p := below(a) + u*(below(b)-below(a))
	if p < 0.5 {
		return min(1, max(0, m+sd*mathext.NormalQuantile(p)))
	}
	return min(1, max(0, m-sd*mathext.NormalQuantile(below(-b)+(1-u)*(below(-a)-below(-b)))))
}
