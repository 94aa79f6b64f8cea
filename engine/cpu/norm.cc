//go:build cgo && amd64

// Batch norm over (rows, channels). Ioffe and Szegedy 2015, algorithm 1 and section 3.
#include "kernels.hpp"
#include "plan.hpp"

using nm::Run;

constexpr int64_t max_pieces = 16, least_rows = 64;

// sums adds pieces of rows into accumulators of width doubles per piece and those in order into the first.
template <class F> static void sums(const Run &r, double *acc, int64_t pieces, int64_t rows, int64_t channels, int64_t width, F &&f) {
	nm::parallel(r, pieces, 0.5 * double(rows * channels) / double(pieces), 1, [&](int64_t lo, int64_t hi) {
		for (int64_t q = lo; q < hi; q++) {
			std::fill(acc + q * width, acc + (q + 1) * width, 0.0);
			f(rows * q / pieces, rows * (q + 1) / pieces, acc + q * width);
		}
	});
	for (int64_t q = 1; q < pieces; q++)
		for (int64_t i = 0; i < width; i++) acc[i] += acc[q * width + i];
}

// scale_shift is the pass y = (x-mean)·scale + shift, and what is done along with it.
static void scale_shift(const Run &r, const nm::Kernels &kn, const nm::Along &along, const float *x, float *y, int64_t rows, int64_t channels,
	const float *mean, const float *scale, const float *shift) {
	nm::parallel(r, rows, (0.4 + along.cost) * double(channels), 1, [&](int64_t lo, int64_t hi) {
		nm::blocks(lo * channels, hi * channels, channels, [&](int64_t a, int64_t b) {
			kn.scale_shift(x + a, y + a, (b - a) / channels, channels, mean, scale, shift);
			along(r, a, b);
		});
	});
}

extern "C" {

// Two passes for the statistics: a difference of large sums would lose them.
void nm_batch_norm(nm_plan *p, double epsilon, const float *x, const float *scale, const float *bias, float *y, float *mean, float *var, int64_t rows,
	int64_t channels) {
	const int64_t pieces = std::clamp<int64_t>(rows / least_rows, 1, max_pieces);
	guard(p, [&] {
		double *acc = p->scratch<double>(pieces * channels), *m = p->scratch<double>(channels);
		float *k = p->scratch<float>(channels), *mf = p->scratch<float>(channels), *shift = p->scratch<float>(channels);
		step(p, [=, &kn = nm::kernels(), along = p->take_along()](const Run &r) {
			sums(r, acc, pieces, rows, channels, channels,
				[&](int64_t lo, int64_t hi, double *a) { kn.col_sum(x + lo * channels, hi - lo, channels, channels, a); });
			for (int64_t c = 0; c < channels; c++) m[c] = acc[c] / double(rows), mf[c] = float(m[c]);
			sums(r, acc, pieces, rows, channels, channels,
				[&](int64_t lo, int64_t hi, double *a) { kn.deviations(x + lo * channels, hi - lo, channels, m, a); });
			for (int64_t c = 0; c < channels; c++) {
				const double v = acc[c] / double(rows), s = double(scale[c]) / std::sqrt(v + epsilon);
				k[c] = float(s);
				// The mean that is subtracted in float is off by up to half a unit in the last place: the shift makes up for it.
				shift[c] = float(double(bias[c]) + (double(mf[c]) - m[c]) * s);
				mean[c] = mf[c];
				var[c] = float(v);
			}
			scale_shift(r, kn, along, x, y, rows, channels, mf, k, shift);
		});
	});
}

// With x^ = (x-mean)/sqrt(var+e): dbias = sum dy, dscale = sum dy·x^, dx = scale/sqrt(var+e)·(dy - dbias/rows - x^·dscale/rows).
void nm_batch_norm_grad(nm_plan *p, double epsilon, const float *dy, const float *x, const float *scale, const float *mean, const float *var, float *dx,
	float *dscale, float *dbias, int64_t rows, int64_t channels) {
	const int64_t pieces = std::clamp<int64_t>(rows / least_rows, 1, max_pieces);
	guard(p, [&] {
		double *acc = p->scratch<double>(2 * pieces * channels), *m = p->scratch<double>(channels);
		float *k = p->scratch<float>(channels), *b = p->scratch<float>(channels), *s = p->scratch<float>(channels), *mf = p->scratch<float>(channels);
		step(p, [=, &kn = nm::kernels()](const Run &r) {
			for (int64_t c = 0; c < channels; c++) m[c] = double(mean[c]), mf[c] = mean[c];
			sums(r, acc, pieces, rows, channels, 2 * channels, [&](int64_t lo, int64_t hi, double *a) {
				kn.norm_sums(dy + lo * channels, x + lo * channels, hi - lo, channels, m, a, a + channels);
			});
			for (int64_t c = 0; c < channels; c++) {
				const double inv = 1 / std::sqrt(double(var[c]) + epsilon), ds = acc[channels + c] * inv, db = acc[c];
				const double g = double(scale[c]) * inv;
				k[c] = float(g), b[c] = float(g * db / double(rows)), s[c] = float(g * inv * ds / double(rows));
				dscale[c] = float(ds), dbias[c] = float(db);
			}
			nm::parallel(r, rows, 0.5 * double(channels), 1, [&](int64_t lo, int64_t hi) {
				kn.norm_grad(dy + lo * channels, x + lo * channels, dx + lo * channels, hi - lo, channels, mf, k, b, s);
			});
		});
	});
}

void nm_batch_norm_infer(nm_plan *p, double epsilon, const float *x, const float *scale, const float *bias, const float *mean, const float *var,
	float *y, int64_t rows, int64_t channels) {
	guard(p, [&] {
		float *k = p->scratch<float>(channels);
		step(p, [=, &kn = nm::kernels(), along = p->take_along()](const Run &r) {
			for (int64_t c = 0; c < channels; c++) k[c] = float(double(scale[c]) / std::sqrt(double(var[c]) + epsilon));
			scale_shift(r, kn, along, x, y, rows, channels, mean, k, bias);
		});
	});
}

} // extern "C"
