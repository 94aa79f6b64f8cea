//go:build cgo && amd64

// Steps that put elements elsewhere. They work on words of 32 bits, which is what both element types are.
#include "kernels.hpp"
#include "plan.hpp"

using nm::Run;
using Word = uint32_t;

static const Word *in(const void *p) { return static_cast<const Word *>(p); }
static Word *out(void *p) { return static_cast<Word *>(p); }

// index resolves an index of Gather; -1 is out of range.
static int64_t index(int32_t i, int64_t length) {
	int64_t k = i < 0 ? i + length : i;
	return k < 0 || k >= length ? -1 : k;
}

// transpose writes a (rows, cols) matrix as (cols, rows), in tiles that fit the first-level cache.
static void transpose(const Word *x, Word *y, int64_t rows, int64_t cols) {
	constexpr int64_t tile = 32;
	for (int64_t r0 = 0; r0 < rows; r0 += tile)
		for (int64_t c0 = 0; c0 < cols; c0 += tile)
			for (int64_t r = r0; r < std::min(rows, r0 + tile); r++)
				for (int64_t c = c0; c < std::min(cols, c0 + tile); c++) y[c * rows + r] = x[r * cols + c];
}

extern "C" {

void nm_batch(nm_plan *p, const void *x, void *y, int64_t row) {
	step(p, [=, x = in(x), y = out(y)](const Run &r) {
		nm::parallel(r, r.batch, 0.3 * double(row), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t i = lo; i < hi; i++) memcpy(y + i * row, x + r.rows[i] * row, size_t(row) * sizeof(Word));
		});
	});
}

void nm_copy(nm_plan *p, const void *x, void *y, int64_t n) {
	step(p, [=, x = in(x), y = out(y)](const Run &r) {
		nm::parallel(r, n, 0.3, 64, [&](int64_t lo, int64_t hi) { memcpy(y + lo, x + lo, size_t(hi - lo) * sizeof(Word)); });
	});
}

void nm_strided(nm_plan *p, const void *x, void *y, const nm_walk *walk) {
	elementwise(p, nm::elements(*walk), 0.6, 1, [=, x = in(x), y = out(y), w = *walk](const Run &, int64_t lo, int64_t hi) {
		const int64_t ty = w.stride[0][w.n - 1], tx = w.stride[1][w.n - 1];
		nm::between<2>(w, lo, hi, [&](const int64_t *at, int64_t n) {
			Word *to = y + at[0];
			const Word *from = x + at[1];
			if (ty == 1 && tx == 1)
				memcpy(to, from, size_t(n) * sizeof(Word));
			else
				for (int64_t i = 0; i < n; i++) to[i * ty] = from[i * tx];
		});
	});
}

void nm_fill(nm_plan *p, void *y, int64_t n, uint32_t word) {
	step(p, [=, y = out(y)](const Run &r) { nm::parallel(r, n, 0.15, 64, [&](int64_t lo, int64_t hi) { std::fill(y + lo, y + hi, word); }); });
}

void nm_transpose(nm_plan *p, const void *x, void *y, int64_t batch, int64_t rows, int64_t cols) {
	step(p, [=, x = in(x), y = out(y)](const Run &r) {
		nm::parallel(r, batch, 0.7 * double(rows * cols), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t i = lo; i < hi; i++) transpose(x + i * rows * cols, y + i * rows * cols, rows, cols);
		});
	});
}

void nm_gather(nm_plan *p, const void *x, const int32_t *i, void *y, int64_t outer, int64_t length, int64_t inner, int64_t count, uint32_t missing) {
	step(p, [=, x = in(x), y = out(y)](const Run &r) {
		nm::parallel(r, outer * count, 5 + 0.3 * double(inner), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t row = lo; row < hi; row++) {
				const int64_t k = index(i[row % count], length);
				Word *to = y + row * inner;
				if (k < 0)
					std::fill(to, to + inner, missing);
				else
					memcpy(to, x + (row / count * length + k) * inner, size_t(inner) * sizeof(Word));
			}
		});
	});
}

// Every element of dx is added to in the order of the indices: threads share out the rows of dx, and each looks through all indices for its own.
void nm_gather_grad(nm_plan *p, const float *dy, const int32_t *i, float *dx, int64_t outer, int64_t length, int64_t inner, int64_t count) {
	nm_fill(p, dx, outer * length * inner, 0);
	step(p, [=, add = nm::kernels().axpy](const Run &r) {
		nm::parallel(r, outer * length, double(count) * (5 + 0.3 * double(inner)) / double(std::max<int64_t>(1, length)), 1, [&](int64_t lo, int64_t hi) {
			for (int64_t o = lo / length; o * length < hi; o++) {
				const int64_t least = std::max<int64_t>(0, lo - o * length), end = std::min(length, hi - o * length);
				for (int64_t j = 0; j < count; j++) {
					const int64_t k = index(i[j], length);
					if (k >= least && k < end) add(dx + (o * length + k) * inner, dy + (o * count + j) * inner, inner, 1.0f);
				}
			}
		});
	});
}

void nm_cast_int(nm_plan *p, const float *x, int32_t *y, int64_t n) {
	step(p, [=](const Run &) {
		for (int64_t i = 0; i < n; i++) {
			const float v = x[i];
			y[i] = v != v ? 0 : v >= 2147483648.0f ? INT32_MAX : v <= -2147483648.0f ? INT32_MIN : int32_t(v);
		}
	});
}

void nm_cast_float(nm_plan *p, const int32_t *x, float *y, int64_t n) {
	step(p, [=](const Run &) {
		for (int64_t i = 0; i < n; i++) y[i] = float(x[i]);
	});
}

void nm_one_hot(nm_plan *p, const int32_t *x, float *y, int64_t n, int64_t classes) {
	step(p, [=](const Run &r) {
		nm::parallel(r, n, 2 + 0.2 * double(classes), 1, [&](int64_t lo, int64_t hi) {
			std::fill(y + lo * classes, y + hi * classes, 0.0f);
			for (int64_t i = lo; i < hi; i++)
				if (x[i] >= 0 && x[i] < classes) y[i * classes + x[i]] = 1;
		});
	});
}

} // extern "C"
