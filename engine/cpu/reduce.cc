//go:build cgo && amd64

// Steps of reductions and of operations along one axis. Long sums are cut into pieces whose number depends on the shape alone and whose
// results are added in order: the bits do not depend on the number of threads.
#include "kernels.hpp"
#include "plan.hpp"

using nm::Run;

constexpr int64_t max_pieces = 16, least_piece = 4096;

static int64_t pieces_of(int64_t work) { return std::clamp<int64_t>(work / least_piece, 1, max_pieces); }

static double fold(int fn, double a, double b) {
	switch (fn) {
	case NM_REDUCE_MAX: return a != a ? a : (a < b || b != b ? b : a);
	case NM_REDUCE_MIN: return a != a ? a : (a > b || b != b ? b : a);
	case NM_REDUCE_PROD: return a * b;
	}
	return a + b;
}

// lines adds a step that calls f(at) for every line along the middle axis of (outer, length, inner): it begins at element at. Where inner is 1 the lines
// lie one after the other, and the step may be done along with another.
template <class F> static void lines(nm_plan *p, double cost, int64_t outer, int64_t length, int64_t inner, F f) {
	if (inner == 1) {
		elementwise(p, outer * length, cost / double(length), length, [=](const Run &, int64_t lo, int64_t hi) {
			for (int64_t at = lo; at < hi; at += length) f(at);
		});
		return;
	}
	step(p, [=](const Run &r) {
		nm::parallel(r, outer * inner, cost, 1, [&](int64_t lo, int64_t hi) {
			for (int64_t i = lo; i < hi; i++) f(i / inner * length * inner + i % inner);
		});
	});
}

extern "C" {

void nm_reduce(nm_plan *p, int fn, const float *x, float *y, int64_t outer, int64_t length, int64_t inner) {
	const auto &k = nm::kernels();
	nm::Row row = k.row_sum;
	nm::Columns columns = k.col_sum;
	double init = 0;
	switch (fn) {
	case NM_REDUCE_MAX: row = k.row_max, columns = k.col_max, init = -std::numeric_limits<double>::infinity(); break;
	case NM_REDUCE_MIN: row = k.row_min, columns = k.col_min, init = std::numeric_limits<double>::infinity(); break;
	case NM_REDUCE_PROD: row = k.row_prod, columns = k.col_prod, init = 1; break;
	}
	const double divisor = fn == NM_REDUCE_MEAN ? double(length) : 1;
	if (inner == 1 && (outer >= 8 || outer * length < least_piece)) {
		step(p, [=](const Run &r) {
			nm::parallel(r, outer, 5 + 0.3 * double(length), 1, [&](int64_t lo, int64_t hi) {
				for (int64_t o = lo; o < hi; o++) y[o] = float(row(x + o * length, length) / divisor);
			});
		});
		return;
	}
	// Pieces of the reduced axis, each into accumulators of its own.
	const int64_t pieces = std::min(pieces_of(length * inner), std::max<int64_t>(1, length));
	guard(p, [&] {
		double *acc = p->scratch<double>(outer * pieces * inner);
		step(p, [=](const Run &r) {
			nm::parallel(r, outer * pieces, 0.4 * double(length * inner) / double(pieces), 1, [&](int64_t lo, int64_t hi) {
				for (int64_t t = lo; t < hi; t++) {
					const int64_t o = t / pieces, from = length * (t % pieces) / pieces, to = length * (t % pieces + 1) / pieces;
					double *a = acc + t * inner;
					if (inner == 1) {
						*a = row(x + o * length + from, to - from);
						continue;
					}
					std::fill(a, a + inner, init);
					columns(x + (o * length + from) * inner, to - from, inner, inner, a);
				}
			});
			for (int64_t o = 0; o < outer; o++) {
				double *a = acc + o * pieces * inner;
				for (int64_t q = 1; q < pieces; q++)
					for (int64_t i = 0; i < inner; i++) a[i] = fold(fn, a[i], a[q * inner + i]);
				for (int64_t i = 0; i < inner; i++) y[o * inner + i] = float(a[i] / divisor);
			}
		});
	});
}

void nm_arg_max(nm_plan *p, const float *x, int32_t *y, int64_t outer, int64_t length, int64_t inner) {
	step(p, [=](const Run &r) {
		nm::parallel(r, outer, double(length * inner), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t o = lo; o < hi; o++)
				for (int64_t i = 0; i < inner; i++) {
					const float *from = x + o * length * inner + i;
					int64_t best = 0;
					for (int64_t k = 1; k < length; k++) {
						const float v = from[k * inner], top = from[best * inner];
						if (v > top || (v != v && top == top)) best = k;
					}
					y[o * inner + i] = int32_t(best);
				}
		});
	});
}

void nm_moments(nm_plan *p, const float *x, float *y, int64_t n) {
	const int64_t pieces = pieces_of(n);
	step(p, [=, f = nm::kernels().moments](const Run &r) {
		double part[max_pieces][6];
		nm::parallel(r, pieces, 1.5 * double(n) / double(pieces), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t q = lo; q < hi; q++) f(x + n * q / pieces, n * (q + 1) / pieces - n * q / pieces, part[q]);
		});
		for (int64_t q = 1; q < pieces; q++)
			for (int k = 0; k < 6; k++) part[0][k] = k == 4 ? std::max(part[0][k], part[q][k]) : part[0][k] + part[q][k];
		const double finite = part[0][0], d = std::max(finite, 1.0);
		y[0] = float(double(n) - finite);
		for (int k = 1; k < 6; k++) y[k] = float(k == 4 ? part[0][k] : part[0][k] / d);
	});
}

void nm_softmax(nm_plan *p, int log, const float *x, float *y, int64_t outer, int64_t length, int64_t inner) {
	lines(p, 15 + 2 * double(length), outer, length, inner,
		[=, f = nm::kernels().softmax](int64_t at) { f(x + at, y + at, length, inner, log); });
}

void nm_softmax_grad(nm_plan *p, int log, const float *dy, const float *y, float *dx, int64_t outer, int64_t length, int64_t inner) {
	lines(p, 10 + 1.5 * double(length), outer, length, inner,
		[=, f = nm::kernels().softmax_grad](int64_t at) { f(dy + at, y + at, dx + at, length, inner, log); });
}

} // extern "C"
