package hebo

import (
	"errors"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// Settings of the warped surrogate (models/gp/gpy_wgp.py, fit) and of what it takes from GPy and paramz.
const (
	warpedRestarts    = 10
	warpedEvaluations = 200 // of the objective per restart: optimize(max_iters = 200) of paramz bounds these too
	warpedHistory     = 10  // scipy.optimize.fmin_l_bfgs_b: m
	warpedGradient    = 1e-5
	warpedDecrease    = 1e7 * 2.220446049250313e-16 // factr times epsilon: relative
	warpEpsilon       = 1e-6                        // GPy/util/input_warping_functions.py, KumarWarping: inputs are kept this far inside their range
	warpSigma         = 0.75                        // of the prior of ln a and ln b, of mean zero
	noiseMu           = -4.63                       // of ln noise
	noiseSigma        = 0.5
	varianceShape     = 0.5 // Gamma prior of the Matérn variance: shape and rate
	varianceRate      = 1
	diagonalJitter    = 1e-8 // GPy's exact inference adds it to the noise
	minLengthscale    = 0.02
)

// warped is the surrogate [Warped]. Columns are the numbers in [-1, 1] and then one per choice of every category, 0 or 1. Its parameters, all
// positive, are the variance of the linear kernel, that of the Matérn kernel, the variance of the noise, then lengthscale, a and b per column.
//
// A one-hot column has two values only, so that covariances come from a table per category: two points of different choices c and d are
// q(c) + q(d) apart, where q is the squared difference of a column's two warped values over its squared lengthscale.
type warped struct {
	scaler       scaler
	numbers      [][]float64 // n×numeric, scaled
	choices      [][]int     // n×categories
	first        []int       // column of the first choice of each category
	numeric      int
	columns      int
	y            []float64
	mean, std    float64
	theta        []float64 // parameters
	low, high    []columnValue
	inputs       [][]columnValue // n×numeric
	gram         gram
	weight       []float64 // q
	zeros, extra []float64
}

// columnValue is a warped value with its derivatives by a and b.
type columnValue struct{ w, da, db float64 }

const (
	linearVariance = iota
	maternVariance
	noiseVariance
	firstColumn
)

func (m *warped) lengthscale(c int) int { return firstColumn + c }
func (m *warped) warpA(c int) int       { return firstColumn + m.columns + c }
func (m *warped) warpB(c int) int       { return firstColumn + 2*m.columns + c }

// kumaraswamy warps u in (0, 1): 1 − (1 − uᵃ)ᵇ, the distribution function of Kumaraswamy 1980.
func kumaraswamy(u, a, b float64) columnValue {
	ua := math.Pow(u, a)
	rest := 1 - ua
	if rest <= 0 { // uᵃ has rounded to one
		return columnValue{w: 1}
	}
	power := math.Pow(rest, b)
	return columnValue{w: 1 - power, da: b * power / rest * ua * math.Log(u), db: -power * math.Log(rest)}
}

// unit takes a column's value to (0, 1); low is the lower end of its range, the upper one is 1.
func unit(v, low float64) float64 { return (v - low + warpEpsilon) / (1 - low + 2*warpEpsilon) }

func newWarped(s *space, x [][]float64, y []float64) *warped {
	m := &warped{scaler: newScaler(s.numeric, append([][]float64{s.lower, s.upper}, x...)...), numeric: s.numeric, columns: s.numeric}
	for _, n := range s.sizes() {
		m.first = append(m.first, m.columns)
		m.columns += n
	}
	for _, p := range x {
		m.numbers = append(m.numbers, m.scaler.apply(p))
		m.choices = append(m.choices, choicesOf(p[s.numeric:]))
	}
	m.y = append([]float64(nil), y...)
	m.mean, m.std = standardise(m.y)
	m.theta = make([]float64, firstColumn+3*m.columns)
	m.inputs = make([][]columnValue, len(x))
	for i := range m.inputs {
		m.inputs[i] = make([]columnValue, m.numeric)
	}
	m.low, m.high = make([]columnValue, m.columns), make([]columnValue, m.columns)
	m.weight, m.zeros, m.extra = make([]float64, m.columns), make([]float64, m.columns), make([]float64, m.columns)
	return m
}

func choicesOf(x []float64) []int {
	out := make([]int, len(x))
	for i, v := range x {
		out[i] = int(v)
	}
	return out
}

// initial are the parameters that the first of the restarts begins with.
func (m *warped) initial() []float64 {
	theta := make([]float64, len(m.theta))
	theta[linearVariance], theta[maternVariance], theta[noiseVariance] = 1, 0.5, 1
	n := float64(len(m.y))
	for c := range m.columns {
		theta[m.warpA(c)], theta[m.warpB(c)] = 1, 1
		sum, squares := 0.0, 0.0
		for i := range m.y {
			v := m.column(i, c)
			sum += v
			squares += v * v
		}
		theta[m.lengthscale(c)] = max(minLengthscale, math.Sqrt(max(0, squares/n-sum/n*sum/n)))
	}
	return theta
}

// column is the unwarped value of a column.
func (m *warped) column(i, c int) float64 {
	if c < m.numeric {
		return m.numbers[i][c]
	}
	for k, first := range m.first {
		if m.choices[i][k]+first == c {
			return 1
		}
	}
	return 0
}

// random are the parameters that the other restarts begin with: from the priors where there is one, else softplus of a standard normal (GPy/core,
// randomize).
func (m *warped) random(rng *rand.Rand) []float64 {
	theta := make([]float64, len(m.theta))
	theta[linearVariance] = softplus(rng.NormFloat64())
	half := rng.NormFloat64() // Gamma(1/2, rate 1) is half of a squared normal
	theta[maternVariance] = max(1e-300, half*half/2)
	theta[noiseVariance] = math.Exp(noiseMu + noiseSigma*rng.NormFloat64())
	for c := range m.columns {
		theta[m.lengthscale(c)] = softplus(rng.NormFloat64())
		theta[m.warpA(c)] = math.Exp(warpSigma * rng.NormFloat64())
		theta[m.warpB(c)] = math.Exp(warpSigma * rng.NormFloat64())
	}
	return theta
}

// set takes parameters in and prepares the tables of covariances.
func (m *warped) set(theta []float64) {
	copy(m.theta, theta)
	for c := range m.columns {
		a, b, l := theta[m.warpA(c)], theta[m.warpB(c)], theta[m.lengthscale(c)]
		if c < m.numeric {
			for i := range m.inputs {
				m.inputs[i][c] = kumaraswamy(unit(m.numbers[i][c], -1), a, b)
			}
			continue
		}
		m.low[c], m.high[c] = kumaraswamy(unit(0, 0), a, b), kumaraswamy(unit(1, 0), a, b)
		d := m.high[c].w - m.low[c].w
		m.weight[c] = d * d / (l * l)
		m.zeros[c] = m.low[c].w * m.low[c].w
		m.extra[c] = m.low[c].w * d
	}
}

// pair gives the squared scaled distance and the inner product of two points.
func (m *warped) pair(x, y []columnValue, c, d []int, base float64) (r2, inner float64) {
	inner = base
	for k := range x {
		z, l := x[k].w-y[k].w, m.theta[firstColumn+k]
		r2 += z * z / (l * l)
		inner += x[k].w * y[k].w
	}
	for k, first := range m.first {
		p, q := first+c[k], first+d[k]
		if p == q {
			inner += m.high[p].w*m.high[p].w - m.zeros[p]
			continue
		}
		r2 += m.weight[p] + m.weight[q]
		inner += m.extra[p] + m.extra[q]
	}
	return r2, inner
}

// base is the inner product that points have from columns that are zero.
func (m *warped) base() float64 {
	sum := 0.0
	for _, z := range m.zeros[m.numeric:] {
		sum += z
	}
	return sum
}

// covariance fills the kernel matrix, noise on its diagonal included, and keeps what its derivatives need: the linear part and e^{−√3·r}, n×n.
func (m *warped) covariance(k *mat.SymDense, linear, decay []float64) {
	n, base := len(m.y), m.base()
	vl, vm := m.theta[linearVariance], m.theta[maternVariance]
	for i := range n {
		for j := i; j < n; j++ {
			r2, inner := m.pair(m.inputs[i], m.inputs[j], m.choices[i], m.choices[j], base)
			r := math.Sqrt(3 * r2)
			e := math.Exp(-r)
			linear[i*n+j], decay[i*n+j] = inner, e
			v := vl*inner + vm*(1+r)*e
			if i == j {
				v += m.theta[noiseVariance] + diagonalJitter
			}
			k.SetSym(i, j, v)
		}
	}
}

// errCovariance says that a covariance matrix cannot be factorised.
var errCovariance = errors.New("hebo: the covariance matrix is not positive definite")

// jitterTries are those of GPy's jitchol (GPy/util/linalg.py), which begins at 1e-6 of the mean of the diagonal.
const jitterTries = 5

// objective is the negative logarithm of the posterior density of the parameters, up to a constant, and its gradient, by the parameters' inverse
// softplus. The density is that of the parameters' inverse softplus where they have a prior (GPy/core/parameterization/priorizable.py, log_prior).
func (m *warped) objective(theta, grad []float64) (float64, error) {
	m.set(theta)
	n := len(m.y)
	k := mat.NewSymDense(n, nil)
	linear, decay := make([]float64, n*n), make([]float64, n*n)
	m.covariance(k, linear, decay)
	if !m.gram.factorise(k, m.y, 1e-6, jitterTries) {
		return 0, errCovariance
	}
	value := m.gram.logMarginal(m.y)
	clear(grad)
	m.likelihoodGradient(m.gram.gradient(), linear, decay, grad)
	prior := func(i int, density, slope float64) {
		v := theta[i]
		if v <= 36 {
			density += math.Log(-math.Expm1(-v)) // of the transformation: its derivative
		}
		value += density
		grad[i] += slope + 1/math.Expm1(v)
	}
	logNormal := func(i int, mu, sigma float64) {
		z := (math.Log(theta[i]) - mu) / sigma
		prior(i, -0.5*logTwoPi-math.Log(sigma)-0.5*z*z-math.Log(theta[i]), -(z/sigma+1)/theta[i])
	}
	v := theta[maternVariance]
	prior(maternVariance, -0.5*math.Log(math.Pi)+(varianceShape-1)*math.Log(v)-varianceRate*v, (varianceShape-1)/v-varianceRate) // Γ(1/2) is √π
	logNormal(noiseVariance, noiseMu, noiseSigma)
	for c := range m.columns {
		logNormal(m.warpA(c), 0, warpSigma)
		logNormal(m.warpB(c), 0, warpSigma)
	}
	for i := range grad {
		grad[i] *= -softplusSlope(theta[i])
	}
	return -value, nil
}

// likelihoodGradient adds the derivatives of the log marginal likelihood by the parameters; g is that by the covariance matrix.
func (m *warped) likelihoodGradient(g, linear, decay, grad []float64) {
	n := len(m.y)
	vl, vm := m.theta[linearVariance], m.theta[maternVariance]
	numbers := make([][]float64, n) // by warped inputs
	rows := make([]float64, n)      // row sums of g
	for i := range n {
		numbers[i] = make([]float64, m.numeric)
	}
	total := 0.0
	within := make([]float64, m.columns) // sums of g over pairs of one choice
	weights := make([]float64, m.columns)
	for i := range n {
		for j := i; j < n; j++ {
			gij, e := g[i*n+j], decay[i*n+j]
			times := 2.0
			if i == j {
				times = 1
				grad[noiseVariance] += gij
			}
			grad[linearVariance] += times * gij * linear[i*n+j]
			matern := (1 - math.Log(e)) * e // 1 + √3·r times its decay
			if e == 0 {
				matern = 0
			}
			grad[maternVariance] += times * gij * matern
			h := times * gij * -1.5 * vm * e // by the squared scaled distance
			rows[i] += gij
			if i != j {
				rows[j] += gij
			}
			total += times * gij
			for k := range m.numeric {
				xi, xj, l := m.inputs[i][k].w, m.inputs[j][k].w, m.theta[firstColumn+k]
				z := xi - xj
				grad[firstColumn+k] += h * -2 * z * z / (l * l * l)
				slope := h * 2 * z / (l * l)
				numbers[i][k] += slope + times*gij*vl*xj
				numbers[j][k] += -slope + times*gij*vl*xi
			}
			for k, first := range m.first {
				p, q := first+m.choices[i][k], first+m.choices[j][k]
				if p == q {
					within[p] += times * gij
				} else {
					weights[p] += h
					weights[q] += h
				}
			}
		}
	}
	for i := range n {
		for k, d := range numbers[i] {
			grad[m.warpA(k)] += d * m.inputs[i][k].da
			grad[m.warpB(k)] += d * m.inputs[i][k].db
		}
	}
	ofChoice := make([]float64, m.columns) // row sums of the rows of one choice
	for i := range n {
		for k, first := range m.first {
			ofChoice[first+m.choices[i][k]] += rows[i]
		}
	}
	for c := m.numeric; c < m.columns; c++ {
		a, b := within[c], ofChoice[c]
		w0, w1, l := m.low[c].w, m.high[c].w, m.theta[m.lengthscale(c)]
		d0 := 2 * vl * (w0*(total-b-(b-a)) + w1*(b-a))
		d1 := 2 * vl * (w0*(b-a) + w1*a)
		step := weights[c] * 2 * (w1 - w0) / (l * l)
		d0, d1 = d0-step, d1+step
		grad[m.lengthscale(c)] -= 2 * weights[c] * m.weight[c] / l
		grad[m.warpA(c)] += d0*m.low[c].da + d1*m.high[c].da
		grad[m.warpB(c)] += d0*m.low[c].db + d1*m.high[c].db
	}
}

// fitWarped is the best of the restarts.
func fitWarped(s *space, x [][]float64, y []float64, rng *rand.Rand) (*warped, error) {
	m := newWarped(s, x, y)
	best, bestValue := []float64(nil), math.Inf(1)
	start := m.initial()
	for r := range warpedRestarts {
		if r > 0 {
			start = m.random(rng)
		}
		if theta, value := m.climb(start); theta != nil && value < bestValue {
			best, bestValue = theta, value
		}
	}
	if best == nil {
		return nil, errCovariance
	}
	if _, err := m.objective(best, make([]float64, len(best))); err != nil {
		return nil, err
	}
	return m, nil
}

// climb runs L-BFGS from a start and gives the best parameters that it came by; nil: it came by none.
func (m *warped) climb(start []float64) (best []float64, value float64) {
	value = math.Inf(1)
	x0 := make([]float64, len(start))
	for i, v := range start {
		x0[i] = inverseSoftplus(v)
	}
	theta, grad, last := make([]float64, len(x0)), make([]float64, len(x0)), math.NaN()
	at := make([]float64, len(x0))
	at[0] = math.NaN()
	evaluate := func(x []float64) {
		if equal(x, at) {
			return
		}
		copy(at, x)
		for i, v := range x {
			theta[i] = max(softplus(v), 1e-300) // exp underflows below −745
		}
		v, err := m.objective(theta, grad)
		if last = v; err != nil {
			last = math.NaN()
		}
		if last < value {
			value, best = last, append(best[:0], theta...)
		}
	}
	problem := optimize.Problem{
		Func: func(x []float64) float64 { evaluate(x); return last },
		Grad: func(g, x []float64) { evaluate(x); copy(g, grad) },
	}
	// An error of the line search, or of a start without a value, ends the climb with what there is.
	_, _ = optimize.Minimize(problem, x0, &optimize.Settings{
		FuncEvaluations: warpedEvaluations, MajorIterations: warpedEvaluations, GradientThreshold: warpedGradient,
		Converger: &optimize.FunctionConverge{Relative: warpedDecrease, Iterations: 1},
	}, &optimize.LBFGS{Store: warpedHistory, Linesearcher: &optimize.MoreThuente{}})
	return best, value
}

func equal(a, b []float64) bool {
	for i, v := range a {
		if v != b[i] {
			return false
		}
	}
	return true
}

// predict gives the predictive distribution of an observation, its noise included: what GPy's predict gives.
func (m *warped) predict(x []float64) (mean, variance float64) {
	inputs := make([]columnValue, m.numeric)
	for k, v := range m.scaler.apply(x) {
		inputs[k].w = 1
		if u := unit(v, -1); u < 1 {
			inputs[k] = kumaraswamy(max(0, u), m.theta[m.warpA(k)], m.theta[m.warpB(k)])
		}
	}
	choices, base := choicesOf(x[m.numeric:]), m.base()
	vl, vm := m.theta[linearVariance], m.theta[maternVariance]
	k := make([]float64, len(m.y))
	for i := range k {
		r2, inner := m.pair(m.inputs[i], inputs, m.choices[i], choices, base)
		r := math.Sqrt(3 * r2)
		k[i] = vl*inner + vm*(1+r)*math.Exp(-r)
	}
	_, inner := m.pair(inputs, inputs, choices, choices, base)
	mu, reduction := m.gram.posterior(k)
	variance = max(1e-15, vl*inner+vm-reduction) + m.theta[noiseVariance] // 1e-15: GPy's posterior clips there
	return mu*m.std + m.mean, max(minVariance, variance*m.std*m.std)
}

func (m *warped) noise() float64 { return m.theta[noiseVariance] * m.std * m.std }
