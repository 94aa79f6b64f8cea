//go:build cgo && amd64

// Matrix products: oneDNN's sgemm on one thread per slice of the result, loops of our own for matrices that are smaller than its overhead.
#include "kernels.hpp"
#include "plan.hpp"
#include <dnnl.h>

using nm::Run;

// Below so many multiply-adds our loop is faster than dnnl_sgemm.
constexpr int64_t small_product = 2048;

extern "C" {

void nm_matmul(nm_plan *p, const float *a, const float *b, const float *bias, float *y, int64_t batch, const int64_t *a_at, const int64_t *b_at,
	int64_t m, int64_t n, int64_t k, int trans_a, int trans_b) {
	guard(p, [&] {
		std::vector<int64_t> at_a(a_at, a_at + batch), at_b(b_at, b_at + batch);
		const bool small = m * n * k <= small_product;
		const int64_t lda = trans_a ? m : k, ldb = trans_b ? k : n;
		const auto &kn = nm::kernels();
		// One slice: rows [i0, i1) and columns [j0, j1) of product q.
		auto product = [=, &kn](int64_t q, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
			const float *pa = a + at_a[size_t(q)] + (trans_a ? i0 : i0 * lda), *pb = b + at_b[size_t(q)] + (trans_b ? j0 * ldb : j0);
			float *to = y + (q * m + i0) * n + j0;
			if (small)
				kn.small_gemm(pa, trans_a ? 1 : lda, trans_a ? lda : 1, pb, trans_b ? 1 : ldb, trans_b ? ldb : 1, to, n, i1 - i0, j1 - j0, k);
			else if (dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', i1 - i0, j1 - j0, k, 1, pa, lda, pb, ldb, 0, to, n) != dnnl_success)
				kn.small_gemm(pa, trans_a ? 1 : lda, trans_a ? lda : 1, pb, trans_b ? 1 : ldb, trans_b ? ldb : 1, to, n, i1 - i0, j1 - j0, k);
			if (bias != nullptr) kn.add_bias(bias + j0, to, i1 - i0, j1 - j0, n);
		};
		const double cost = double(m) * double(n) * double(k) / 40; // at about 80 GFLOP/s a thread
		step(p, [=](const Run &r) {
			if (batch > 1 || small)
				nm::parallel(r, batch, cost + 20, 1, [&](int64_t lo, int64_t hi) {
					for (int64_t q = lo; q < hi; q++) product(q, 0, m, 0, n);
				});
			else if (m >= n)
				nm::parallel(r, m, cost / double(m), 16, [&](int64_t lo, int64_t hi) { product(0, lo, hi, 0, n); });
			else
				nm::parallel(r, n, cost / double(n), 16, [&](int64_t lo, int64_t hi) { product(0, 0, m, lo, hi); });
		});
	});
}

} // extern "C"
