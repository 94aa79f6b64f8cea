package engine

// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), table 2: a bijection of a
// 128-bit counter under a 64-bit key. Constants: the paper's PHILOX_M4x32 and PHILOX_W32 values.
const (
	PhiloxM0, PhiloxM1 = 0xD2511F53, 0xCD9E8D57
	PhiloxW0, PhiloxW1 = 0x9E3779B9, 0xBB67AE85
)

// Philox returns four random words for block number block of a stream at a step. Element i of a tensor takes word i%4 of block i/4.
// The counter is (block, stream, step low, step high), the key (seed low, seed high).
func Philox(seed, step uint64, stream, block uint32) [4]uint32 {
	c0, c1, c2, c3 := block, stream, uint32(step), uint32(step>>32)
	k0, k1 := uint32(seed), uint32(seed>>32)
	for range 10 {
		p0, p1 := uint64(PhiloxM0)*uint64(c0), uint64(PhiloxM1)*uint64(c2)
		c0, c1, c2, c3 = uint32(p1>>32)^c1^k0, uint32(p1), uint32(p0>>32)^c3^k1, uint32(p0)
		k0 += PhiloxW0
		k1 += PhiloxW1
	}
	return [4]uint32{c0, c1, c2, c3}
}

// DropThreshold is the number below which a random word drops its element at a rate: rate * 2^32, clamped to [0, 2^32-1].
func DropThreshold(rate float64) uint32 {
	t := rate * (1 << 32)
	switch {
	case !(t > 0):
		return 0
	case t >= 1<<32-1:
		return 1<<32 - 1
	}
	return uint32(t)
}
