package data

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// BatchOrder returns the order in which an epoch visits the given rows; a batch is a run of consecutive entries. Without shuffle it is
// a copy of rows. With it, a Fisher-Yates permutation that depends on len(rows), seed and epoch alone, and is the same on every machine.
//
// The random numbers are ChaCha8 (math/rand/v2, whose stream Go guarantees) keyed with seed and epoch as little-endian uint64
// and the word "batch" padded with zeros to 16 bytes, so any epoch's order is had without making those before it.
func BatchOrder(rows []int32, seed uint64, epoch int, doShuffle bool) []int32 {
	order := slices.Clone(rows)
	if doShuffle {
		shuffle(order, newRandom("batch", seed, uint64(epoch)))
	}
	return order
}

// newRandom is a stream of random numbers of its own for every (domain, seed, stream); domain has at most 16 bytes.
func newRandom(domain string, seed, stream uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], stream)
	copy(key[16:], domain)
	return rand.NewChaCha8(key)
}

// shuffle permutes rows uniformly (Fisher-Yates, from the last to the first). rand.Shuffle is not used: Go promises the
// stream of a source, not what the functions on top of it draw.
func shuffle(rows []int32, random *rand.ChaCha8) {
	for i := len(rows) - 1; i > 0; i-- {
		j := below(random, uint64(i)+1)
		rows[i], rows[j] = rows[j], rows[i]
	}
}

// below draws an unbiased integer of 0..n-1 by Lemire's multiply and reject (Lemire 2019, "Fast Random Integer Generation in an
// Interval", algorithm 5). n is not 0.
func below(random *rand.ChaCha8, n uint64) uint64 {
	hi, lo := bits.Mul64(random.Uint64(), n)
	if lo < n {
		for reject := -n % n; lo < reject; {
			hi, lo = bits.Mul64(random.Uint64(), n)
		}
	}
	return hi
}
