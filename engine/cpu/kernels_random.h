// Philox4x32-10, see engine.Philox: sixteen blocks (64 words) at a time in arrays that the compiler keeps in registers.

constexpr int lanes = 16;

static inline void philox(uint32_t block, uint64_t seed, uint64_t step, uint32_t stream, uint32_t w[4][lanes]) {
	uint32_t c0[lanes], c1[lanes], c2[lanes], c3[lanes];
	for (int i = 0; i < lanes; i++) c0[i] = block + uint32_t(i), c1[i] = stream, c2[i] = uint32_t(step), c3[i] = uint32_t(step >> 32);
	uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < lanes; i++) {
			const uint64_t p0 = uint64_t(0xD2511F53u) * c0[i], p1 = uint64_t(0xCD9E8D57u) * c2[i];
			c0[i] = uint32_t(p1 >> 32) ^ c1[i] ^ k0;
			c2[i] = uint32_t(p0 >> 32) ^ c3[i] ^ k1;
			c1[i] = uint32_t(p1);
			c3[i] = uint32_t(p0);
		}
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	for (int i = 0; i < lanes; i++) w[0][i] = c0[i], w[1][i] = c1[i], w[2][i] = c2[i], w[3][i] = c3[i];
}

// words calls f(i, word) in order for the elements [first, first+n); i counts from 0.
template <class F> static inline void words(int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, F f) {
	uint32_t w[4][lanes], flat[4 * lanes];
	for (int64_t i = 0; i < n;) {
		const int64_t at = first + i;
		philox(uint32_t(at / 4), seed, step, stream, w);
		for (int l = 0; l < lanes; l++)
			for (int k = 0; k < 4; k++) flat[4 * l + k] = w[k][l];
		const int64_t skip = at % 4, m = n - i < 4 * lanes - skip ? n - i : 4 * lanes - skip;
		f(i, flat + skip, m);
		i += m;
	}
}

static void drop_factors(float *factor, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold) {
	words(first, n, seed, step, stream, [&](int64_t i, const uint32_t *w, int64_t m) {
		for (int64_t k = 0; k < m; k++) factor[i + k] = w[k] < threshold ? 0.0f : 1.0f;
	});
}

static void drop(const float *x, float *y, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold, float keep) {
	words(first, n, seed, step, stream, [&](int64_t i, const uint32_t *w, int64_t m) {
		for (int64_t k = 0; k < m; k++) y[i + k] = w[k] < threshold ? 0.0f : x[i + k] / keep;
	});
}
