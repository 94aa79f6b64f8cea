// Cells of recurrent layers, and the products of few rows with a matrix that is multiplied many times.

// exp in float: x = k·log 2 + r, a polynomial of exp(r), 2^k from its exponent (Moshier, Cephes 2.8, expf.c); off by 2e-7. The result stays normal and
// finite, which is 0 and infinity to what the cells make of it; NaN passes the comparisons.
static inline float exp_f(float v) {
	float x = v < -87.3f ? -87.3f : v;
	x = x > 88.3f ? 88.3f : x;
	const float t = FMAF(x, 1.44269504f, 12582912.0f); // rounds to an integer in the low bits
	const float k = t - 12582912.0f;
	float r = FMAF(k, -0.693359375f, x);
	r = FMAF(k, 2.12194440e-4f, r);
	float p = 1.9875691500e-4f;
	p = FMAF(p, r, 1.3981999507e-3f);
	p = FMAF(p, r, 8.3334519073e-3f);
	p = FMAF(p, r, 4.1665795894e-2f);
	p = FMAF(p, r, 1.6666665459e-1f);
	p = FMAF(p, r, 5.0000001201e-1f);
	p = FMAF(p, r * r, r) + 1.0f;
	return p * __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, t) + 127u) << 23);
}

static inline float sigmoid_f(float x) { return 1.0f / (1.0f + exp_f(-x)); }

// tanh in float: a polynomial below 0.625, 1 - 2/(exp(2x)+1) above (Moshier, Cephes 2.8, tanhf.c); off by 2e-7.
static inline float tanh_f(float x) {
	const float a = fabsf(x), z = x * x;
	const float far = 1.0f - 2.0f / (exp_f(a + a) + 1.0f);
	float p = -5.70498872745e-3f;
	p = FMAF(p, z, 2.06390887954e-2f);
	p = FMAF(p, z, -5.37397155531e-2f);
	p = FMAF(p, z, 1.33314422036e-1f);
	p = FMAF(p, z, -3.33332819422e-1f);
	const float near = FMAF(p * z, x, x);
	return a < 0.625f ? near : (x < 0.0f ? -far : far);
}

// A panel is two vectors wide. A tile is as many rows as leave registers for the factors.
constexpr int64_t panel_width = 2 * VECTOR;

static int64_t panel_size(int64_t n, int64_t k) { return (n + panel_width - 1) / panel_width * panel_width * k; }

// Packs panel q of b (k, n), whose element (i, j) is b[i·rs + j·cs]; what is beyond n is 0.
static void pack_panel(const float *b, int64_t rs, int64_t cs, float *to, int64_t q, int64_t n, int64_t k) {
	to += q * panel_width * k, b += q * panel_width * cs;
	const int64_t w = n - q * panel_width < panel_width ? n - q * panel_width : panel_width;
	for (int64_t i = 0; i < k; i++) {
		for (int64_t j = 0; j < w; j++) to[i * panel_width + j] = b[i * rs + j * cs];
		for (int64_t j = w; j < panel_width; j++) to[i * panel_width + j] = 0;
	}
}

// y = init + a·b for M rows and one panel; without init, a·b.
template <int M> static void panel_tile(const float *a, int64_t lda, const float *b, const float *init, int64_t ldi, float *y, int64_t ldy, int64_t k) {
	Vector acc[M][2];
	for (int i = 0; i < M; i++)
		for (int j = 0; j < 2; j++) acc[i][j] = init != nullptr ? LOAD(init + i * ldi + j * VECTOR) : SPREAD(0.0f);
	for (int64_t t = 0; t < k; t++, b += panel_width) {
		const Vector b0 = LOAD(b), b1 = LOAD(b + VECTOR);
		for (int i = 0; i < M; i++) {
			const Vector v = SPREAD(a[i * lda + t]);
			acc[i][0] = MULADD(v, b0, acc[i][0]);
			acc[i][1] = MULADD(v, b1, acc[i][1]);
		}
	}
	for (int i = 0; i < M; i++)
		for (int j = 0; j < 2; j++) STORE(y + i * ldy + j * VECTOR, acc[i][j]);
}

static void panel_rows(int64_t m, const float *a, int64_t lda, const float *b, const float *init, int64_t ldi, float *y, int64_t ldy, int64_t k) {
	switch (m) {
	case 1: panel_tile<1>(a, lda, b, init, ldi, y, ldy, k); break;
	case 2: panel_tile<2>(a, lda, b, init, ldi, y, ldy, k); break;
	case 3: panel_tile<3>(a, lda, b, init, ldi, y, ldy, k); break;
	case 4: panel_tile<4>(a, lda, b, init, ldi, y, ldy, k); break;
	case 5: panel_tile<5>(a, lda, b, init, ldi, y, ldy, k); break;
	case 6: panel_tile<6>(a, lda, b, init, ldi, y, ldy, k); break;
#if TILE_ROWS > 6
	case 7: panel_tile<7>(a, lda, b, init, ldi, y, ldy, k); break;
	case 8: panel_tile<8>(a, lda, b, init, ldi, y, ldy, k); break;
	case 9: panel_tile<9>(a, lda, b, init, ldi, y, ldy, k); break;
	case 10: panel_tile<10>(a, lda, b, init, ldi, y, ldy, k); break;
	case 11: panel_tile<11>(a, lda, b, init, ldi, y, ldy, k); break;
	case 12: panel_tile<12>(a, lda, b, init, ldi, y, ldy, k); break;
#endif
	}
}

// y = init + a·b with b (k, n) in panels. init may be y, absent, or one row for all (ldi 0). Every element is summed in the order of k.
static void panel_gemm(const float *a, int64_t lda, const float *b, const float *init, int64_t ldi, float *y, int64_t ldy, int64_t m, int64_t n, int64_t k) {
	const int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
	float edge[TILE_ROWS * panel_width];
	for (int64_t j = 0; j < n; j += panel_width, b += panel_width * k) {
		const int64_t w = n - j < panel_width ? n - j : panel_width;
		for (int64_t q = 0; q < tiles; q++) {
			const int64_t i = m * q / tiles, rows = m * (q + 1) / tiles - i;
			const float *from = init != nullptr ? init + i * ldi + j : nullptr;
			float *to = y + i * ldy + j;
			if (w == panel_width) {
				panel_rows(rows, a + i * lda, lda, b, from, ldi, to, ldy, k);
				continue;
			}
			for (int64_t r = 0; r < rows; r++)
				for (int64_t c = 0; c < panel_width; c++) edge[r * panel_width + c] = from != nullptr && c < w ? from[r * ldi + c] : 0.0f;
			panel_rows(rows, a + i * lda, lda, b, edge, panel_width, edge, panel_width, k);
			for (int64_t r = 0; r < rows; r++)
				for (int64_t c = 0; c < w; c++) to[r * ldy + c] = edge[r * panel_width + c];
		}
	}
}

// The cells make one step of one sequence of n hidden units: g holds what goes into the gates and becomes what comes out of them; h and c are the
// states before and become those after, y and keep copies of them. The formulas are those of engine.CellKind.

#define EACH _Pragma("GCC ivdep") for (int64_t j = 0; j < n; j++)

static void rnn_cell(const float *g, float *h, float *y, int64_t n) { EACH h[j] = y[j] = tanh_f(g[j]); }

static void lstm_cell(float *g, const float *peep, float *h, float *c, float *y, float *keep, int64_t n) {
	if (peep != nullptr) {
		EACH {
			const float i = sigmoid_f(g[j] + peep[j] * c[j]), f = sigmoid_f(g[2 * n + j] + peep[2 * n + j] * c[j]), u = tanh_f(g[3 * n + j]);
			const float s = f * c[j] + i * u, o = sigmoid_f(g[n + j] + peep[n + j] * s);
			g[j] = i, g[n + j] = o, g[2 * n + j] = f, g[3 * n + j] = u;
			c[j] = keep[j] = s;
			h[j] = y[j] = o * tanh_f(s);
		}
		return;
	}
	EACH {
		const float i = sigmoid_f(g[j]), o = sigmoid_f(g[n + j]), f = sigmoid_f(g[2 * n + j]), u = tanh_f(g[3 * n + j]);
		const float s = f * c[j] + i * u;
		g[j] = i, g[n + j] = o, g[2 * n + j] = f, g[3 * n + j] = u;
		c[j] = keep[j] = s;
		h[j] = y[j] = o * tanh_f(s);
	}
}

// The gates z and r of a GRU; rh = r∘h.
static void gru_reset(float *g, const float *h, float *rh, int64_t n) {
	EACH {
		const float r = sigmoid_f(g[n + j]);
		g[j] = sigmoid_f(g[j]);
		g[n + j] = r;
		rh[j] = r * h[j];
	}
}

// The rest of it: g's third part holds what goes into n.
static void gru_cell(float *g, float *h, float *y, int64_t n) {
	EACH {
		const float u = tanh_f(g[2 * n + j]);
		g[2 * n + j] = u;
		h[j] = y[j] = (1.0f - g[j]) * u + g[j] * h[j];
	}
}

// A GRU with linear_before_reset: xn is what the inputs give to n, inner what R does.
static void gru_linear(float *g, const float *xn, const float *inner, float *h, float *y, int64_t n) {
	EACH {
		const float z = sigmoid_f(g[j]), r = sigmoid_f(g[n + j]), u = tanh_f(xn[j] + r * inner[j]);
		g[j] = z, g[n + j] = r, g[2 * n + j] = u;
		h[j] = y[j] = (1.0f - z) * u + z * h[j];
	}
}

// Gradients: dh is that by ht without dy, which may be absent; it becomes what reaches ht-1 otherwise than through R. dx may lie on g.

static void rnn_grad(const float *y, const float *dy, float *dh, float *dx, int64_t n) {
	EACH {
		dx[j] = (dh[j] + (dy != nullptr ? dy[j] : 0.0f)) * (1.0f - y[j] * y[j]);
		dh[j] = 0;
	}
}

static void lstm_grad(const float *g, const float *peep, const float *before, const float *c, const float *dy, float *dh, float *dc, float *dx, int64_t n) {
	EACH {
		const float i = g[j], o = g[n + j], f = g[2 * n + j], u = g[3 * n + j], s = tanh_f(c[j]), d = dh[j] + (dy != nullptr ? dy[j] : 0.0f);
		const float a = d * s * o * (1.0f - o);
		float e = dc[j] + d * o * (1.0f - s * s);
		e += peep != nullptr ? peep[n + j] * a : 0.0f;
		const float p = e * u * i * (1.0f - i), q = e * before[j] * f * (1.0f - f);
		dx[j] = p, dx[n + j] = a, dx[2 * n + j] = q, dx[3 * n + j] = e * i * (1.0f - u * u);
		dc[j] = e * f + (peep != nullptr ? peep[j] * p + peep[2 * n + j] * q : 0.0f);
		dh[j] = 0;
	}
}

// The gradients by what goes into z and n.
static void gru_grad(const float *g, const float *before, const float *dy, float *dh, float *dx, int64_t n) {
	EACH {
		const float z = g[j], u = g[2 * n + j], d = dh[j] + (dy != nullptr ? dy[j] : 0.0f);
		dx[j] = d * (before[j] - u) * z * (1.0f - z);
		dx[2 * n + j] = d * (1.0f - z) * (1.0f - u * u);
		dh[j] = d * z;
	}
}

// Those by what goes into r: drh is the gradient by r∘h; rh becomes that product again.
static void gru_reset_grad(const float *r, const float *before, const float *drh, float *dh, float *dx, float *rh, int64_t n) {
	EACH {
		const float v = r[j];
		dx[j] = drh[j] * before[j] * v * (1.0f - v);
		dh[j] += drh[j] * v;
		rh[j] = v * before[j];
	}
}

// The same with linear_before_reset: dn is the gradient by what goes into n, dinner becomes that by what R gives.
static void gru_linear_grad(const float *r, const float *inner, const float *dn, float *dx, float *dinner, int64_t n) {
	EACH {
		const float v = r[j];
		dinner[j] = dn[j] * v;
		dx[j] = dn[j] * inner[j] * v * (1.0f - v);
	}
}
#undef EACH
