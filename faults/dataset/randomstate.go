package dataset

import (
	"math"

	"gonum.org/v1/gonum/mathext/prng"
)

// randomState is numpy's RandomState over the Mersenne Twister, whose stream numpy keeps frozen: the published programs make and divide their
// data with it, so their rows can be had exactly. (numpy/random/mtrand.pyx, numpy/random/src/legacy.)
type randomState struct{ *prng.MT19937 }

// newRandomState is numpy.random.RandomState(seed).
func newRandomState(seed uint32) randomState {
	r := randomState{prng.NewMT19937()}
	r.Seed(uint64(seed))
	return r
}

// float64 is random_sample(): 53 bits, in [0, 1).
func (r randomState) float64() float64 {
	a, b := r.Uint32()>>5, r.Uint32()>>6
	return (float64(a)*67108864 + float64(b)) / 9007199254740992
}

// below draws an integer of 0..n-1 by masking and rejecting, as randint and shuffle do.
func (r randomState) below(n uint32) uint32 {
	mask := n - 1
	for s := 1; s < 32; s *= 2 {
		mask |= mask >> s
	}
	for {
		if v := r.Uint32() & mask; v < n {
			return v
		}
	}
}

// permutation is RandomState.permutation(n).
func (r randomState) permutation(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := r.below(uint32(i) + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// TrainTestSplit divides n rows as sklearn.model_selection.train_test_split(test_size=share, random_state=seed) does, in the order that it gives:
// ShuffleSplit takes the first ⌈share·n⌉ rows of RandomState(seed).permutation(n) for the test and leaves the others
// (sklearn/model_selection/_split.py). The published scripts divide nearly everything with it.
func TrainTestSplit(n int, share float64, seed uint32) (train, test []int32) {
	p := newRandomState(seed).permutation(n)
	cut := min(int(math.Ceil(share*float64(n))), n)
	return p[cut:], p[:cut]
}
