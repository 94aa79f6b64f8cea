package hebo

import (
	"math"
	"math/rand/v2"
)

// objectives are the three that MACE minimises: the lower confidence bound, and the negative logarithms of the expected improvement and of the
// probability of improvement.
type objectives [3]float64

// Settings of MACE (acquisitions/acq.py, MACE; optimizers/hebo.py, suggest).
const (
	maceEpsilon = 1e-4
	maceLimit   = -6 // standardised improvements from here down are approximated
	kappaUpsi   = 0.5
	kappaDelta  = 0.01
	minSigma    = 1.1920928955078125e-07 // torch.finfo(torch.float32).eps
)

// kappa weights the standard deviation in the lower confidence bound after some observations, for batches of a size: √(2υ((2 + d/2) ln t +
// ln(3π²/(3δ)))) with t = max(1, observations/batch), Srinivas et al. 2010, theorem 2, as suggest writes it.
func kappa(observations, batch, dimensions int) float64 {
	t := float64(max(1, observations/batch))
	return math.Sqrt(kappaUpsi * 2 * ((2+float64(dimensions)/2)*math.Log(t) + math.Log(3*math.Pi*math.Pi/(3*kappaDelta))))
}

// mace is the ensemble of acquisition functions of Lyu et al. 2018, on means that are disturbed by √2 times the noise, anew for the bound and for
// the improvements.
type mace struct {
	model model
	tau   float64 // the model's mean at the best observation
	kappa float64
}

func (a mace) eval(x []float64, rng *rand.Rand) objectives {
	mean, variance := a.model.predict(x)
	return a.at(mean, variance, rng.NormFloat64(), rng.NormFloat64())
}

// at evaluates the three for a predictive distribution and two draws of a standard normal.
func (a mace) at(mean, variance, first, second float64) objectives {
	noise := math.Sqrt2 * math.Sqrt(a.model.noise())
	sigma := max(minSigma, math.Sqrt(variance))
	z := (a.tau - maceEpsilon - mean - noise*second) / sigma
	density := math.Exp(-0.5*z*z) / math.Sqrt(2*math.Pi)
	probability := 0.5 * math.Erfc(-z/math.Sqrt2)
	logEI, logPI := math.Log(sigma*(probability*z+density)), math.Log(probability)
	if !(z > maceLimit) || math.IsNaN(logEI) || math.IsInf(logEI, 0) || math.IsInf(logPI, 0) {
		logEI = math.Log(sigma) - 0.5*z*z - math.Log(z*z-1)
		logPI = -0.5*z*z - math.Log(-z) - 0.5*logTwoPi
	}
	return objectives{mean + noise*first - a.kappa*sigma, -logEI, -logPI}
}
