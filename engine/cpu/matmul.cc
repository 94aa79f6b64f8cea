//go:build cgo && amd64

// Matrix products: oneDNN's primitives, single-threaded on one slice of the result per thread, loops of our own for matrices that are
// smaller than a primitive's overhead, dnnl_sgemm for stacks of matrices.
#include "dnnl_call.hpp"
#include "kernels.hpp"

using dnnl::memory;
using nm::Run;

// Below so many multiply-adds our loop is faster than oneDNN's.
constexpr int64_t small_product = 2048;

namespace {

// matrix describes a part of a row-major matrix with rows of ld elements, transposed or not.
memory::desc matrix(int64_t rows, int64_t cols, int64_t ld, bool transposed, memory::data_type type) {
	return memory::desc({rows, cols}, type, transposed ? memory::dims{1, ld} : memory::dims{ld, 1});
}

dnnl::matmul::primitive_desc product(const memory::desc &a, const memory::desc &b, const memory::desc *bias, const memory::desc &y) {
#if DNNL_VERSION_MAJOR >= 3
	return bias ? dnnl::matmul::primitive_desc(nm::cpu(), a, b, *bias, y, nm::user_scratchpad())
				: dnnl::matmul::primitive_desc(nm::cpu(), a, b, y, nm::user_scratchpad());
#else
	return dnnl::matmul::primitive_desc(bias ? dnnl::matmul::desc(a, b, *bias, y) : dnnl::matmul::desc(a, b, y), nm::user_scratchpad(), nm::cpu());
#endif
}

void *at(const void *p, bool half, int64_t i) { return static_cast<char *>(const_cast<void *>(p)) + i * (half ? 2 : 4); }

// one adds the step of a single product. The longer side of the result is cut into one slice per thread.
void one(nm_plan *p, bool half, const void *a, const void *b, const float *bias, float *y, int64_t m, int64_t n, int64_t k, bool trans_a, bool trans_b) {
	const auto type = half ? memory::data_type::bf16 : memory::data_type::f32, f32 = memory::data_type::f32;
	const int64_t lda = trans_a ? m : k, ldb = trans_b ? k : n, side = std::max(m, n), units = (side + 15) / 16;
	const double worth = double(m) * double(n) * double(k) / (half ? 80 : 40) / nm::grain; // 40 multiply-adds per nanosecond and thread
	const int parts = int(std::clamp<double>(worth, 1, double(std::min<int64_t>(p->pool.threads(), units))));
	auto calls = std::make_shared<std::vector<nm::Call>>();
	for (int q = 0; q < parts; q++) {
		const int64_t lo = units * q / parts * 16, count = std::min(side, units * (q + 1) / parts * 16) - lo;
		const bool rows = m >= n;
		const int64_t i0 = rows ? lo : 0, mm = rows ? count : m, j0 = rows ? 0 : lo, nn = rows ? n : count;
		const memory::desc da = matrix(mm, k, lda, trans_a, type), db = matrix(k, nn, ldb, trans_b, type), dy = matrix(mm, nn, n, false, f32);
		const memory::desc bd({1, nn}, f32, memory::format_tag::ab);
		auto d = product(da, db, bias ? &bd : nullptr, dy);
		std::vector<std::pair<int, memory>> args{{DNNL_ARG_SRC, memory(da, nm::cpu(), at(a, half, trans_a ? i0 : i0 * lda))},
			{DNNL_ARG_WEIGHTS, memory(db, nm::cpu(), at(b, half, trans_b ? j0 * ldb : j0))}, {DNNL_ARG_DST, memory(dy, nm::cpu(), y + i0 * n + j0)}};
		if (bias) args.emplace_back(DNNL_ARG_BIAS, memory(bd, nm::cpu(), const_cast<float *>(bias) + j0));
		calls->emplace_back(p, dnnl::matmul(d), d.scratchpad_desc(), args);
	}
	const bool whole = m >= n || parts == 1; // a part is whole rows: they lie one after the other
	step(p, [=, along = p->take_along()](const Run &r) {
		r.pool->all(parts, [&](int q) {
			(*calls)[size_t(q)]();
			if (whole) along(r, parts == 1 ? 0 : units * q / parts * 16 * n, parts == 1 ? m * n : std::min(m, units * (q + 1) / parts * 16) * n);
		});
		if (!whole && !along.empty()) nm::parallel(r, m, along.cost * double(n), 1, [&](int64_t lo, int64_t hi) { along(r, lo * n, hi * n); });
	});
}

} // namespace

extern "C" {

void nm_matmul(nm_plan *p, int half, const void *pa, const void *pb, const float *bias, float *y, int64_t batch, const int64_t *a_at, const int64_t *b_at,
	int64_t m, int64_t n, int64_t k, int trans_a, int trans_b) {
	guard(p, [&] {
		const bool small = m * n * k <= small_product;
		if (half || (batch == 1 && !small && a_at[0] == 0 && b_at[0] == 0)) {
			one(p, half != 0, pa, pb, bias, y, m, n, k, trans_a != 0, trans_b != 0);
			return;
		}
		const float *a = static_cast<const float *>(pa), *b = static_cast<const float *>(pb);
		std::vector<int64_t> at_a(a_at, a_at + batch), at_b(b_at, b_at + batch);
		const int64_t lda = trans_a ? m : k, ldb = trans_b ? k : n;
		const auto &kn = nm::kernels();
		auto product = [=, &kn](int64_t q) {
			const float *xa = a + at_a[size_t(q)], *xb = b + at_b[size_t(q)];
			float *to = y + q * m * n;
			if (small || dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, 1, xa, lda, xb, ldb, 0, to, n) != dnnl_success)
				kn.small_gemm(xa, trans_a ? 1 : lda, trans_a ? lda : 1, xb, trans_b ? 1 : ldb, trans_b ? ldb : 1, to, n, m, n, k);
			if (bias != nullptr) kn.add_bias(bias, to, m, n, n);
		};
		const double cost = double(m) * double(n) * double(k) / 40; // at about 80 GFLOP/s a thread
		step(p, [=, along = p->take_along()](const Run &r) {
			nm::parallel(r, batch, cost + 20 + along.cost * double(m * n), 1, [&](int64_t lo, int64_t hi) {
				for (int64_t q = lo; q < hi; q++) {
					product(q);
					along(r, q * m * n, (q + 1) * m * n);
				}
			});
		});
	});
}

} // extern "C"
