// Reductions. Sums are kept in double: the error of a sum does not grow with its length, and the order is fixed.

// Eight sums side by side, added in a fixed order.
static double row_sum(const float *x, int64_t n) {
	double s[8] = {};
	int64_t i = 0;
	for (; i + 8 <= n; i += 8)
		for (int k = 0; k < 8; k++) s[k] += double(x[i + k]);
	double t = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
	for (; i < n; i++) t += double(x[i]);
	return t;
}
static inline double max_d(double a, double b) { return a != a ? a : (a < b || b != b ? b : a); }
static inline double min_d(double a, double b) { return a != a ? a : (a > b || b != b ? b : a); }
static double row_max(const float *x, int64_t n) {
	double m = -INFINITY;
	for (int64_t i = 0; i < n; i++) m = max_d(m, double(x[i]));
	return m;
}
static double row_min(const float *x, int64_t n) {
	double m = INFINITY;
	for (int64_t i = 0; i < n; i++) m = min_d(m, double(x[i]));
	return m;
}
static double row_prod(const float *x, int64_t n) {
	double m = 1;
	for (int64_t i = 0; i < n; i++) m *= double(x[i]);
	return m;
}
#define COLUMNS(name, expr) \
	static void name(const float *x, int64_t rows, int64_t stride, int64_t n, double *acc) { \
		for (int64_t r = 0; r < rows; r++) \
			for (int64_t i = 0; i < n; i++) { \
				const double a = acc[i], v = double(x[r * stride + i]); \
				acc[i] = (expr); \
			} \
	}
COLUMNS(col_sum, a + v)
COLUMNS(col_max, max_d(a, v))
COLUMNS(col_min, min_d(a, v))
COLUMNS(col_prod, a *v)

// out: finite elements, their sum, sum of sizes, sum of squares, largest size, zeros.
static void moments(const float *x, int64_t n, double out[6]) {
	double finite = 0, sum = 0, size = 0, square = 0, largest = 0, zeros = 0;
	for (int64_t i = 0; i < n; i++) {
		const double v = double(x[i]), a = fabs(v);
		if (!(a <= 3.4028234663852886e38)) continue; // largest finite float
		finite++;
		sum += v;
		size += a;
		square += v * v;
		largest = a > largest ? a : largest;
		zeros += a == 0 ? 1.0 : 0.0;
	}
	out[0] = finite, out[1] = sum, out[2] = size, out[3] = square, out[4] = largest, out[5] = zeros;
}

// The largest of n elements that are stride apart. NaN is passed over: its exponential makes the sum NaN.
static double softmax_top(const float *x, int64_t n, int64_t stride) {
	constexpr int64_t lanes = 16;
	float most[lanes], top = -INFINITY;
	if (stride == 1 && n >= lanes) {
		for (int64_t k = 0; k < lanes; k++) most[k] = -INFINITY;
		for (int64_t i = 0; i < n; i += lanes) {
			const float *from = x + (i + lanes <= n ? i : n - lanes);
			for (int64_t k = 0; k < lanes; k++) most[k] = from[k] > most[k] ? from[k] : most[k];
		}
		x = most, n = lanes;
	}
	for (int64_t i = 0; i < n; i++) top = x[i * stride] > top ? x[i * stride] : top;
	return double(top);
}

// Eight sums side by side, added in a fixed order, as in row_sum.
static double sum_d(const double *e, int64_t n) {
	double s[8] = {};
	int64_t i = 0;
	for (; i + 8 <= n; i += 8)
		for (int k = 0; k < 8; k++) s[k] += e[i + k];
	double t = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
	for (; i < n; i++) t += e[i];
	return t;
}

// Softmax over n elements that are stride apart, or side by side; blocks of exponentials stay on the stack.
template <bool dense> static void softmax_of(const float *x, float *y, int64_t n, int64_t stride, bool log) {
	const int64_t s = dense ? 1 : stride;
	const double top = softmax_top(x, n, s);
	double sum = 0, e[64];
	for (int64_t at = 0; at < n; at += 64) {
		const int64_t m = n - at < 64 ? n - at : 64;
		for (int64_t i = 0; i < m; i++) e[i] = exp_d(double(x[(at + i) * s]) - top);
		sum += sum_d(e, m);
		if (!log)
			for (int64_t i = 0; i < m; i++) y[(at + i) * s] = float(e[i]);
	}
	if (log) {
		const double l = log_d(sum); // taken off after the maximum: added to a huge one it would be lost
		for (int64_t i = 0; i < n; i++) y[i * s] = float(double(x[i * s]) - top - l);
		return;
	}
	if (n <= 64) { // not rounded twice
		for (int64_t i = 0; i < n; i++) y[i * s] = float(e[i] / sum);
		return;
	}
	const double share = 1 / sum;
	for (int64_t i = 0; i < n; i++) y[i * s] = float(double(y[i * s]) * share);
}

static void softmax(const float *x, float *y, int64_t n, int64_t stride, bool log) {
	(stride == 1 ? softmax_of<true> : softmax_of<false>)(x, y, n, stride, log);
}

template <bool dense> static void softmax_grad_of(const float *dy, const float *y, float *dx, int64_t n, int64_t stride, bool log) {
	const int64_t s = dense ? 1 : stride;
	double sum = 0, e[64];
	for (int64_t at = 0; at < n; at += 64) {
		const int64_t m = n - at < 64 ? n - at : 64;
		for (int64_t i = 0; i < m; i++) e[i] = double(dy[(at + i) * s]) * (log ? 1.0 : double(y[(at + i) * s]));
		sum += sum_d(e, m);
	}
	if (log)
		for (int64_t i = 0; i < n; i++) dx[i * s] = float(double(dy[i * s]) - exp_d(double(y[i * s])) * sum);
	else
		for (int64_t i = 0; i < n; i++) dx[i * s] = float(double(y[i * s]) * (double(dy[i * s]) - sum));
}

static void softmax_grad(const float *dy, const float *y, float *dx, int64_t n, int64_t stride, bool log) {
	(stride == 1 ? softmax_grad_of<true> : softmax_grad_of<false>)(dy, y, dx, n, stride, log);
}

// y = a·b with any strides. Columns of b that lie side by side are taken 16 at a time.
static void small_gemm(const float *a, int64_t ar, int64_t ac, const float *b, int64_t br, int64_t bc, float *y, int64_t ldy, int64_t m, int64_t n,
	int64_t k) {
	if (bc != 1 && n > 1 && ar == 1 && m > n) { // the rows of a lie side by side instead
		float acc[16];
		for (int64_t i0 = 0; i0 < m; i0 += 16) {
			const int64_t w = m - i0 < 16 ? m - i0 : 16;
			for (int64_t j = 0; j < n; j++) {
				for (int i = 0; i < 16; i++) acc[i] = 0;
				for (int64_t t = 0; t < k; t++) {
					const float v = b[t * br + j * bc];
					const float *row = a + i0 + t * ac;
					if (w == 16)
						for (int i = 0; i < 16; i++) acc[i] += v * row[i];
					else
						for (int64_t i = 0; i < w; i++) acc[i] += v * row[i];
				}
				for (int64_t i = 0; i < w; i++) y[(i0 + i) * ldy + j] = acc[i];
			}
		}
		return;
	}
	for (int64_t i = 0; i < m; i++) {
		for (int64_t j0 = 0; j0 < n; j0 += 16) {
			const int64_t w = n - j0 < 16 ? n - j0 : 16;
			float acc[16] = {};
			const float *col = b + j0 * bc;
			if (w == 16 && bc == 1)
				for (int64_t t = 0; t < k; t++) {
					const float v = a[i * ar + t * ac];
					for (int j = 0; j < 16; j++) acc[j] += v * col[t * br + j];
				}
			else
				for (int64_t t = 0; t < k; t++) {
					const float v = a[i * ar + t * ac];
					for (int64_t j = 0; j < w; j++) acc[j] += v * col[t * br + j * bc];
				}
			for (int64_t j = 0; j < w; j++) y[i * ldy + j0 + j] = acc[j];
		}
	}
}

static void deviations(const float *x, int64_t rows, int64_t n, const double *mean, double *acc) {
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++) {
			const double d = double(x[r * n + i]) - mean[i];
			acc[i] += d * d;
		}
}
static void scale_shift(const float *x, float *y, int64_t rows, int64_t n, const float *mean, const float *scale, const float *shift) {
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++) y[r * n + i] = (x[r * n + i] - mean[i]) * scale[i] + shift[i];
}
static void norm_sums(const float *dy, const float *x, int64_t rows, int64_t n, const double *mean, double *sum, double *dot) {
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++) {
			const double d = double(dy[r * n + i]);
			sum[i] += d;
			dot[i] += d * (double(x[r * n + i]) - mean[i]);
		}
}
// dx = k·dy - b - c·(x-mean)
static void norm_grad(const float *dy, const float *x, float *dx, int64_t rows, int64_t n, const float *mean, const float *k, const float *b, const float *c) {
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++) dx[r * n + i] = k[i] * dy[r * n + i] - b[i] - c[i] * (x[r * n + i] - mean[i]);
}

static void pool_max(float *y, const float *x, int64_t n) {
	for (int64_t i = 0; i < n; i++) y[i] = max__f(y[i], x[i]);
}
// BLOCKS does something for every i below n in whole vectors; the last of them begins early, and does some elements twice.
#define BLOCKS(n, ...) \
	if (n < VECTOR) \
		for (int64_t i = 0; i < n; i++) { __VA_ARGS__ } \
	else \
		for (int64_t from = 0; from < n; from += VECTOR) \
			_Pragma("GCC ivdep") for (int64_t k = 0, i = from + VECTOR <= n ? from : n - VECTOR; k < VECTOR; k++, i++) { __VA_ARGS__ }

// One row of outputs of pooling by 2 x 2 squares that do not overlap: n places of c channels; the square's second row lies row elements on.
static void pool_square(const float *x, float *y, int64_t n, int64_t c, int64_t row) {
	for (int64_t p = 0; p < n; p++, x += 2 * c, y += c)
		BLOCKS(c, y[i] = max__f(max__f(x[i], x[c + i]), max__f(x[row + i], x[row + c + i]));)
}
// Its gradient: all of dx's two rows is written. The first element that is the largest gets it all; none where the largest is not positive
// and relu says that x is the result of a ReLU, which is differentiated along with it.
template <bool relu>
static void pool_square_gives(const float *dy, const float *x, const float *y, float *dx, int64_t n, int64_t c, int64_t row) {
	for (int64_t p = 0; p < n; p++, x += 2 * c, dx += 2 * c, dy += c, y += c) {
		const float *x1 = x + c, *x2 = x + row;
		float *d1 = dx + c, *d2 = dx + row, *d3 = dx + row + c;
		BLOCKS(c, {
			const float m = y[i], d = dy[i], a = x[i], b = x1[i], e = x2[i];
			const bool nan = m != m, first = (a == m) | (nan & (a != a)), second = (b == m) | (nan & (b != b)), third = (e == m) | (nan & (e != e));
			const float of0 = relu && m <= 0 ? 0.0f : d, of1 = first ? 0.0f : of0, of2 = second ? 0.0f : of1; // what is left for those behind
			dx[i] = first ? of0 : 0.0f;
			d1[i] = second ? of1 : 0.0f;
			d2[i] = third ? of2 : 0.0f;
			d3[i] = third ? 0.0f : of2; // one of the four is the largest
		})
	}
}
static void pool_square_grad(const float *dy, const float *x, const float *y, float *dx, int64_t n, int64_t c, int64_t row, bool relu) {
	if (relu)
		pool_square_gives<true>(dy, x, y, dx, n, c, row);
	else
		pool_square_gives<false>(dy, x, y, dx, n, c, row);
}
static void pool_give(float *dx, const float *dy, const float *x, const float *y, int32_t *taken, int64_t n) {
	for (int64_t i = 0; i < n; i++) {
		const bool hit = (taken[i] == 0) & ((x[i] == y[i]) | ((x[i] != x[i]) & (y[i] != y[i])));
		dx[i] += hit ? dy[i] : 0.0f;
		taken[i] |= hit ? 1 : 0;
	}
}
