package faults

import (
	"math"

	"gonum.org/v1/gonum/mathext/prng"
)

// trainTestSplit is scikit-learn's train_test_split(range(n), test_size=share, random_state=state): the published scripts divide rows with
// it. The rows of either part come in the shuffled order that it gives.
//
// Its ShuffleSplit takes ⌈share·n⌉ test rows off the front of numpy.random.RandomState(state).permutation(n) and leaves the rest
// (sklearn/model_selection/_split.py).
func trainTestSplit(n int, share float64, state uint32) (train, test []int32) {
	rows := permutation(n, state)
	cut := int(math.Ceil(share * float64(n)))
	return rows[cut:], rows[:cut]
}

// permutation is numpy.random.RandomState(state).permutation(n): Fisher and Yates' shuffle from the end (numpy/random/mtrand.pyx,
// _shuffle_raw) with MT19937, bounded numbers by masking and rejection (random_interval of numpy/random/src/distributions.c).
func permutation(n int, state uint32) []int32 {
	random := prng.NewMT19937()
	random.Seed(uint64(state))
	rows := rowsFrom(0, n)
	for i := uint32(max(n, 1) - 1); i > 0; i-- {
		mask := i
		for shift := 1; shift < 32; shift *= 2 {
			mask |= mask >> shift
		}
		j := random.Uint32() & mask
		for j > i {
			j = random.Uint32() & mask
		}
		rows[i], rows[j] = rows[j], rows[i]
	}
	return rows
}
