// Elementary functions in double, written so that the compiler vectorises loops over them. Arguments and results are float elsewhere: a
// relative error of 1e-11 here becomes half a unit in the last place there, also where a difference cancels.

static inline double as_double(int64_t v) { return __builtin_bit_cast(double, v); }
static inline int64_t as_int(double v) { return __builtin_bit_cast(int64_t, v); }

// exp: x = k·log 2 + r, |r| <= log(2)/2, Taylor's series of exp(r) to r^12 (error below 3e-16); 2^k is put together from its exponent.
// Beyond ±700, far outside float's range, 0 and infinity; NaN passes the comparisons.
static inline double exp_d(double v) {
	double x = v < -700.0 ? -700.0 : v;
	x = x > 700.0 ? 700.0 : x;
	double t = x * 1.44269504088896340736 + 0x1.8p52; // rounds to an integer in the low bits
	double k = t - 0x1.8p52;
	double r = FMA(k, -0x1.62e42fefa39efp-1, x);
	r = FMA(k, -0x1.abc9e3b39803fp-56, r);
	double p = 1.0 / 479001600;
	p = FMA(p, r, 1.0 / 39916800);
	p = FMA(p, r, 1.0 / 3628800);
	p = FMA(p, r, 1.0 / 362880);
	p = FMA(p, r, 1.0 / 40320);
	p = FMA(p, r, 1.0 / 5040);
	p = FMA(p, r, 1.0 / 720);
	p = FMA(p, r, 1.0 / 120);
	p = FMA(p, r, 1.0 / 24);
	p = FMA(p, r, 1.0 / 6);
	p = FMA(p, r, 0.5);
	p = FMA(p, r, 1.0);
	p = FMA(p, r, 1.0);
	double e = p * as_double(int64_t(uint64_t(as_int(t) + 1023) << 52));
	e = v < -700.0 ? 0.0 : e;
	return v > 700.0 ? INFINITY : e;
}

// log of a positive normal number: x = 2^e·m, m in [sqrt(1/2), sqrt(2)); log m = 2·atanh(s), s = (m-1)/(m+1), |s| < 0.172.
static inline double log_positive(double x) {
	int64_t u = as_int(x) - 0x3fe6a09e667f3bcdLL;                  // bits of sqrt(1/2)
	int64_t biased = int64_t(uint64_t(u + (int64_t(2048) << 52)) >> 52); // 2048 + e, never negative
	double e = as_double(biased | 0x4330000000000000LL) - (0x1p52 + 2048.0);
	double m = as_double(as_int(x) - int64_t(uint64_t(biased - 2048) << 52));
	double s = (m - 1.0) / (m + 1.0), q = s * s;
	double p = 2.0 / 19;
	p = FMA(p, q, 2.0 / 17);
	p = FMA(p, q, 2.0 / 15);
	p = FMA(p, q, 2.0 / 13);
	p = FMA(p, q, 2.0 / 11);
	p = FMA(p, q, 2.0 / 9);
	p = FMA(p, q, 2.0 / 7);
	p = FMA(p, q, 2.0 / 5);
	p = FMA(p, q, 2.0 / 3);
	return FMA(e, 0.693147180559945309417, FMA(p * q, s, 2.0 * s));
}

static inline double log_d(double x) {
	double l = log_positive(x);
	l = x == 0.0 ? -INFINITY : l;
	l = x < 0.0 ? NAN : l;
	l = x == INFINITY ? x : l;
	return x != x ? x : l;
}

// exp(x)-1, the series where it would cancel below float's needs.
static inline double expm1_d(double x) {
	double e = exp_d(x) - 1.0;
	return fabs(x) < 1e-4 ? FMA(x * x, FMA(x, 1.0 / 6, 0.5), x) : e;
}

// log(1+x) for x >= 0: below 1e-5 the series.
static inline double log1p_d(double x) {
	double l = log_positive(1.0 + x);
	return x < 1e-5 ? FMA(x * x, FMA(x, 1.0 / 3, -0.5), x) : l;
}

// The same where x may be infinite or NaN.
static inline double log1p_any(double x) {
	double l = log1p_d(x);
	l = x == INFINITY ? x : l;
	return x != x ? x : l;
}

static inline double sigmoid_d(double x) { return 1.0 / (1.0 + exp_d(-x)); }

static inline double tanh_d(double x) {
	double a = fabs(x);
	double e = expm1_d(-2.0 * a);
	double t = -e / (e + 2.0);
	return x < 0.0 ? -t : (x == 0.0 ? x : t);
}

// sinh and cosh: with e = exp|x|-1, sinh |x| = (e + e/(e+1))/2, which does not cancel near 0. 100 stands for all that is beyond float's range.
static inline double sinh_d(double x) {
	double a = fabs(x);
	double e = expm1_d(a > 100.0 ? 100.0 : a);
	return copysign(0.5 * (e + e / (e + 1.0)), x);
}

static inline double cosh_d(double x) {
	double e = exp_d(fabs(x));
	return 0.5 * (e + 1.0 / e);
}

// atanh |x| = log(1 + 2|x|/(1-|x|))/2.
static inline double atanh_d(double x) {
	double a = fabs(x);
	double l = 0.5 * log1p_any(2.0 * a / (1.0 - a));
	return copysign(a > 1.0 ? NAN : l, x);
}

// atan: |x| is taken to 0..0.66 by atan x = π/2 - atan(1/x) and atan x = π/4 + atan((x-1)/(x+1)); there Moshier's rational function
// (Cephes 2.8, atan.c), off by 2e-16.
static inline double atan_d(double x) {
	double a = fabs(x);
	bool far = a > 2.41421356237309504880, mid = a > 0.66; // far: beyond tan(3π/8)
	double num = far ? -1.0 : (mid ? a - 1.0 : a);
	double den = far ? a : (mid ? a + 1.0 : 1.0);
	double base = far ? 1.57079632679489661923 : (mid ? 0.785398163397448309616 : 0.0);
	double t = num / den, z = t * t;
	double p = -8.750608600031904122785e-01;
	p = FMA(p, z, -1.615753718733365076637e+01);
	p = FMA(p, z, -7.500855792314704667340e+01);
	p = FMA(p, z, -1.228866684490136173410e+02);
	p = FMA(p, z, -6.485021904942025371773e+01);
	double q = z + 2.485846490142306297962e+01;
	q = FMA(q, z, 1.650270098316988542046e+02);
	q = FMA(q, z, 4.328810604912902668951e+02);
	q = FMA(q, z, 4.853903996359136964868e+02);
	q = FMA(q, z, 1.945506571482613964425e+02);
	return copysign(base + FMA(t, z * p / q, t), x);
}

static inline double softplus_d(double x) {
	double l = log1p_d(exp_d(-fabs(x)));
	return (x < 0.0 ? 0.0 : x) + (x != x ? x : l);
}

// erfc: with t = 1/(1+x/2), log(erfc(x)·exp(x²)/t) is smooth in t (Press et al., Numerical Recipes, section 6.2); a Chebyshev interpolant of
// degree 16 over x in [0, 10.5], computed with 50 digits, is off by 1.4e-12. Beyond, erfc is below float's range: 0.
static inline double erfc_positive(double v) {
	double x = v > 10.5 ? 10.5 : v;
	double t = 1.0 / FMA(0.5, x, 1.0);
	double u = FMA(t, 2.380952380952381, -1.380952380952381);
	double p = 0x1.611c364f33e7fp-24;
	p = FMA(p, u, 0x1.4ab145f045794p-22);
	p = FMA(p, u, -0x1.544889b2e808ap-20);
	p = FMA(p, u, -0x1.8bd579897e933p-20);
	p = FMA(p, u, 0x1.3c09037c1d285p-17);
	p = FMA(p, u, -0x1.85a5e39dc49a3p-19);
	p = FMA(p, u, -0x1.800e6230ce9fbp-15);
	p = FMA(p, u, 0x1.343f28279d907p-14);
	p = FMA(p, u, 0x1.446d415789f52p-13);
	p = FMA(p, u, -0x1.33d3713e8dd24p-11);
	p = FMA(p, u, -0x1.1887240ae79bfp-12);
	p = FMA(p, u, 0x1.fc30c2cf6e213p-9);
	p = FMA(p, u, -0x1.429d6bf21b5dep-10);
	p = FMA(p, u, -0x1.edf0745f06c69p-6);
	p = FMA(p, u, 0x1.11e03a2e4de61p-6);
	p = FMA(p, u, 0x1.2633474f71681p-1);
	p = FMA(p, u, -0x1.2056161149806p-1);
	double c = t * exp_d(FMA(-x, x, p));
	return v > 10.5 ? 0.0 : c;
}

static inline double erfc_d(double x) {
	double c = erfc_positive(fabs(x));
	return x < 0.0 ? 2.0 - c : c;
}

// erf: Taylor's series below 0.7 (to x^23: error 2e-15), 1-erfc above.
static inline double erf_d(double x) {
	double a = fabs(x), q = x * x;
	double p = -1.0 / (39916800.0 * 23);
	p = FMA(p, q, 1.0 / (3628800.0 * 21));
	p = FMA(p, q, -1.0 / (362880.0 * 19));
	p = FMA(p, q, 1.0 / (40320.0 * 17));
	p = FMA(p, q, -1.0 / (5040.0 * 15));
	p = FMA(p, q, 1.0 / (720.0 * 13));
	p = FMA(p, q, -1.0 / (120.0 * 11));
	p = FMA(p, q, 1.0 / (24.0 * 9));
	p = FMA(p, q, -1.0 / (6.0 * 7));
	p = FMA(p, q, 1.0 / (2.0 * 5));
	p = FMA(p, q, -1.0 / 3);
	p = FMA(p, q, 1.0);
	double far = 1.0 - erfc_positive(a);
	far = x < 0.0 ? -far : far;
	return a < 0.7 ? 1.12837916709551257390 * x * p : far;
}
