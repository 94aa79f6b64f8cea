package hebo

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Settings of the plain surrogate (optimizers/hebo.py, model_config of "gp"; models/gp/gp.py; torch.optim.RMSprop).
const (
	plainEpochs     = 100
	plainRate       = 0.01
	plainPretrain   = plainEpochs / 10 // steps without noise
	plainDecay      = 0.99
	plainEpsilon    = 1e-8
	plainNoiseFloor = 8e-4
	plainNoiseStart = 1e-2
	plainNoiseMu    = -4.605170185988091 // ln 0.01, of the noise's log-normal prior; its sigma is noiseSigma
	scaleShape      = 0.5                // Gamma prior of the kernel's scale: shape and rate
	scaleRate       = 0.5
	maxEmbedding    = 50
	plainTries      = 10 // the jitter grows from 1e-8 to 10 (models/gp/gp.py)
)

// plain is the surrogate [Plain]. Its parameters are unconstrained: the constant mean, then the inverse softplus of the noise above its floor, of
// the kernel's scale, of a lengthscale per number and of one for all embeddings; then the embeddings.
type plain struct {
	scaler    scaler
	numbers   [][]float64
	choices   [][]int
	sizes     []int // of the categories
	dims      []int // of their embeddings
	first     []int // parameter with which a category's table begins
	numeric   int
	y         []float64
	mean, std float64
	theta     []float64
	apart     [][]float64 // squared distances of a category's choices, size×size
	inverse   []float64   // squared inverse lengthscales: of the numbers, of the embeddings
	gram      gram
}

const (
	plainMean = iota
	plainNoise
	plainScale
	plainFirst
)

func (m *plain) embeddingScale() int { return plainFirst + m.numeric }

func newPlain(s *space, x [][]float64, y []float64) *plain {
	m := &plain{scaler: newScaler(s.numeric, x...), numeric: s.numeric, sizes: s.sizes()}
	for _, p := range x {
		m.numbers = append(m.numbers, m.scaler.apply(p))
		m.choices = append(m.choices, choicesOf(p[s.numeric:]))
	}
	m.y = slices.Clone(y)
	m.mean, m.std = standardise(m.y)
	total := plainFirst + m.numeric
	if len(m.sizes) > 0 {
		total++
	}
	for _, n := range m.sizes {
		dim := min(maxEmbedding, 1+n/2) // models/layers.py, EmbTransform
		m.first, m.dims = append(m.first, total), append(m.dims, dim)
		m.apart = append(m.apart, make([]float64, n*n))
		total += n * dim
	}
	m.theta = make([]float64, total)
	return m
}

// start sets the parameters that training begins with: models/gp/gp_util.py, default_kern; embeddings from a standard normal.
func (m *plain) start(rng *rand.Rand) {
	clear(m.theta)
	m.theta[plainNoise] = inverseSoftplus(plainNoiseStart - plainNoiseFloor)
	m.theta[plainScale] = inverseSoftplus(1)
	if len(m.y) > 1 {
		if v := stat.Variance(m.y, nil); v > 0 {
			m.theta[plainScale] = inverseSoftplus(v)
		}
	}
	for k := range m.numeric {
		var gaps []float64
		for i := range m.numbers {
			for j := range i {
				gaps = append(gaps, math.Abs(m.numbers[i][k]-m.numbers[j][k]))
			}
		}
		slices.Sort(gaps)
		median := minLengthscale
		if len(gaps) > 0 {
			median = max(median, gaps[(len(gaps)-1)/2]) // torch's median is the lower of two
		}
		m.theta[plainFirst+k] = inverseSoftplus(median)
	}
	for i := m.embeddingScale() + 1; i < len(m.theta); i++ { // the embeddings' lengthscale begins at softplus(0)
		m.theta[i] = rng.NormFloat64()
	}
}

// set prepares the tables of distances.
func (m *plain) set() {
	m.inverse = m.inverse[:0]
	for i := plainFirst; i <= m.embeddingScale() && i < len(m.theta); i++ {
		l := softplus(m.theta[i])
		m.inverse = append(m.inverse, 1/(l*l))
	}
	for k, n := range m.sizes {
		dim := m.dims[k]
		table := m.theta[m.first[k] : m.first[k]+n*dim]
		for a := range n {
			for b := range n {
				d2 := 0.0
				for t := range dim {
					d := table[a*dim+t] - table[b*dim+t]
					d2 += d * d
				}
				m.apart[k][a*n+b] = d2
			}
		}
	}
}

// distances are √3 times the scaled distances of two points in their numbers and in their embeddings.
func (m *plain) distances(x, y []float64, c, d []int) (r, s float64) {
	for k := range x {
		z := x[k] - y[k]
		r += z * z * m.inverse[k]
	}
	if len(m.sizes) > 0 {
		for k, n := range m.sizes {
			s += m.apart[k][c[k]*n+d[k]]
		}
		s *= m.inverse[m.numeric]
	}
	return math.Sqrt(3 * r), math.Sqrt(3 * s)
}

func (m *plain) observationNoise() float64 { return softplus(m.theta[plainNoise]) + plainNoiseFloor }

// objective is the negative of the logarithm of the posterior density per observation, up to a constant, and its gradient
// (gpytorch.mlls.ExactMarginalLogLikelihood): priors are of the parameters themselves, without the derivative of their transformation.
func (m *plain) objective(grad []float64) (float64, error) {
	m.set()
	n := len(m.y)
	scale, noise := softplus(m.theta[plainScale]), m.observationNoise()
	k := mat.NewSymDense(n, nil)
	first, second := make([]float64, n*n), make([]float64, n*n)
	for i := range n {
		for j := i; j < n; j++ {
			r, s := m.distances(m.numbers[i], m.numbers[j], m.choices[i], m.choices[j])
			first[i*n+j], second[i*n+j] = r, s
			v := scale * (1 + r) * (1 + s) * math.Exp(-r-s)
			if i == j {
				v += noise
			}
			k.SetSym(i, j, v)
		}
	}
	centred := make([]float64, n)
	for i, v := range m.y {
		centred[i] = v - m.theta[plainMean]
	}
	if !m.gram.factorise(k, centred, 1e-8, plainTries) {
		return 0, errCovariance
	}
	value := m.gram.logMarginal(centred)
	clear(grad)
	for _, a := range m.gram.alpha {
		grad[plainMean] += a
	}
	m.likelihoodGradient(m.gram.gradient(), first, second, grad)
	z := (math.Log(noise) - plainNoiseMu) / noiseSigma
	value += -0.5*logTwoPi - math.Log(noiseSigma) - 0.5*z*z - math.Log(noise)
	grad[plainNoise] += -(z/noiseSigma + 1) / noise
	value += scaleShape*math.Log(scaleRate) - 0.5*math.Log(math.Pi) + (scaleShape-1)*math.Log(scale) - scaleRate*scale // Γ(1/2) is √π
	grad[plainScale] += (scaleShape-1)/scale - scaleRate
	for i := plainNoise; i < plainFirst+m.numeric; i++ {
		grad[i] *= softplusSlope(softplus(m.theta[i]))
	}
	if len(m.sizes) > 0 {
		grad[m.embeddingScale()] *= softplusSlope(softplus(m.theta[m.embeddingScale()]))
	}
	for i := range grad {
		grad[i] /= -float64(n)
	}
	return -value / float64(n), nil
}

// likelihoodGradient adds the derivatives by the positive parameters and by the embeddings; g is that by the covariance matrix.
func (m *plain) likelihoodGradient(g, first, second, grad []float64) {
	n, scale := len(m.y), softplus(m.theta[plainScale])
	between := make([][]float64, len(m.sizes)) // by a category's squared distances
	for k, size := range m.sizes {
		between[k] = make([]float64, size*size)
	}
	l := 1.0
	if len(m.sizes) > 0 {
		l = softplus(m.theta[m.embeddingScale()])
	}
	for i := range n {
		grad[plainNoise] += g[i*n+i]
		for j := i; j < n; j++ {
			gij, r, s := g[i*n+j], first[i*n+j], second[i*n+j]
			if i != j {
				gij *= 2
			}
			e := math.Exp(-r - s)
			grad[plainScale] += gij * (1 + r) * (1 + s) * e
			if i == j {
				continue
			}
			// The derivative of (1 + √3·d)e^{−√3·d} by d² is −3/2·e^{−√3·d}.
			h := gij * scale * -1.5 * e * (1 + s)
			for k := range m.numeric {
				z, l := m.numbers[i][k]-m.numbers[j][k], softplus(m.theta[plainFirst+k])
				grad[plainFirst+k] += h * -2 * z * z / (l * l * l)
			}
			h = gij * scale * -1.5 * e * (1 + r)
			for k, size := range m.sizes {
				at := m.choices[i][k]*size + m.choices[j][k]
				between[k][at] += h / (l * l)
				grad[m.embeddingScale()] += h * -2 * m.apart[k][at] / (l * l * l)
			}
		}
	}
	for k, size := range m.sizes {
		dim, table := m.dims[k], m.theta[m.first[k]:]
		out := grad[m.first[k]:]
		for a := range size {
			for b := range size {
				h := between[k][a*size+b]
				if h == 0 || a == b {
					continue
				}
				for t := range dim {
					d := 2 * h * (table[a*dim+t] - table[b*dim+t])
					out[a*dim+t] += d
					out[b*dim+t] -= d
				}
			}
		}
	}
}

// langevin is preconditioned stochastic gradient Langevin dynamics (Li et al. 2016) as models/nn/sgld.py, pSGLD, has it: RMSprop, then, after the
// steps of pre-training, normal noise of variance 2·rate over the preconditioner, times factor.
type langevin struct {
	square []float64
	steps  int
	factor float64
}

func (l *langevin) step(theta, grad []float64, rng *rand.Rand) {
	l.steps++
	for i, g := range grad {
		l.square[i] = plainDecay*l.square[i] + (1-plainDecay)*g*g
		scale := math.Sqrt(l.square[i]) + plainEpsilon
		theta[i] -= plainRate * g / scale
		if l.steps > plainPretrain {
			theta[i] += l.factor * math.Sqrt(2*plainRate/scale) * rng.NormFloat64()
		}
	}
}

// fitPlain trains the plain surrogate. The noise of Langevin dynamics is large where gradients are small, and can take parameters to where the
// covariance matrix has no factor, or a lengthscale is zero: there the original raises, and here training ends with the parameters before.
func fitPlain(s *space, x [][]float64, y []float64, rng *rand.Rand) (*plain, error) {
	m := newPlain(s, x, y)
	m.start(rng)
	grad := make([]float64, len(m.theta))
	opt := langevin{square: make([]float64, len(m.theta)), factor: 1 / float64(len(y))}
	var good []float64
	for range plainEpochs {
		if _, err := m.objective(grad); err != nil {
			break
		}
		good = append(good[:0], m.theta...)
		opt.step(m.theta, grad, rng)
	}
	if _, err := m.objective(grad); err == nil {
		return m, nil
	} else if good == nil {
		return nil, err
	}
	copy(m.theta, good)
	_, err := m.objective(grad)
	return m, err
}

// predict gives the predictive distribution of the objective itself, without the noise of observations (pred_likeli is off).
func (m *plain) predict(x []float64) (mean, variance float64) {
	numbers, choices := m.scaler.apply(x), choicesOf(x[m.numeric:])
	scale := softplus(m.theta[plainScale])
	k := make([]float64, len(m.y))
	for i := range k {
		r, s := m.distances(m.numbers[i], numbers, m.choices[i], choices)
		k[i] = scale * (1 + r) * (1 + s) * math.Exp(-r-s)
	}
	mu, reduction := m.gram.posterior(k)
	return (mu+m.theta[plainMean])*m.std + m.mean, max(minVariance, (scale-reduction)*m.std*m.std)
}

func (m *plain) noise() float64 { return m.observationNoise() * m.std * m.std }
