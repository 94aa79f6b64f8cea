// Elementwise kernels. The formulas are those of package engine; alpha is a, beta is b.

// Square roots in place, rounded correctly as sqrtf is. A loop over sqrtf is not vectorised: it may have to set errno.
static void roots(float *v, int64_t n) {
	int64_t i = 0;
	for (; i + ROOTS_F <= n; i += ROOTS_F) ROOT_F(v + i);
	for (; i < n; i++) v[i] = sqrtf(v[i]);
}
static void roots(double *v, int64_t n) {
	int64_t i = 0;
	for (; i + ROOTS_D <= n; i += ROOTS_D) ROOT_D(v + i);
	for (; i < n; i++) v[i] = sqrt(v[i]);
}
constexpr int64_t root_block = 512; // stays in the first-level cache
static void sqrt_(const float *x, float *y, int64_t n, double, double) {
	for (int64_t at = 0; at < n; at += root_block) {
		const int64_t m = n - at < root_block ? n - at : root_block;
		for (int64_t i = 0; i < m; i++) y[at + i] = x[at + i];
		roots(y + at, m);
	}
}


#define UNARY_FLOAT(name, expr) \
	static void name(const float *x_, float *y_, int64_t n, double a_, double b_) { \
		const float a = float(a_), b = float(b_); \
		(void)a, (void)b; \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { \
			const float x = x_[i]; \
			y_[i] = (expr); \
		} \
	}
#define UNARY_DOUBLE(name, expr) \
	static void name(const float *x_, float *y_, int64_t n, double a, double b) { \
		(void)a, (void)b; \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { \
			const double x = double(x_[i]); \
			y_[i] = float(expr); \
		} \
	}
// UNARY_ROOT and GRAD_ROOT: expr uses root, the square root of radicand; the roots are taken of a block at a time, in registers.
#define UNARY_ROOT(name, radicand, expr) \
	static void name(const float *x_, float *y_, int64_t n, double, double) { \
		double roots_[root_block]; \
		for (int64_t at = 0; at < n; at += root_block) { \
			const int64_t m = n - at < root_block ? n - at : root_block; \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < m; i++) { \
				const double x = double(x_[at + i]); \
				roots_[i] = (radicand); \
			} \
			roots(roots_, m); \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < m; i++) { \
				const double x = double(x_[at + i]), root = roots_[i]; \
				(void)x; \
				y_[at + i] = float(expr); \
			} \
		} \
	}
#define GRAD_ROOT(name, radicand, expr) \
	static void name(const float *dy_, const float *r_, float *dx_, int64_t n, double, double) { \
		double roots_[root_block]; \
		for (int64_t at = 0; at < n; at += root_block) { \
			const int64_t m = n - at < root_block ? n - at : root_block; \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < m; i++) { \
				const double r = double(r_[at + i]); \
				roots_[i] = (radicand); \
			} \
			roots(roots_, m); \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < m; i++) { \
				const double d = double(dy_[at + i]), root = roots_[i]; \
				dx_[at + i] = float(expr); \
			} \
		} \
	}
// r is the function's output or input, see Fn.GradFromOutput.
#define GRAD_FLOAT(name, expr) \
	static void name(const float *dy_, const float *r_, float *dx_, int64_t n, double a_, double b_) { \
		const float a = float(a_), b = float(b_); \
		(void)a, (void)b; \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { \
			const float d = dy_[i], r = r_[i]; \
			(void)r; \
			dx_[i] = (expr); \
		} \
	}
#define GRAD_DOUBLE(name, expr) \
	static void name(const float *dy_, const float *r_, float *dx_, int64_t n, double a, double b) { \
		(void)a, (void)b; \
		_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { \
			const double d = double(dy_[i]), r = double(r_[i]); \
			(void)r; \
			dx_[i] = float(expr); \
		} \
	}

static const double sqrt_half = 0.70710678118654752440, sqrt_2_over_pi = 0.79788456080286535588, two_over_sqrt_pi = 1.12837916709551257390,
	inv_sqrt_2pi = 0.39894228040143267794, gelu_cubic = 0.044715; // Hendrycks and Gimpel 2016, section 2

UNARY_FLOAT(neg, -x)
UNARY_FLOAT(abs_, fabsf(x))
UNARY_FLOAT(sign, x > 0 ? 1.0f : (x < 0 ? -1.0f : x))
UNARY_FLOAT(reciprocal, 1.0f / x)
UNARY_DOUBLE(affine, a *x + b)
UNARY_FLOAT(floor_, floorf(x))
UNARY_FLOAT(relu, x <= 0 ? 0.0f : x)
UNARY_FLOAT(leaky_relu, x < 0 ? a * x : x)
UNARY_FLOAT(softsign, x / (1.0f + fabsf(x)))
UNARY_FLOAT(thresholded_relu, x > a ? x : 0.0f)
UNARY_DOUBLE(exp_, exp_d(x))
UNARY_DOUBLE(log_, log_d(x))
UNARY_DOUBLE(sin_, sin(x))
UNARY_DOUBLE(cos_, cos(x))
// asin x = atan(x/sqrt((1-x)(1+x))); acos x = 2·atan(sqrt((1-x)/(1+x))). Outside -1..1 the root is NaN.
UNARY_ROOT(asin_, (1.0 - x) * (1.0 + x), atan_d(x / root))
UNARY_ROOT(acos_, (1.0 - x) / (1.0 + x), 2.0 * atan_d(root))
UNARY_DOUBLE(atan_, atan_d(x))
UNARY_DOUBLE(sinh_, sinh_d(x))
// asinh |x| = log(|x| + sqrt(x²+1)) and acosh x = log(x + sqrt(x²-1)) as log(1+…), so that nothing cancels near 0 and 1; sqrt(x²+1)-1 is
// x²/(1+sqrt(x²+1)) there.
UNARY_ROOT(asinh_, FMA(x, x, 1.0), copysign(log1p_any(fabs(x) + (fabs(x) < 1.0 ? x * x / (1.0 + root) : root - 1.0)), x))
UNARY_ROOT(acosh_, x < 1.0 ? NAN : (x - 1.0) * (x + 1.0), log1p_any((x - 1.0) + root))
UNARY_DOUBLE(atanh_, atanh_d(x))
UNARY_DOUBLE(erf_, erf_d(x))
UNARY_DOUBLE(elu, x < 0 ? a * expm1_d(x) : x)
UNARY_DOUBLE(selu, b *(x > 0 ? x : a * expm1_d(x)))
static inline double celu_d(double x, double a) {
	double m = a * expm1_d(x / a);
	m = m > 0 ? 0.0 : m;
	return (x < 0 ? 0.0 : x) + m;
}
UNARY_DOUBLE(celu, celu_d(x, a))
UNARY_DOUBLE(sigmoid, sigmoid_d(x))
UNARY_DOUBLE(tanh_, tanh_d(x))
UNARY_DOUBLE(softplus, softplus_d(x))
static inline double unit(double v) { v = v > 1 ? 1.0 : v; return v < 0 ? 0.0 : v; }
static inline float clip_f(float x, float a, float b) { x = x < a ? a : x; return x > b ? b : x; }
UNARY_FLOAT(clip, clip_f(x, a, b))
UNARY_DOUBLE(hard_sigmoid, unit(a *x + b))
UNARY_DOUBLE(hard_swish, x *unit(x * (1.0 / 6) + 0.5))
UNARY_DOUBLE(gelu, 0.5 * x * erfc_d(-x * sqrt_half))
UNARY_DOUBLE(gelu_tanh, 0.5 * x * (1.0 + tanh_d(sqrt_2_over_pi * (x + gelu_cubic * x * x * x))))
UNARY_DOUBLE(swish, x *sigmoid_d(a *x))
UNARY_DOUBLE(mish, x *tanh_d(softplus_d(x)))

GRAD_FLOAT(neg_grad, -d)
GRAD_FLOAT(abs_grad, d *(r > 0 ? 1.0f : (r < 0 ? -1.0f : r)))
GRAD_FLOAT(exp_grad, d *r)
GRAD_DOUBLE(log_grad, d *(1.0 / r))
GRAD_DOUBLE(sqrt_grad, d *(0.5 / r))
GRAD_DOUBLE(reciprocal_grad, d *(-r * r))
GRAD_DOUBLE(sin_grad, d *cos(r))
GRAD_DOUBLE(cos_grad, d *-sin(r))
GRAD_ROOT(asin_grad, (1.0 - r) * (1.0 + r), d * (1.0 / root))
GRAD_ROOT(acos_grad, (1.0 - r) * (1.0 + r), d * (-1.0 / root))
GRAD_DOUBLE(atan_grad, d *(1.0 / FMA(r, r, 1.0)))
GRAD_DOUBLE(sinh_grad, d *cosh_d(r))
GRAD_ROOT(asinh_grad, FMA(r, r, 1.0), d * (1.0 / root))
GRAD_ROOT(acosh_grad, (r - 1.0) * (r + 1.0), d * (1.0 / root))
GRAD_DOUBLE(atanh_grad, d *(1.0 / ((1.0 - r) * (1.0 + r))))
GRAD_DOUBLE(erf_grad, d *(two_over_sqrt_pi * exp_d(-r * r)))
GRAD_DOUBLE(affine_grad, d *a)
GRAD_FLOAT(clip_grad, r >= a && r <= b ? d : 0.0f)
GRAD_FLOAT(relu_grad, r <= 0 ? 0.0f : d)
GRAD_FLOAT(leaky_relu_grad, r > 0 ? d : d * a)
GRAD_DOUBLE(elu_grad, d *(r > 0 ? 1.0 : a * exp_d(r)))
GRAD_DOUBLE(selu_grad, d *(r > 0 ? b : b * a * exp_d(r)))
GRAD_DOUBLE(celu_grad, d *(r > 0 ? 1.0 : exp_d(r / a)))
GRAD_DOUBLE(sigmoid_grad, d *(r * (1.0 - r)))
GRAD_DOUBLE(tanh_grad, d *(1.0 - r * r))
GRAD_DOUBLE(softplus_grad, d *sigmoid_d(r))
GRAD_DOUBLE(softsign_grad, d / ((1.0 + fabs(r)) * (1.0 + fabs(r))))
static inline double hard_sigmoid_slope(double d, double r, double a, double b) {
	double y = a * r + b;
	return y > 0 && y < 1 ? d * a : 0.0;
}
GRAD_DOUBLE(hard_sigmoid_grad, hard_sigmoid_slope(d, r, a, b))
GRAD_DOUBLE(hard_swish_grad, r <= -3 ? 0.0 : (r >= 3 ? d : d * (r * (1.0 / 3) + 0.5)))
GRAD_FLOAT(thresholded_relu_grad, r > a ? d : 0.0f)
GRAD_DOUBLE(gelu_grad, d *(0.5 * erfc_d(-r * sqrt_half) + r * inv_sqrt_2pi * exp_d(-0.5 * r * r)))
static inline double gelu_tanh_slope(double r) {
	double t = tanh_d(sqrt_2_over_pi * (r + gelu_cubic * r * r * r));
	return 0.5 * (1.0 + t) + 0.5 * r * (1.0 - t * t) * sqrt_2_over_pi * (1.0 + 3.0 * gelu_cubic * r * r);
}
GRAD_DOUBLE(gelu_tanh_grad, d *gelu_tanh_slope(r))
static inline double swish_slope(double r, double a) {
	double s = sigmoid_d(a * r);
	return s + a * r * s * (1.0 - s);
}
GRAD_DOUBLE(swish_grad, d *swish_slope(r, a))
static inline double mish_slope(double r) {
	double t = tanh_d(softplus_d(r));
	return t + r * sigmoid_d(r) * (1.0 - t * t);
}
GRAD_DOUBLE(mish_grad, d *mish_slope(r))

// Binary: one loop per combination of strides that occurs, so that each is vectorised.
#define BINARY(name, expr) \
	static inline float name##_f(float a, float b) { return (expr); } \
	static void name(const float *a, int64_t sa, const float *b, int64_t sb, float *y, int64_t n) { \
		if (sa == 1 && sb == 1) \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = name##_f(a[i], b[i]); \
		else if (sa == 1 && sb == 0) { \
			const float v = *b; \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = name##_f(a[i], v); \
		} else if (sa == 0 && sb == 1) { \
			const float v = *a; \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = name##_f(v, b[i]); \
		} else \
			_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) y[i] = name##_f(a[i * sa], b[i * sb]); \
	}

BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)
BINARY(div_, a / b)
BINARY(pow_, float(pow(double(a), double(b))))
BINARY(max_, a != a ? a : (a < b || b != b ? b : a))
BINARY(min_, a != a ? a : (a > b || b != b ? b : a))
BINARY(greater, a > b ? 1.0f : 0.0f)
BINARY(greater_or_equal, a >= b ? 1.0f : 0.0f)
BINARY(less, a < b ? 1.0f : 0.0f)
BINARY(less_or_equal, a <= b ? 1.0f : 0.0f)
BINARY(equal, a == b ? 1.0f : 0.0f)

static void where(const float *c, int64_t sc, const float *a, int64_t sa, const float *b, int64_t sb, float *y, int64_t n) {
	if (sc == 1 && sa == 1 && sb == 1)
		for (int64_t i = 0; i < n; i++) y[i] = c[i] != 0 ? a[i] : b[i];
	else
		for (int64_t i = 0; i < n; i++) y[i] = c[i * sc] != 0 ? a[i * sa] : b[i * sb];
}

static void lerp(float *s, const float *x, int64_t n, float alpha, float beta) {
	for (int64_t i = 0; i < n; i++) s[i] = alpha * s[i] + beta * x[i];
}
static void add_bias(const float *bias, float *y, int64_t rows, int64_t n, int64_t ld) {
	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < n; i++) y[r * ld + i] += bias[i];
}
// Rounding adds half a unit of the last place that stays, less one bit where the result would be even otherwise. NaN keeps its sign.
static void to_bf16(const float *x, uint16_t *y, int64_t n) {
	_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) {
		const uint32_t u = __builtin_bit_cast(uint32_t, x[i]), round = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
		y[i] = uint16_t((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : round);
	}
}
static void axpy(float *y, const float *x, int64_t n, float a) {
	for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

// One optimizer step on a block; see engine.RuleKind for the formulas. What stands under a root goes through r, so that every loop is
// vectorised. n is at most update_block.
constexpr int64_t update_block = 256;

#define EACH(...) \
	_Pragma("GCC ivdep") for (int64_t i = 0; i < n; i++) { __VA_ARGS__ }

static void adam(const Update &u, float *p, const float *g, float *s0, float *s1, float *s2, int64_t n) {
	const float c0 = u.c[0], c1 = u.c[1], c2 = u.c[2], c3 = u.c[3], b1 = u.b1, b2 = u.b2, one_b1 = u.one_b1, one_b2 = u.one_b2, out = u.eps_out;
	float r[update_block];
	EACH(s0[i] = b1 * s0[i] + one_b1 * g[i]; const float v = b2 * s1[i] + one_b2 * g[i] * g[i]; s1[i] = v; r[i] = v;)
	if (u.max) EACH(r[i] = s2[i] = max__f(s2[i], r[i]);)
	roots(r, n);
	EACH(p[i] = c0 * p[i] - (c1 * s0[i] + c2 * g[i]) / (r[i] * c3 + out);)
}

// In double: v - w² cancels, and so may what is taken off the parameter.
static void rmsprop(const Update &u, float *p, const float *g, float *s0, float *s1, float *s2, int64_t n) {
	float *a = u.centered ? s1 : nullptr, *b = u.momentum ? (u.centered ? s2 : s1) : nullptr;
	const double k = u.b2_exact, l = 1 - k, c0 = u.c[0], c1 = u.c[1], c2 = u.c[2], c3 = u.c[3], in = u.eps_in, out = u.eps_out;
	double r[update_block];
	EACH(const double v = k * s0[i] + l * g[i] * g[i]; s0[i] = float(v); r[i] = v;)
	if (a) EACH(const double w = k * a[i] + l * g[i]; a[i] = float(w); r[i] -= w * w;)
	EACH(r[i] += in;)
	roots(r, n);
	EACH(r[i] = g[i] / (r[i] + out);)
	if (b) EACH(r[i] = c1 * b[i] + c2 * r[i]; b[i] = float(r[i]);)
	EACH(p[i] = float(c0 * p[i] - c3 * r[i]);)
}

static void adagrad(const Update &u, float *p, const float *g, float *s0, int64_t n) {
	const float c0 = u.c[0], c1 = u.c[1], in = u.eps_in, out = u.eps_out;
	float r[update_block];
	EACH(const float v = s0[i] + g[i] * g[i]; s0[i] = v; r[i] = v + in;)
	roots(r, n);
	EACH(p[i] = c0 * p[i] - c1 * g[i] / (r[i] + out);)
}

static void adadelta(const Update &u, float *p, const float *g, float *s0, float *s1, int64_t n) {
	const float c0 = u.c[0], c1 = u.c[1], b2 = u.b2, one_b2 = u.one_b2, in = u.eps_in;
	float r[update_block], q[update_block];
	EACH(const float v = b2 * s0[i] + one_b2 * g[i] * g[i]; s0[i] = v; r[i] = v + in; q[i] = s1[i] + in;)
	roots(r, n);
	roots(q, n);
	EACH(const float t = q[i] / r[i] * g[i]; s1[i] = b2 * s1[i] + one_b2 * t * t; p[i] = c0 * p[i] - c1 * t;)
}

static void adamax(const Update &u, float *p, const float *g, float *s0, float *s1, int64_t n) {
	const float c0 = u.c[0], c1 = u.c[1], b1 = u.b1, b2 = u.b2, one_b1 = u.one_b1, in = u.eps_in, out = u.eps_out;
	EACH(const float m = b1 * s0[i] + one_b1 * g[i]; const float v = max__f(b2 * s1[i], fabsf(g[i]) + in); s0[i] = m; s1[i] = v;
		 p[i] = c0 * p[i] - c1 * m / (v + out);)
}

static void linear(const Update &u, float *p, const float *g, float *s0, int64_t n) {
	const float c0 = u.c[0], c1 = u.c[1], c2 = u.c[2], c3 = u.c[3], c4 = u.c[4];
	if (u.momentum)
		EACH(const float v = c1 * s0[i] + c2 * g[i]; s0[i] = v; p[i] = c0 * p[i] - (c3 * v + c4 * g[i]);)
	else
		EACH(p[i] = c0 * p[i] - c4 * g[i];)
}

static void update(const Update &u, float *p, const float *g, float *s0, float *s1, float *s2, int64_t total) {
	float decayed[update_block];
	for (int64_t at = 0; at < total; at += update_block) {
		const int64_t n = total - at < update_block ? total - at : update_block;
		const float *d = g + at;
		float *q = p + at;
		if (u.decay) {
			const float l2 = u.l2;
			EACH(decayed[i] = d[i] + l2 * q[i];)
			d = decayed;
		}
		switch (u.kind) {
		case NM_RULE_LINEAR: linear(u, q, d, s0 + at, n); break;
		case NM_RULE_ADAM: adam(u, q, d, s0 + at, s1 + at, s2 + at, n); break;
		case NM_RULE_ADAMAX: adamax(u, q, d, s0 + at, s1 + at, n); break;
		case NM_RULE_RMSPROP: rmsprop(u, q, d, s0 + at, s1 + at, s2 + at, n); break;
		case NM_RULE_ADAGRAD: adagrad(u, q, d, s0 + at, n); break;
		case NM_RULE_ADADELTA: adadelta(u, q, d, s0 + at, s1 + at, n); break;
		}
	}
}
#undef EACH
