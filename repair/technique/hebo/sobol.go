package hebo

import (
	_ "embed"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

//go:embed joe_kuo.txt
var joeKuoText string

// sobolBits is the number of binary digits of a coordinate: torch.quasirandom.SobolEngine.MAXBIT.
const sobolBits = 30

// joeKuo are the rows of joe_kuo.txt: polynomial, then m_1, m_2, …; row i is of dimension i+1, counted from 0.
var joeKuo = sync.OnceValue(func() [][]uint32 {
	var rows [][]uint32
	for line := range strings.Lines(joeKuoText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var row []uint32
		for _, word := range strings.Fields(line) {
			v, err := strconv.ParseUint(word, 10, 32)
			if err != nil {
				panic("hebo: embedded direction numbers: " + err.Error())
			}
			row = append(row, uint32(v))
		}
		rows = append(rows, row)
	}
	return rows
})

// sobol draws points of a Sobol sequence in [0, 1)^d, the origin (or its shift) first, in Gray-code order. Coordinates beyond the embedded
// direction numbers are drawn uniformly.
type sobol struct {
	directions [][sobolBits]uint32 // scaled by 2^sobolBits, most significant first
	shift      []uint32
	state      []uint32
	drawn      uint32
	rest       *rand.Rand // of coordinates beyond the directions
	beyond     int
}

// newSobol is the plain sequence: the recurrence of Bratley and Fox 1988, algorithm 659, equations 3 and 4.
func newSobol(dim int, rest *rand.Rand) *sobol {
	rows := joeKuo()
	known := min(dim, len(rows)+1)
	s := &sobol{directions: make([][sobolBits]uint32, known), shift: make([]uint32, known), state: make([]uint32, known), rest: rest, beyond: dim - known}
	for d := range s.directions {
		v := &s.directions[d]
		if d == 0 {
			for i := range v {
				v[i] = 1 << (sobolBits - 1 - i)
			}
			continue
		}
		poly, m := rows[d-1][0], rows[d-1][1:]
		degree := bits.Len32(poly) - 1
		for i := range v {
			if i < degree {
				v[i] = m[i] << (sobolBits - 1 - i)
				continue
			}
			v[i] = v[i-degree] ^ v[i-degree]>>degree
			for k := 1; k < degree; k++ {
				if poly>>(degree-k)&1 == 1 {
					v[i] ^= v[i-k]
				}
			}
		}
	}
	return s
}

// newScrambled is a sequence with a random linear matrix scramble and a digital shift (Matoušek 1998), as SobolEngine(scramble = True) has it.
func newScrambled(dim int, rng *rand.Rand) *sobol {
	s := newSobol(dim, rng)
	lower := make([][sobolBits]uint32, len(s.directions))
	for d := range s.directions {
		s.shift[d] = rng.Uint32() >> (32 - sobolBits)
		for r := range sobolBits {
			lower[d][r] = rng.Uint32() >> (32 - sobolBits)
		}
	}
	s.scramble(lower)
	return s
}

// scramble multiplies each coordinate's digits by a lower triangular binary matrix with a unit diagonal. Bit sobolBits-1-c of row r of a matrix
// is its entry (r, c); what lies on or above the diagonal is not read.
func (s *sobol) scramble(lower [][sobolBits]uint32) {
	for d := range s.directions {
		for i, v := range s.directions[d] {
			out := uint32(0)
			for r := range sobolBits {
				diagonal := uint32(1) << (sobolBits - 1 - r)
				row := lower[d][r]&^(diagonal<<1-1) | diagonal
				out |= uint32(bits.OnesCount32(row&v)&1) << (sobolBits - 1 - r)
			}
			s.directions[d][i] = out
		}
	}
}

// next is the next point.
func (s *sobol) next() []float64 {
	if s.drawn > 0 {
		c := bits.TrailingZeros32(s.drawn) // the digit that changes in the Gray code
		for d := range s.state {
			s.state[d] ^= s.directions[d][min(c, sobolBits-1)]
		}
	}
	s.drawn++
	out := make([]float64, 0, len(s.state)+s.beyond)
	for d, v := range s.state {
		out = append(out, float64(v^s.shift[d])/(1<<sobolBits))
	}
	for range s.beyond {
		out = append(out, s.rest.Float64())
	}
	return out
}
