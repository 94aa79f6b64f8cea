package hebo

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
)

// Surrogate is a regression model of the objective.
type Surrogate int

// The surrogates.
const (
	// Warped is the paper's: the sum of a linear and a Matérn-3/2 kernel with a lengthscale per dimension, on one-hot categories, each input
	// warped by Kumaraswamy's distribution; maximum a posteriori by L-BFGS with restarts (models/gp/gpy_wgp.py, the model named "gpy").
	Warped Surrogate = iota
	// Plain is a Matérn-3/2 kernel with a lengthscale per number, times one on learned embeddings of the categories; trained by preconditioned
	// stochastic gradient Langevin dynamics (models/gp/gp.py, the model named "gp").
	Plain
)

// model is a fitted surrogate. Points are transformed coordinates in the order of the space: numbers, then categories.
type model interface {
	// predict gives mean and variance, in the units of what it was fitted to.
	predict(x []float64) (mean, variance float64)
	// noise is the variance of the observations' noise, in the same units.
	noise() float64
}

// minVariance is the least variance that is predicted: the machine epsilon of float32, to which both models clamp (predict).
const minVariance = 1.1920928955078125e-07

// logTwoPi is ln 2π.
const logTwoPi = 1.8378770664093454836

// scaler maps numeric columns to [-1, 1] (models/scalers.py, TorchMinMaxScaler; sklearn.preprocessing.MinMaxScaler).
type scaler struct{ scale, offset []float64 }

// newScaler spans the first columns of rows. A constant column is mapped to -1.
func newScaler(columns int, rows ...[]float64) scaler {
	s := scaler{make([]float64, columns), make([]float64, columns)}
	for k := range columns {
		low, high := math.Inf(1), math.Inf(-1)
		for _, r := range rows {
			low, high = min(low, r[k]), max(high, r[k])
		}
		span := high - low
		if span < 10*2.220446049250313e-16 { // sklearn.preprocessing._data._handle_zeros_in_scale
			span = 1
		}
		s.scale[k] = 2 / span
		s.offset[k] = -1 - low*s.scale[k]
	}
	return s
}

func (s scaler) apply(x []float64) []float64 {
	out := make([]float64, len(s.scale))
	for k := range out {
		out[k] = s.scale[k]*x[k] + s.offset[k]
	}
	return out
}

// gram is a factorised covariance matrix of n observations.
type gram struct {
	n     int
	chol  mat.Cholesky
	lower []float64 // n×n, row-major: the factor
	alpha []float64 // inverse covariance times observations
}

// factorise takes a covariance matrix with the noise on its diagonal. Where it is not positive definite, a share of the mean of its diagonal is
// added, from first on times ten, tries times; false: it never was.
func (g *gram) factorise(k *mat.SymDense, y []float64, first float64, tries int) bool {
	g.n = len(y)
	if g.chol.Factorize(k) {
		return g.solve(y)
	}
	mean := mat.Trace(k) / float64(g.n)
	if math.IsNaN(mean) || math.IsInf(mean, 0) {
		return false
	}
	jittered := mat.NewSymDense(g.n, nil)
	for jitter := first * mean; tries > 0; jitter, tries = jitter*10, tries-1 {
		jittered.CopySym(k)
		for i := range g.n {
			jittered.SetSym(i, i, k.At(i, i)+jitter)
		}
		if g.chol.Factorize(jittered) {
			return g.solve(y)
		}
	}
	return false
}

func (g *gram) solve(y []float64) bool {
	var l mat.TriDense
	g.chol.LTo(&l)
	raw := l.RawTriangular()
	if cap(g.lower) < g.n*g.n {
		g.lower = make([]float64, g.n*g.n)
	}
	g.lower = g.lower[:g.n*g.n]
	for i := range g.n {
		copy(g.lower[i*g.n:i*g.n+i+1], raw.Data[i*raw.Stride:i*raw.Stride+i+1])
	}
	var alpha mat.VecDense
	if err := g.chol.SolveVecTo(&alpha, mat.NewVecDense(g.n, y)); err != nil {
		if _, ill := err.(mat.Condition); !ill { // an ill-conditioned solution is what there is
			return false
		}
	}
	g.alpha = alpha.RawVector().Data
	return true
}

// logMarginal is the logarithm of the marginal likelihood of the observations (Rasmussen and Williams 2006, equation 2.30).
func (g *gram) logMarginal(y []float64) float64 {
	fit := 0.0
	for i, v := range y {
		fit += v * g.alpha[i]
	}
	return -0.5 * (float64(g.n)*logTwoPi + g.chol.LogDet() + fit)
}

// gradient is the derivative of the log marginal likelihood by the covariance matrix: (αα' − K⁻¹)/2 (equation 5.9), n×n.
func (g *gram) gradient() []float64 {
	inverse := mat.NewSymDense(g.n, nil)
	if err := g.chol.InverseTo(inverse); err != nil {
		if _, ill := err.(mat.Condition); !ill {
			return make([]float64, g.n*g.n)
		}
	}
	out := make([]float64, g.n*g.n)
	for i := range g.n {
		for j := range g.n {
			out[i*g.n+j] = 0.5 * (g.alpha[i]*g.alpha[j] - inverse.At(i, j))
		}
	}
	return out
}

// posterior gives the mean at a point with covariances k to the observations, and by how much they reduce its variance. It overwrites k.
func (g *gram) posterior(k []float64) (mean, reduction float64) {
	for i, a := range g.alpha {
		mean += a * k[i]
	}
	for i := range k {
		row := g.lower[i*g.n : i*g.n+i]
		v := k[i]
		for j, l := range row {
			v -= l * k[j]
		}
		v /= g.lower[i*g.n+i]
		k[i] = v
		reduction += v * v
	}
	return mean, reduction
}

// softplus is ln(1 + eˣ), linear from 36 on (paramz/transformations.py, Logexp).
func softplus(x float64) float64 {
	if x > 36 {
		return x
	}
	return math.Log1p(math.Exp(x))
}

// inverseSoftplus is the x of softplus(x).
func inverseSoftplus(v float64) float64 {
	if v > 36 {
		return v
	}
	return math.Log(math.Expm1(v))
}

// softplusSlope is the derivative of softplus at the point where it is v.
func softplusSlope(v float64) float64 {
	if v > 36 {
		return 1
	}
	return -math.Expm1(-v)
}

// fit fits a surrogate to transformed points and values.
func fit(kind Surrogate, s *space, x [][]float64, y []float64, rng *rand.Rand) (model, error) {
	if kind == Plain {
		return fitPlain(s, x, y, rng)
	}
	return fitWarped(s, x, y, rng)
}
