package train

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// InitializerNames are the initialisers that a recipe may name: the thirteen of Keras, PyTorch's kaiming pair, and "model", which keeps
// the values that the ONNX file holds. "uniform" is another name of random_uniform.
var InitializerNames = []string{"zeros", "ones", "constant", "random_normal", "random_uniform", "truncated_normal", "orthogonal", "lecun_uniform",
	"glorot_normal", "glorot_uniform", "he_normal", "lecun_normal", "he_uniform", "kaiming_uniform", "kaiming_normal", "uniform", "model"}

func (i Initializer) check() error {
	if !slices.Contains(InitializerNames, i.Name) {
		return fmt.Errorf("initializer %q is not known: one of %v", i.Name, InitializerNames)
	}
	for _, v := range []float64{i.Value, i.Mean, i.Stddev, i.Minval, i.Maxval, i.Gain, i.A} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("initializer %s: a parameter is %v", i.Name, v)
		}
	}
	if i.Stddev < 0 || i.Minval > i.Maxval {
		return fmt.Errorf("initializer %s: stddev %v must not be negative, minval %v not above maxval %v", i.Name, i.Stddev, i.Minval, i.Maxval)
	}
	return nil
}

// truncatedStd is the standard deviation of a unit normal cut at two: Keras divides by it (keras VarianceScaling).
const truncatedStd = 0.87962566103423978

// fill draws the values of a tensor. fanIn and fanOut are those of its kernel role; a tensor's numbers depend on the seed and its name
// alone, so that adding a layer leaves the others as they were. rows is the first dimension of the matrix that orthogonal makes.
func (i Initializer) fill(dst []float32, name string, seed uint64, fanIn, fanOut int, shape []int) error {
	rng := tensorRand(seed, name)
	in, avg := max(1, float64(fanIn)), max(1, float64(fanIn+fanOut)/2)
	uniform := func(limit float64) {
		for k := range dst {
			dst[k] = float32((2*rng.Float64() - 1) * limit)
		}
	}
	truncated := func(mean, std float64) {
		for k := range dst {
			z := rng.NormFloat64()
			for math.Abs(z) > 2 {
				z = rng.NormFloat64()
			}
			dst[k] = float32(mean + std*z)
		}
	}
	std := i.Stddev
	if std == 0 {
		std = 0.05
	}
	switch i.Name {
	case "zeros":
		clear(dst)
	case "ones":
		constant(dst, 1)
	case "constant":
		constant(dst, i.Value)
	case "random_normal":
		for k := range dst {
			dst[k] = float32(i.Mean + std*rng.NormFloat64())
		}
	case "random_uniform", "uniform":
		lo, hi := i.Minval, i.Maxval
		if lo == 0 && hi == 0 {
			lo, hi = -0.05, 0.05
		}
		for k := range dst {
			dst[k] = float32(lo + (hi-lo)*rng.Float64())
		}
	case "truncated_normal":
		truncated(i.Mean, std)
	case "glorot_uniform": // Glorot and Bengio 2010, equation 16
		uniform(math.Sqrt(3 / avg))
	case "glorot_normal":
		truncated(0, math.Sqrt(1/avg)/truncatedStd)
	case "he_uniform": // He et al. 2015, equation 10
		uniform(math.Sqrt(6 / in))
	case "he_normal":
		truncated(0, math.Sqrt(2/in)/truncatedStd)
	case "lecun_uniform":
		uniform(math.Sqrt(3 / in))
	case "lecun_normal":
		truncated(0, math.Sqrt(1/in)/truncatedStd)
	case "kaiming_uniform": // torch.nn.init.kaiming_uniform_ with nonlinearity leaky_relu
		uniform(math.Sqrt(6 / ((1 + i.A*i.A) * in)))
	case "kaiming_normal":
		s := math.Sqrt(2 / ((1 + i.A*i.A) * in))
		for k := range dst {
			dst[k] = float32(s * rng.NormFloat64())
		}
	case "orthogonal":
		return i.orthogonal(dst, rng, shape)
	default:
		return fmt.Errorf("train: initializer %q of %q cannot draw values", i.Name, name)
	}
	return nil
}

func constant(dst []float32, v float64) {
	for k := range dst {
		dst[k] = float32(v)
	}
}

// tensorRand is the random stream of a tensor: ChaCha8 keyed with SHA-256 of seed and name.
func tensorRand(seed uint64, name string) *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, seed), name...))))
}

// orthogonal fills dst, seen as a matrix of shape[0] rows, with orthonormal rows or columns (Saxe et al. 2014) times the gain: modified
// Gram-Schmidt on normal vectors, which is the QR decomposition with a positive diagonal that both frameworks use.
func (i Initializer) orthogonal(dst []float32, rng *rand.Rand, shape []int) error {
	if len(shape) < 2 {
		return fmt.Errorf("train: initializer orthogonal needs a tensor of 2 or more dimensions, got %v", shape)
	}
	gain := i.Gain
	if gain == 0 {
		gain = 1
	}
	rows := shape[0]
	cols := len(dst) / max(1, rows)
	n, m := min(rows, cols), max(rows, cols) // n orthonormal vectors of length m
	q := make([][]float64, n)
	for a := range q {
		q[a] = make([]float64, m)
		for {
			for k := range q[a] {
				q[a][k] = rng.NormFloat64()
			}
			for range 2 { // twice is enough: Parlett 1998, section 6.9
				for b := range a {
					dot := 0.0
					for k := range m {
						dot += q[a][k] * q[b][k]
					}
					for k := range m {
						q[a][k] -= dot * q[b][k]
					}
				}
			}
			norm := 0.0
			for _, v := range q[a] {
				norm += v * v
			}
			if norm = math.Sqrt(norm); norm > 1e-6 {
				for k := range q[a] {
					q[a][k] /= norm
				}
				break
			}
		}
	}
	for r := range rows {
		for c := range cols {
			if rows <= cols {
				dst[r*cols+c] = float32(gain * q[r][c])
			} else {
				dst[r*cols+c] = float32(gain * q[c][r])
			}
		}
	}
	return nil
}
