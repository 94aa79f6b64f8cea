//go:build cgo && amd64

// Pools over channels-last tensors: the innermost loop is over channels, a sample belongs to one thread.
#include "kernels.hpp"
#include "plan.hpp"

using nm::Run;

// taps calls f(offset) for the elements of the window of output (z, y, x) in row-major order: offset is a place of the input.
template <class F> static void taps(const nm_window &w, const int64_t at[NM_SPATIAL], F &&f) {
	int64_t from[NM_SPATIAL];
	for (int a = 0; a < NM_SPATIAL; a++) from[a] = at[a] * w.stride[a] - w.begin[a];
	for (int64_t kz = 0; kz < w.kernel[0]; kz++) {
		const int64_t z = from[0] + kz * w.dilation[0];
		if (z < 0 || z >= w.in[0]) continue;
		for (int64_t ky = 0; ky < w.kernel[1]; ky++) {
			const int64_t y = from[1] + ky * w.dilation[1];
			if (y < 0 || y >= w.in[1]) continue;
			for (int64_t kx = 0; kx < w.kernel[2]; kx++) {
				const int64_t x = from[2] + kx * w.dilation[2];
				if (x >= 0 && x < w.in[2]) f((z * w.in[1] + y) * w.in[2] + x);
			}
		}
	}
}

// outputs calls f(sample, output place, its coordinates) for all outputs of the samples of a thread.
template <class F> static void outputs(const Run &r, const nm_window &w, F &&f) {
	const int64_t places = w.out[0] * w.out[1] * w.out[2], work = w.ci * places * w.kernel[0] * w.kernel[1] * w.kernel[2];
	nm::parallel(r, w.n, 0.3 * double(work) + 5 * double(places), 1, [&](int64_t lo, int64_t hi) {
		for (int64_t s = lo; s < hi; s++) {
			int64_t at[NM_SPATIAL];
			int64_t o = 0;
			for (at[0] = 0; at[0] < w.out[0]; at[0]++)
				for (at[1] = 0; at[1] < w.out[1]; at[1]++)
					for (at[2] = 0; at[2] < w.out[2]; at[2]++, o++) f(s, o, at);
		}
	});
}

static int64_t in_places(const nm_window &w) { return w.in[0] * w.in[1] * w.in[2]; }
static int64_t out_places(const nm_window &w) { return w.out[0] * w.out[1] * w.out[2]; }

// divisor is the number of elements of a window that count; at least 1.
static float divisor(const nm_window &w, const int64_t at[NM_SPATIAL]) {
	int64_t d = 1;
	for (int a = 0; a < NM_SPATIAL; a++) {
		int64_t n = 0;
		for (int64_t k = 0; k < w.kernel[a]; k++) {
			const int64_t i = at[a] * w.stride[a] + k * w.dilation[a] - w.begin[a];
			n += (i >= 0 && i < w.in[a]) || (w.count_pad && i < w.in[a] + w.end[a]);
		}
		d *= n;
	}
	return float(std::max<int64_t>(d, 1));
}

// squares calls f(sample, row of outputs) for all rows of the samples of a thread.
template <class F> static void squares(const Run &r, const nm_window &w, double cost, F &&f) {
	nm::parallel(r, w.n, cost * double(w.ci * in_places(w)), 1, [&](int64_t lo, int64_t hi) {
		for (int64_t s = lo; s < hi; s++)
			for (int64_t o = 0; o < w.out[1]; o++) f(s, o);
	});
}

extern "C" {

int nm_pools_squares(const nm_window *w) {
	bool yes = w->in[0] == 1 && w->out[0] == 1 && w->kernel[0] == 1 && w->begin[0] == 0;
	for (int a = 1; a < NM_SPATIAL; a++)
		yes = yes && w->kernel[a] == 2 && w->stride[a] == 2 && w->dilation[a] == 1 && w->begin[a] == 0 && w->out[a] * 2 <= w->in[a];
	return yes;
}

void nm_max_pool(nm_plan *p, const nm_window *win, const float *x, float *y) {
	if (nm_pools_squares(win)) {
		step(p, [=, w = *win, f = nm::kernels().pool_square](const Run &r) {
			const int64_t row = w.in[2] * w.ci;
			squares(r, w, 0.3, [&](int64_t s, int64_t o) {
				f(x + s * in_places(w) * w.ci + 2 * o * row, y + (s * out_places(w) + o * w.out[2]) * w.ci, w.out[2], w.ci, row);
			});
		});
		return;
	}
	step(p, [=, w = *win, f = nm::kernels().pool_max](const Run &r) {
		outputs(r, w, [&](int64_t s, int64_t o, const int64_t *at) {
			float *to = y + (s * out_places(w) + o) * w.ci;
			std::fill(to, to + w.ci, -std::numeric_limits<float>::infinity());
			taps(w, at, [&](int64_t i) { f(to, x + (s * in_places(w) + i) * w.ci, w.ci); });
		});
	});
}

void nm_max_pool_grad(nm_plan *p, const nm_window *win, int relu, const float *dy, const float *x, const float *y, float *dx) {
	if (nm_pools_squares(win)) {
		step(p, [=, w = *win, f = nm::kernels().pool_square_grad](const Run &r) {
			const int64_t row = w.in[2] * w.ci, done = 2 * w.out[2] * w.ci;
			squares(r, w, 0.5, [&](int64_t s, int64_t o) {
				const int64_t from = (s * out_places(w) + o * w.out[2]) * w.ci, to = s * in_places(w) * w.ci + 2 * o * row;
				f(dy + from, x + to, y + from, dx + to, w.out[2], w.ci, row, relu != 0);
				// What no square covers: the last column, and the last row behind the last squares.
				std::fill(dx + to + done, dx + to + row, 0.0f);
				std::fill(dx + to + row + done, dx + to + 2 * row, 0.0f);
				if (o + 1 == w.out[1]) std::fill(dx + to + 2 * row, dx + (s + 1) * in_places(w) * w.ci, 0.0f);
			});
		});
		return;
	}
	nm_fill(p, dx, win->n * in_places(*win) * win->ci, 0);
	step(p, [=, w = *win, f = nm::kernels().pool_give](const Run &r) {
		constexpr int64_t block = 256;
		outputs(r, w, [&](int64_t s, int64_t o, const int64_t *at) {
			for (int64_t c = 0; c < w.ci; c += block) {
				const int64_t n = std::min(block, w.ci - c);
				int32_t taken[block];
				std::fill(taken, taken + n, 0);
				const int64_t from = (s * out_places(w) + o) * w.ci + c;
				taps(w, at, [&](int64_t i) {
					const int64_t to = (s * in_places(w) + i) * w.ci + c;
					f(dx + to, dy + from, x + to, y + from, taken, n);
				});
			}
		});
	});
}

void nm_avg_pool(nm_plan *p, const nm_window *win, const float *x, float *y) {
	step(p, [=, w = *win, add = nm::kernels().col_sum](const Run &r) {
		constexpr int64_t block = 256;
		outputs(r, w, [&](int64_t s, int64_t o, const int64_t *at) {
			const double d = divisor(w, at);
			for (int64_t c = 0; c < w.ci; c += block) {
				const int64_t n = std::min(block, w.ci - c);
				double sum[block];
				std::fill(sum, sum + n, 0.0);
				taps(w, at, [&](int64_t i) { add(x + (s * in_places(w) + i) * w.ci + c, 1, 0, n, sum); });
				float *to = y + (s * out_places(w) + o) * w.ci + c;
				for (int64_t k = 0; k < n; k++) to[k] = float(sum[k] / d);
			}
		});
	});
}

void nm_avg_pool_grad(nm_plan *p, const nm_window *win, const float *dy, float *dx) {
	nm_fill(p, dx, win->n * in_places(*win) * win->ci, 0);
	step(p, [=, w = *win, add = nm::kernels().axpy](const Run &r) {
		outputs(r, w, [&](int64_t s, int64_t o, const int64_t *at) {
			const float share = 1 / divisor(w, at);
			taps(w, at, [&](int64_t i) { add(dx + (s * in_places(w) + i) * w.ci, dy + (s * out_places(w) + o) * w.ci, w.ci, share); });
		});
	});
}

} // extern "C"
