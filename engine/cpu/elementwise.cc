//go:build cgo && amd64

// Steps of elementwise operations, dropout and optimizers.
#include "kernels.hpp"
#include "plan.hpp"

using nm::Run;

// cost of a function per element in nanoseconds, roughly: polynomials vectorise, the library's sin, cos and pow do not.
static double unary_cost(int fn) {
	switch (fn) {
	case NM_SIN: case NM_COS: return 15;
	case NM_ASIN: case NM_ACOS: case NM_ATAN: case NM_SINH: case NM_ASINH: case NM_ACOSH: case NM_ATANH: case NM_EXP: case NM_LOG: case NM_ERF: case NM_ELU: case NM_SELU: case NM_CELU: case NM_SIGMOID: case NM_TANH: case NM_SOFTPLUS: case NM_GELU:
	case NM_GELU_TANH: case NM_SWISH: case NM_MISH: return 1.5;
	}
	return 0.3;
}

// cost of an update per element in nanoseconds: what it loads and stores, and its roots and divisions.
static double update_cost(const nm_rule &r) {
	switch (r.kind) {
	case NM_RULE_LINEAR: return r.momentum ? 0.2 : 0.12;
	case NM_RULE_RMSPROP: return 1.5; // in double
	case NM_RULE_ADADELTA: return 0.8;
	}
	return 0.5;
}

extern "C" {

void nm_unary(nm_plan *p, int fn, double alpha, double beta, const float *x, float *y, int64_t n) {
	elementwise(p, n, unary_cost(fn), 1, [=, f = nm::kernels().unary[fn]](const Run &, int64_t lo, int64_t hi) { f(x + lo, y + lo, hi - lo, alpha, beta); });
}

void nm_unary_grad(nm_plan *p, int fn, double alpha, double beta, const float *dy, const float *x, float *dx, int64_t n) {
	elementwise(p, n, unary_cost(fn) + 0.2, 1,
		[=, f = nm::kernels().unary_grad[fn]](const Run &, int64_t lo, int64_t hi) { f(dy + lo, x + lo, dx + lo, hi - lo, alpha, beta); });
}

void nm_to_bf16(nm_plan *p, const float *x, void *y, int64_t n) {
	step(p, [=, f = nm::kernels().to_bf16, y = static_cast<uint16_t *>(y)](const Run &r) {
		nm::parallel(r, n, 0.2, 64, [&](int64_t lo, int64_t hi) { f(x + lo, y + lo, hi - lo); });
	});
}

void nm_binary(nm_plan *p, int fn, const float *a, const float *b, float *y, const nm_walk *walk) {
	elementwise(p, nm::elements(*walk), fn == NM_POW ? 20 : 0.4, 1, [=, w = *walk, f = nm::kernels().binary[fn]](const Run &, int64_t lo, int64_t hi) {
		const int64_t sa = w.stride[0][w.n - 1], sb = w.stride[1][w.n - 1];
		nm::between<3>(w, lo, hi, [&](const int64_t *at, int64_t n) { f(a + at[0], sa, b + at[1], sb, y + at[2], n); });
	});
}

void nm_where(nm_plan *p, const float *c, const float *a, const float *b, float *y, const nm_walk *walk) {
	elementwise(p, nm::elements(*walk), 0.5, 1, [=, w = *walk, f = nm::kernels().where](const Run &, int64_t lo, int64_t hi) {
		const int last = w.n - 1;
		nm::between<4>(w, lo, hi, [&](const int64_t *at, int64_t n) {
			f(c + at[0], w.stride[0][last], a + at[1], w.stride[1][last], b + at[2], w.stride[2][last], y + at[3], n);
		});
	});
}

void nm_lerp(nm_plan *p, double alpha, double beta, float *s, const float *x, int64_t n) {
	step(p, [=, f = nm::kernels().lerp](const Run &r) {
		nm::parallel(r, n, 0.4, 64, [&](int64_t lo, int64_t hi) { f(s + lo, x + lo, hi - lo, float(alpha), float(beta)); });
	});
}

void nm_update(nm_plan *plan, const nm_rule *rule, float *p, const float *g, const float *c, float *s0, float *s1, float *s2, int64_t n) {
	nm::Update u{};
	u.kind = rule->kind;
	u.momentum = rule->momentum, u.max = rule->max, u.centered = rule->centered, u.decay = rule->l2 != 0;
	u.b1 = float(rule->b1), u.b2 = float(rule->b2), u.one_b1 = float(1 - rule->b1), u.one_b2 = float(1 - rule->b2);
	u.b2_exact = rule->b2;
	u.eps_in = float(rule->eps_in), u.eps_out = float(rule->eps_out), u.l2 = float(rule->l2);
	step(plan, [=, f = nm::kernels().update, cost = update_cost(*rule)](const Run &r) mutable {
		std::copy(c, c + NM_COEFS, u.c);
		auto at = [](float *s, int64_t lo) { return s == nullptr ? nullptr : s + lo; };
		nm::parallel(r, n, cost, 64, [&](int64_t lo, int64_t hi) { f(u, p + lo, g + lo, at(s0, lo), at(s1, lo), at(s2, lo), hi - lo); });
	});
}

void nm_dropout(nm_plan *p, double rate, uint32_t threshold, uint32_t stream, const float *x, float *y, int64_t n, int64_t channels, int64_t plane) {
	if (rate >= 1) {
		nm_fill(p, y, n, 0);
		return;
	}
	const float keep = float(1 - rate);
	const auto &k = nm::kernels();
	if (channels <= 1 || plane <= 1) {
		elementwise(p, n, 1, 1,
			[=, f = k.drop](const Run &r, int64_t lo, int64_t hi) { f(x + lo, y + lo, lo, hi - lo, r.seed, r.number, stream, threshold, keep); });
		return;
	}
	// Channels-last: the factors of a sample are drawn in row-major order, (channel, place), and read across.
	guard(p, [&] {
		const int64_t sample = channels * plane;
		float *scratch = p->scratch<float>(2 * sample * p->pool.threads());
		step(p, [=, f = k.drop_factors, scale = k.drop_across](const Run &r) {
			const int64_t samples = n / sample;
			const int parts = nm::parts(r, samples, 2.0 * double(sample));
			r.pool->all(parts, [&](int part) {
				float *factor = scratch + 2 * part * sample;
				for (int64_t s = samples * part / parts; s < samples * (part + 1) / parts; s++) {
					f(factor, s * sample, sample, r.seed, r.number, stream, threshold);
					scale(factor, factor + sample, x + s * sample, y + s * sample, channels, plane, keep);
				}
			});
		});
	});
}

} // extern "C"
