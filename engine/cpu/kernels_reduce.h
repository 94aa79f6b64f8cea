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

// Softmax over n elements that are stride apart; blocks of exponentials stay on the stack.
static void softmax(const float *x, float *y, int64_t n, int64_t stride, bool log) {
	double top = -INFINITY, sum = 0;
	for (int64_t i = 0; i < n; i++) top = max_d(top, double(x[i * stride]));
	double e[64];
	for (int64_t at = 0; at < n; at += 64) {
		const int64_t m = n - at < 64 ? n - at : 64;
		for (int64_t i = 0; i < m; i++) e[i] = exp_d(double(x[(at + i) * stride]) - top);
		for (int64_t i = 0; i < m; i++) sum += e[i];
		if (!log)
			for (int64_t i = 0; i < m; i++) y[(at + i) * stride] = float(e[i]);
	}
	if (log) {
		const double l = log_d(sum); // taken off after the maximum: added to a huge one it would be lost
		for (int64_t i = 0; i < n; i++) y[i * stride] = float(double(x[i * stride]) - top - l);
		return;
	}
	if (n <= 64) { // not rounded twice
		for (int64_t i = 0; i < n; i++) y[i * stride] = float(e[i] / sum);
		return;
	}
	for (int64_t i = 0; i < n; i++) y[i * stride] = float(double(y[i * stride]) / sum);
}

static void softmax_grad(const float *dy, const float *y, float *dx, int64_t n, int64_t stride, bool log) {
	double sum = 0;
	if (log) {
		for (int64_t i = 0; i < n; i++) sum += double(dy[i * stride]);
		for (int64_t i = 0; i < n; i++) dx[i * stride] = float(double(dy[i * stride]) - exp_d(double(y[i * stride])) * sum);
		return;
	}
	for (int64_t i = 0; i < n; i++) sum += double(dy[i * stride]) * double(y[i * stride]);
	for (int64_t i = 0; i < n; i++) dx[i * stride] = float(double(y[i * stride]) * (double(dy[i * stride]) - sum));
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
// One row of outputs of pooling by 2 x 2 squares that do not overlap: n places of c channels; the square's second row lies row elements on.
static void pool_square(const float *x, float *y, int64_t n, int64_t c, int64_t row) {
	for (int64_t p = 0; p < n; p++, x += 2 * c, y += c)
		_Pragma("GCC ivdep") for (int64_t i = 0; i < c; i++) y[i] = max__f(max__f(x[i], x[c + i]), max__f(x[row + i], x[row + c + i]));
}
// Its gradient: all of dx's two rows is written. The first element that is the largest gets it all; none where the largest is not positive
// and relu says that x is the result of a ReLU, which is differentiated along with it.
static void pool_square_grad(const float *dy, const float *x, const float *y, float *dx, int64_t n, int64_t c, int64_t row, bool relu) {
	for (int64_t p = 0; p < n; p++, x += 2 * c, dx += 2 * c, dy += c, y += c)
		_Pragma("GCC ivdep") for (int64_t i = 0; i < c; i++) {
			const float m = y[i], d = relu & (m <= 0) ? 0.0f : dy[i];
			const int nan = m != m;
			const int h0 = (x[i] == m) | (nan & (x[i] != x[i]));
			const int h1 = ((x[c + i] == m) | (nan & (x[c + i] != x[c + i]))) & ~h0;
			const int h2 = ((x[row + i] == m) | (nan & (x[row + i] != x[row + i]))) & ~(h0 | h1);
			const int h3 = 1 & ~(h0 | h1 | h2); // one of the four is the largest
			dx[i] = h0 ? d : 0.0f;
			dx[c + i] = h1 ? d : 0.0f;
			dx[row + i] = h2 ? d : 0.0f;
			dx[row + c + i] = h3 ? d : 0.0f;
		}
}
static void pool_give(float *dx, const float *dy, const float *x, const float *y, int32_t *taken, int64_t n) {
	for (int64_t i = 0; i < n; i++) {
		const bool hit = (taken[i] == 0) & ((x[i] == y[i]) | ((x[i] != x[i]) & (y[i] != y[i])));
		dx[i] += hit ? dy[i] : 0.0f;
		taken[i] |= hit ? 1 : 0;
	}
}
