// Philox4x32-10, see engine.Philox. A vector holds one 32-bit number of as many blocks as it has 64-bit lanes; what the upper halves hold
// does not matter, since MUL32 multiplies the lower ones. Several vectors at a time hide the latency of the products.

typedef uint64_t Lanes __attribute__((vector_size(8 * ROOTS_D)));

constexpr int vectors = 4, blocks = vectors * ROOTS_D; // at a time

static inline Lanes mul32(Lanes a, Lanes b) { return (Lanes)MUL32(a, b); }

// philox writes the words of so many blocks, counted from the first, in the order of engine.Philox.
static inline void philox(uint32_t first, uint64_t seed, uint64_t step, uint32_t stream, uint64_t *words) {
	Lanes c0[vectors], c1[vectors], c2[vectors], c3[vectors];
	static const uint64_t numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	Lanes count;
	__builtin_memcpy(&count, numbers, sizeof count);
	const Lanes m0 = Lanes{} + 0xD2511F53u, m1 = Lanes{} + 0xCD9E8D57u;
	for (int v = 0; v < vectors; v++) {
		c0[v] = count + (uint64_t(first) + uint64_t(v * ROOTS_D));
		c1[v] = Lanes{} + stream, c2[v] = Lanes{} + uint32_t(step), c3[v] = Lanes{} + uint32_t(step >> 32);
	}
	uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
	for (int round = 0; round < 10; round++) {
#pragma GCC unroll 4
		for (int v = 0; v < vectors; v++) {
			const Lanes p0 = mul32(m0, c0[v]), p1 = mul32(m1, c2[v]);
			c0[v] = (p1 >> 32) ^ c1[v] ^ uint64_t(k0);
			c2[v] = (p0 >> 32) ^ c3[v] ^ uint64_t(k1);
			c1[v] = p1, c3[v] = p0;
		}
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	for (int v = 0; v < vectors; v++) {
		const Lanes low = (c0[v] & 0xffffffffu) | (c1[v] << 32), high = (c2[v] & 0xffffffffu) | (c3[v] << 32);
		uint64_t *to = words + 2 * v * ROOTS_D;
#if ROOTS_D == 8
		const Lanes left = __builtin_shuffle(low, high, Lanes{0, 8, 1, 9, 2, 10, 3, 11}), right = __builtin_shuffle(low, high, Lanes{4, 12, 5, 13, 6, 14, 7, 15});
#elif ROOTS_D == 4
		const Lanes left = __builtin_shuffle(low, high, Lanes{0, 4, 1, 5}), right = __builtin_shuffle(low, high, Lanes{2, 6, 3, 7});
#else
		const Lanes left = __builtin_shuffle(low, high, Lanes{0, 2}), right = __builtin_shuffle(low, high, Lanes{1, 3});
#endif
		__builtin_memcpy(to, &left, sizeof left);
		__builtin_memcpy(to + ROOTS_D, &right, sizeof right);
	}
}

// words calls f(i, words, m) for stretches [i, i+m) of the elements [first, first+n), in order.
template <class F> static inline void words(int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, F f) {
	union {
		uint64_t pairs[2 * blocks];
		uint32_t w[4 * blocks];
	};
	for (int64_t i = 0; i < n;) {
		const int64_t at = first + i, skip = at % 4, m = n - i < 4 * blocks - skip ? n - i : 4 * blocks - skip;
		philox(uint32_t(at / 4), seed, step, stream, pairs);
		f(i, w + skip, m);
		i += m;
	}
}

static void drop_factors(float *factor, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold) {
	words(first, n, seed, step, stream, [=](int64_t i, const uint32_t *w, int64_t m) {
		float *to = factor + i;
		const uint32_t t = threshold;
		_Pragma("GCC ivdep") for (int64_t k = 0; k < m; k++) to[k] = w[k] < t ? 0.0f : 1.0f;
	});
}

static void drop(const float *x, float *y, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold, float keep) {
	words(first, n, seed, step, stream, [=](int64_t i, const uint32_t *w, int64_t m) {
		const float *from = x + i;
		float *to = y + i;
		const uint32_t t = threshold;
		const float d = keep;
		_Pragma("GCC ivdep") for (int64_t k = 0; k < m; k++) {
			const float v = from[k] / d; // always, so that the loop has no branch
			to[k] = w[k] < t ? 0.0f : v;
		}
	});
}

// One channels-last sample of dropout: the factors of (channel, place) go to (place, channel) in tiles, then all elements are scaled.
static void drop_across(const float *factor, float *across, const float *x, float *y, int64_t channels, int64_t plane, float keep) {
	constexpr int64_t tile = 16;
	for (int64_t c0 = 0; c0 < channels; c0 += tile)
		for (int64_t q0 = 0; q0 < plane; q0 += tile) {
			const int64_t c1 = channels - c0 < tile ? channels : c0 + tile, q1 = plane - q0 < tile ? plane : q0 + tile;
			for (int64_t q = q0; q < q1; q++)
				for (int64_t c = c0; c < c1; c++) across[q * channels + c] = factor[c * plane + q];
		}
	const float d = keep;
	_Pragma("GCC ivdep") for (int64_t i = 0; i < channels * plane; i++) {
		const float v = x[i] / d;
		y[i] = across[i] == 0 ? 0.0f : v;
	}
}
