// The table of kernels that are compiled once per instruction set (kernels_base.cc, kernels_avx2.cc, kernels_avx512.cc from kernels_*.h).
// Kernels are plain loops over ranges; they know nothing of threads.
#pragma once
#include "plan.h"

namespace nm {

struct Update {
	int kind;
	bool momentum, max, centered, decay;
	float b1, b2, one_b1, one_b2, eps_in, eps_out, l2;
	double b2_exact; // where a difference cancels, the rounding of the factor would show
	float c[NM_COEFS];
};

// The places of a window that moves over images: how many there are, and how far apart in x and in y. The places of y lie one after the other.
struct Window {
	int64_t images, rows, cols, x_image, x_row, x_col, y_image, y_col;
};

using Unary = void (*)(const float *x, float *y, int64_t n, double alpha, double beta);
using UnaryGrad = void (*)(const float *dy, const float *r, float *dx, int64_t n, double alpha, double beta);
// The strides are those of the innermost axis.
using Binary = void (*)(const float *a, int64_t sa, const float *b, int64_t sb, float *y, int64_t n);
// Column reductions add rows of n elements into acc.
using Columns = void (*)(const float *x, int64_t rows, int64_t stride, int64_t n, double *acc);
using Row = double (*)(const float *x, int64_t n);

struct Kernels {
	const char *name;
	Unary unary[NM_UNARY_COUNT];
	UnaryGrad unary_grad[NM_UNARY_COUNT];
	Binary binary[NM_BINARY_COUNT];
	void (*where)(const float *c, int64_t sc, const float *a, int64_t sa, const float *b, int64_t sb, float *y, int64_t n);
	void (*lerp)(float *s, const float *x, int64_t n, float alpha, float beta);
	void (*update)(const Update &, float *p, const float *g, float *s0, float *s1, float *s2, int64_t n);
	// words [first, first+n) of a Philox stream below the threshold are 0, the others scale.
	void (*drop_factors)(float *factor, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold);
	void (*drop)(const float *x, float *y, int64_t first, int64_t n, uint64_t seed, uint64_t step, uint32_t stream, uint32_t threshold, float keep);
	void (*drop_across)(const float *factor, float *across, const float *x, float *y, int64_t channels, int64_t plane, float keep);
	Row row_sum, row_max, row_min, row_prod;
	Columns col_sum, col_max, col_min, col_prod;
	void (*moments)(const float *x, int64_t n, double out[NM_COEFS + 1]);
	void (*softmax)(const float *x, float *y, int64_t n, int64_t stride, bool log);
	void (*softmax_grad)(const float *dy, const float *y, float *dx, int64_t n, int64_t stride, bool log);
	// Small matrix product with any strides; y is row-major with rows of ldy.
	void (*small_gemm)(const float *a, int64_t ar, int64_t ac, const float *b, int64_t br, int64_t bc, float *y, int64_t ldy, int64_t m, int64_t n,
		int64_t k);
	void (*add_bias)(const float *bias, float *y, int64_t rows, int64_t n, int64_t ld);
	void (*scale_shift)(const float *x, float *y, int64_t rows, int64_t n, const float *mean, const float *scale, const float *shift);
	void (*deviations)(const float *x, int64_t rows, int64_t n, const double *mean, double *acc);
	void (*norm_sums)(const float *dy, const float *x, int64_t rows, int64_t n, const double *mean, double *sum, double *dot);
	void (*norm_grad)(const float *dy, const float *x, float *dx, int64_t rows, int64_t n, const float *mean, const float *k, const float *b, const float *c);
	void (*pool_max)(float *y, const float *x, int64_t n);
	// dx += dy where x is y and taken is 0; taken becomes 1 there.
	void (*pool_give)(float *dx, const float *dy, const float *x, const float *y, int32_t *taken, int64_t n);
	void (*pool_square)(const float *x, float *y, int64_t n, int64_t c, int64_t row);
	void (*pool_square_grad)(const float *dy, const float *x, const float *y, float *dx, int64_t n, int64_t c, int64_t row, bool relu);
	void (*axpy)(float *y, const float *x, int64_t n, float a);
	void (*to_bf16)(const float *x, uint16_t *y, int64_t n);
	// Products with a matrix in panels, and cells: kernels_recurrent.h.
	int64_t (*panel_size)(int64_t n, int64_t k);
	void (*pack_panel)(const float *b, int64_t rs, int64_t cs, float *to, int64_t q, int64_t n, int64_t k);
	void (*panel_gemm)(const float *a, int64_t lda, const float *b, const float *init, int64_t ldi, float *y, int64_t ldy, int64_t m, int64_t n, int64_t k);
	void (*rnn_cell)(const float *g, float *h, float *y, int64_t n);
	void (*lstm_cell)(float *g, const float *peep, float *h, float *c, float *y, float *keep, int64_t n);
	void (*gru_reset)(float *g, const float *h, float *rh, int64_t n);
	void (*gru_cell)(float *g, float *h, float *y, int64_t n);
	void (*gru_linear)(float *g, const float *xn, const float *inner, float *h, float *y, int64_t n);
	void (*rnn_grad)(const float *y, const float *dy, float *dh, float *dx, int64_t n);
	void (*lstm_grad)(const float *g, const float *peep, const float *before, const float *c, const float *dy, float *dh, float *dc, float *dx, int64_t n);
	void (*gru_grad)(const float *g, const float *before, const float *dy, float *dh, float *dx, int64_t n);
	void (*gru_reset_grad)(const float *r, const float *before, const float *drh, float *dh, float *dx, float *rh, int64_t n);
	void (*gru_linear_grad)(const float *r, const float *inner, const float *dn, float *dx, float *dinner, int64_t n);
	// kernels_conv.h
	void (*window_sums)(const Window &, const float *x, const float *y, float *acc, int64_t ld, int64_t m, int64_t n);
};

} // namespace nm
