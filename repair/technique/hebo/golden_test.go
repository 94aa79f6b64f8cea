package hebo

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// golden is what scripts/golden_hebo.py has recorded.
type golden struct {
	Transforms []struct {
		Name, Method string
		Y, Out       []float64
	}
	Sobol struct {
		Plain     [][][]float64
		Scrambled struct {
			Shift  []uint32
			Lower  [][][]int
			Points [][]float64
		}
	}
	Kappas  [][4]float64
	Sorting struct {
		F        []objectives
		Fronts   [][]int
		Crowding [][]*float64
	}
	Mating struct {
		N           int
		Parents     []Point
		Cuts, Below [][]float64
	}
	Mace []struct {
		Noise, Tau, Kappa             float64
		Mean, Variance, First, Second []float64
		Out                           []objectives
	}
	Warped struct {
		X, Test [][]float64
		Y       []float64
		States  []warpedState
		Trained float64
	}
	Plain struct {
		X, Test [][]float64
		Y       []float64
		States  []plainState
	}
}

type prediction struct {
	Mean, Variance   []float64
	ObservationNoise float64 `json:"observation_noise"`
}

type warpedState struct {
	prediction
	Linear, Matern, Noise, Objective float64
	Lengthscale, A, B                []float64
	Gradient                         map[string]float64
	Warped, Covariance               [][]float64
}

type plainState struct {
	prediction
	Parameters, Gradient map[string][]float64
	Loss                 float64
}

func readGolden(t *testing.T) golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func close64(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance*max(1, math.Abs(want)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func closeAll(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		close64(t, fmt.Sprintf("%s %d", what, i), got[i], want[i], tolerance)
	}
}

func TestOutputTransforms(t *testing.T) {
	for _, c := range readGolden(t).Transforms {
		got, err := transformOutput(c.Y)
		if c.Out == nil {
			if err == nil {
				t.Errorf("%s: transformed to %v", c.Name, got)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		closeAll(t, c.Name, got, c.Out, 1e-5) // λ is found to 1e-8 of itself, and the likelihood is flat
	}
	for _, y := range [][]float64{{}, {1}, {2, 2, 2}, {math.MaxFloat64, 1, -math.MaxFloat64}} {
		if got, err := transformOutput(y); err == nil {
			t.Errorf("%v was transformed to %v", y, got)
		}
	}
}

func TestSobol(t *testing.T) {
	g := readGolden(t).Sobol
	for _, want := range g.Plain {
		s := newSobol(len(want[0]), nil)
		for i := range want {
			if got := s.next(); !slices.Equal(got, want[i]) {
				t.Fatalf("%d dimensions, point %d: %v, want %v", len(want[0]), i, got, want[i])
			}
		}
	}
	s := newSobol(len(g.Scrambled.Shift), nil)
	lower := make([][sobolBits]uint32, len(g.Scrambled.Lower))
	for d, rows := range g.Scrambled.Lower {
		for r, row := range rows {
			for c, bit := range row {
				lower[d][r] |= uint32(bit) << (sobolBits - 1 - c)
			}
		}
	}
	s.scramble(lower)
	s.shift = g.Scrambled.Shift
	for i, want := range g.Scrambled.Points {
		closeAll(t, fmt.Sprintf("scrambled point %d", i), s.next(), want, 1e-7) // torch keeps the first one in single precision
	}
}

// A scrambled sequence is as even as the plain one: every sixteenth of an axis has one of 16 points. There are more dimensions than the embedded
// direction numbers have.
func TestScrambledSobolIsEven(t *testing.T) {
	known := len(joeKuo()) + 1
	s := newScrambled(known+3, rand.New(rand.NewPCG(1, 2)))
	counts := make([]uint32, known)
	for range 16 {
		p := s.next()
		if len(p) != known+3 {
			t.Fatalf("%d coordinates", len(p))
		}
		for d, v := range p {
			if !(v >= 0 && v < 1) {
				t.Fatalf("coordinate %v", v)
			}
			if d < known {
				counts[d] |= 1 << int(v*16)
			}
		}
	}
	for d, c := range counts {
		if c != 1<<16-1 {
			t.Errorf("dimension %d has hit %016b", d, c)
		}
	}
}

func TestKappa(t *testing.T) {
	for _, c := range readGolden(t).Kappas {
		close64(t, fmt.Sprint(c), kappa(int(c[0]), int(c[1]), int(c[2])), c[3], 1e-12)
	}
}

func TestFrontsAndCrowding(t *testing.T) {
	g := readGolden(t).Sorting
	pop := make([]individual, len(g.F))
	for i, f := range g.F {
		pop[i].f = f
	}
	got := fronts(pop, 30)
	if len(got) != len(g.Fronts) {
		t.Fatalf("%d fronts, want %d", len(got), len(g.Fronts))
	}
	for i, front := range got {
		slices.Sort(front)
		if !slices.Equal(front, g.Fronts[i]) {
			t.Fatalf("front %d: %v, want %v", i, front, g.Fronts[i])
		}
		for j, v := range crowdingDistance(pop, front) {
			if want := g.Crowding[i][j]; want == nil && !math.IsInf(v, 1) || want != nil && math.Abs(v-*want) > 1e-12 {
				t.Errorf("front %d, point %d: crowding %v, want %v", i, j, v, want)
			}
		}
	}
}

// fixed is a model with a noise and nothing else.
type fixed float64

func (f fixed) predict([]float64) (float64, float64) { return 0, 1 }
func (f fixed) noise() float64                       { return float64(f) }

func TestMACE(t *testing.T) {
	for _, c := range readGolden(t).Mace {
		a := mace{fixed(c.Noise), c.Tau, c.Kappa}
		for i, want := range c.Out {
			got := a.at(c.Mean[i], c.Variance[i], c.First[i], c.Second[i])
			closeAll(t, fmt.Sprintf("noise %v, point %d", c.Noise, i), got[:], want[:], 1e-6) // torch's Φ loses digits towards −6
		}
	}
}

// goldenSpace is the space of the recorded models.
func goldenSpace(t *testing.T) *space {
	t.Helper()
	s, err := newSpace([]Parameter{{Name: "x", Min: -2, Max: 3}, {Name: "k", Kind: Integer, Min: 1, Max: 9}, {Name: "r", Kind: Log, Min: 1e-4, Max: 1},
		{Name: "c", Kind: Categorical, Choices: 3}, {Name: "d", Kind: Categorical, Choices: 4}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func transformAll(s *space, points [][]float64) [][]float64 {
	var out [][]float64
	for _, p := range points {
		out = append(out, s.transform(p))
	}
	return out
}

func checkPredictions(t *testing.T, name string, s *space, m model, test [][]float64, want prediction, tolerance float64) {
	t.Helper()
	close64(t, name+": noise", m.noise(), want.ObservationNoise, tolerance)
	for i, p := range transformAll(s, test) {
		mean, variance := m.predict(p)
		close64(t, fmt.Sprintf("%s: mean %d", name, i), mean, want.Mean[i], tolerance)
		close64(t, fmt.Sprintf("%s: variance %d", name, i), variance, want.Variance[i], tolerance)
	}
}

func TestWarpedModel(t *testing.T) {
	s, g := goldenSpace(t), readGolden(t).Warped
	m := newWarped(s, transformAll(s, g.X), g.Y)
	for i, state := range g.States {
		theta := make([]float64, len(m.theta))
		theta[linearVariance], theta[maternVariance], theta[noiseVariance] = state.Linear, state.Matern, state.Noise
		for c := range m.columns {
			theta[m.lengthscale(c)], theta[m.warpA(c)], theta[m.warpB(c)] = state.Lengthscale[c], state.A[c], state.B[c]
		}
		if i == 0 {
			closeAll(t, "initial parameters", m.initial(), theta, 1e-9)
		}
		grad := make([]float64, len(theta))
		value, err := m.objective(theta, grad)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("state %d", i)
		close64(t, name+": objective", value, state.Objective, 1e-8)
		index := map[string]int{"linear.variances": linearVariance, "Mat32.variance": maternVariance, "Gaussian_noise.variance": noiseVariance}
		for c := range m.columns {
			index[fmt.Sprintf("Mat32.lengthscale[[%d]]", c)] = m.lengthscale(c)
			index[fmt.Sprintf("input_warp_kumar.a%d", c)], index[fmt.Sprintf("input_warp_kumar.b%d", c)] = m.warpA(c), m.warpB(c)
		}
		seen := 0
		for name, k := range index {
			for full, want := range state.Gradient {
				if strings.HasSuffix(full, name) {
					close64(t, fmt.Sprintf("state %d: gradient of %s", i, full), grad[k], want, 1e-6)
					seen++
				}
			}
		}
		if seen != len(grad) || len(state.Gradient) != len(grad) {
			t.Errorf("%d of %d derivatives were compared; there are %d", seen, len(state.Gradient), len(grad))
		}
		checkWarpedInside(t, name, m, state)
		checkPredictions(t, name, s, m, g.Test, state.prediction, 1e-7)
	}
	// The best of ten restarts lies where GPy's does, or lower.
	best, err := fitWarped(s, transformAll(s, g.X), g.Y, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	value, err := best.objective(slices.Clone(best.theta), make([]float64, len(best.theta)))
	if err != nil || value > g.Trained+0.5 {
		t.Errorf("objective after training %v, %v; GPy's is %v", value, err, g.Trained)
	}
}

// checkWarpedInside compares warped inputs and the kernel matrix.
func checkWarpedInside(t *testing.T, name string, m *warped, state warpedState) {
	t.Helper()
	n := len(m.y)
	k := mat.NewSymDense(n, nil)
	m.covariance(k, make([]float64, n*n), make([]float64, n*n))
	for i := range n {
		for c := range m.numeric {
			close64(t, fmt.Sprintf("%s: input %d, %d", name, i, c), m.inputs[i][c].w, state.Warped[i][c], 1e-9)
		}
		for c := m.numeric; c < m.columns; c++ {
			w := m.low[c].w
			if m.column(i, c) == 1 {
				w = m.high[c].w
			}
			close64(t, fmt.Sprintf("%s: input %d, %d", name, i, c), w, state.Warped[i][c], 1e-9)
		}
		for j := range n {
			v := k.At(i, j)
			if i == j {
				v -= m.theta[noiseVariance] + diagonalJitter
			}
			close64(t, fmt.Sprintf("%s: covariance %d, %d", name, i, j), v, state.Covariance[i][j], 1e-9)
		}
	}
}

// plainParameters takes recorded parameters by name to ours.
func plainParameters(m *plain, from map[string][]float64) []float64 {
	out := make([]float64, len(m.theta))
	for name, v := range from {
		switch {
		case strings.HasPrefix(name, "mean."):
			out[plainMean] = v[0]
		case strings.HasSuffix(name, "raw_noise"):
			out[plainNoise] = v[0]
		case strings.HasSuffix(name, "raw_outputscale"):
			out[plainScale] = v[0]
		case strings.HasSuffix(name, "kernels.0.raw_lengthscale"):
			copy(out[plainFirst:], v)
		case strings.HasSuffix(name, "kernels.1.raw_lengthscale"):
			out[m.embeddingScale()] = v[0]
		case strings.HasSuffix(name, "emb.0.weight"):
			copy(out[m.first[0]:], v)
		case strings.HasSuffix(name, "emb.1.weight"):
			copy(out[m.first[1]:], v)
		default:
			panic(name)
		}
	}
	return out
}

func TestPlainModel(t *testing.T) {
	s, g := goldenSpace(t), readGolden(t).Plain
	m := newPlain(s, transformAll(s, g.X), g.Y)
	m.start(rand.New(rand.NewPCG(1, 1)))
	first := plainParameters(m, g.States[0].Parameters)
	closeAll(t, "initial parameters", m.theta[:m.embeddingScale()+1], first[:m.embeddingScale()+1], 1e-9)
	copy(m.theta, first)
	grad := make([]float64, len(m.theta))
	opt := langevin{square: make([]float64, len(m.theta)), steps: -plainEpochs} // pre-training: no noise
	for i, state := range g.States {
		if i > 0 {
			for range 30 {
				if _, err := m.objective(grad); err != nil {
					t.Fatal(err)
				}
				opt.step(m.theta, grad, nil)
			}
		}
		name := fmt.Sprintf("state %d", i)
		closeAll(t, name+": parameters", m.theta, plainParameters(m, state.Parameters), 1e-6)
		value, err := m.objective(grad)
		if err != nil {
			t.Fatal(err)
		}
		close64(t, name+": loss", value, state.Loss, 1e-8)
		closeAll(t, name+": gradient", grad, plainParameters(m, state.Gradient), 1e-6)
		checkPredictions(t, name, s, m, g.Test, state.prediction, 1e-6)
	}
}
