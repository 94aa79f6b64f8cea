//go:build cgo && amd64

// Recurrent layers. A thread runs all steps of its own sequences, so that none waits for another within a layer; R is packed once a pass. What
// a step computes for a sequence does not depend on the others, so the bits do not depend on the number of threads.
#include "kernels.hpp"
#include "plan.hpp"
#include <dnnl.h>

using nm::Run;

namespace {

// Matrix is R, or rows of it, in panels.
struct Matrix {
	float *at;
	int64_t n, k;
};

// Layer is what the two directions of a pass have in common.
struct Layer : nm_recurrence {
	const nm::Kernels &kn = nm::kernels();
	int64_t wide; // elements that go into a sequence's gates at one step
	int split;    // R is used in two parts behind each other: of z and r, and of n
	Matrix part[2];

	Layer(nm_plan *p, const nm_recurrence &c, bool transposed) : nm_recurrence(c), wide(c.gates_count * c.hidden), split(c.kind == NM_CELL_GRU) {
		const int64_t rows[2] = {split ? 2 * hidden : wide, hidden};
		for (int i = 0; i <= split; i++) {
			part[i].n = transposed ? rows[i] : hidden, part[i].k = transposed ? hidden : rows[i];
			part[i].at = p->scratch<float>(kn.panel_size(part[i].n, part[i].k));
		}
	}

	// pack writes Rᵀ, by which the states are multiplied, or R, by which their gradients are.
	void pack(const Run &run, bool transposed) const {
		for (int i = 0; i <= split; i++) {
			const Matrix &m = part[i];
			const float *from = r + (i == 0 ? 0 : 2 * hidden * hidden);
			const int64_t panels = kn.panel_size(m.n, 1) / kn.panel_size(1, 1);
			nm::parallel(run, panels, double(m.k * kn.panel_size(1, 1)), 1, [&](int64_t lo, int64_t hi) {
				for (int64_t q = lo; q < hi; q++) kn.pack_panel(from, transposed ? 1 : hidden, transposed ? hidden : 1, m.at, q, m.n, m.k);
			});
		}
	}

	// product is y = init + a·m for rows of a.
	void product(const Matrix &m, const float *a, int64_t lda, const float *init, int64_t ldi, float *y, int64_t ldy, int64_t rows) const {
		kn.panel_gemm(a, lda, m.at, init, ldi, y, ldy, rows, m.n, m.k);
	}

	bool active(int64_t t, int64_t n) const { return lens == nullptr || double(lens[n]) > double(t); }
	int64_t at(int64_t k) const { return reverse ? steps - 1 - k : k; }
	// before is a sequence's state before step t: that of the step which was run before, or the initial one.
	const float *before(int64_t t, int64_t n, const float *states, const float *initial) const {
		const int64_t b = reverse ? t + 1 : t - 1;
		return b >= 0 && b < steps && active(b, n) ? states + (b * batch + n) * hidden : initial + n * hidden;
	}
	// cost of a sequence in nanoseconds.
	double cost() const { return double(steps) * (double(wide * hidden) / 40 + double(wide)); }
};

float *rowed(float *x, int64_t row, int64_t n) { return x == nullptr ? nullptr : x + row * n; }
const float *rowed(const float *x, int64_t row, int64_t n) { return x == nullptr ? nullptr : x + row * n; }

void zero(float *x, int64_t n) {
	if (x != nullptr) std::fill(x, x + n, 0.0f);
}

// Forward is a pass without its gradient. What is kept for that may have no reader, and then has one row of scratch per sequence.
struct Forward : Layer {
	float *h, *c, *inner, *few_gates, *few_extra;

	Forward(nm_plan *p, const nm_recurrence &r) : Layer(p, r, true) {
		h = p->scratch<float>(batch * hidden);
		c = kind == NM_CELL_LSTM ? p->scratch<float>(batch * hidden) : nullptr;
		inner = kind == NM_CELL_GRU && !reset_linearly ? p->scratch<float>(batch * hidden) : nullptr;
		few_gates = gates == nullptr ? p->scratch<float>(batch * wide) : nullptr;
		few_extra = extra == nullptr ? p->scratch<float>(batch * hidden) : nullptr;
	}

	void rows(int64_t lo, int64_t hi) const {
		const int64_t m = hi - lo;
		std::copy(h0 + lo * hidden, h0 + hi * hidden, h + lo * hidden);
		if (c != nullptr) std::copy(c0 + lo * hidden, c0 + hi * hidden, c + lo * hidden);
		for (int64_t k = 0; k < steps; k++) step(at(k), lo, m);
		std::copy(h + lo * hidden, h + hi * hidden, last_h + lo * hidden);
		if (c != nullptr) std::copy(c + lo * hidden, c + hi * hidden, last_c + lo * hidden);
	}

	void step(int64_t t, int64_t lo, int64_t m) const {
		const float *xt = x + (t * batch + lo) * wide;
		float *g = gates != nullptr ? gates + (t * batch + lo) * wide : few_gates + lo * wide;
		float *e = extra != nullptr ? extra + (t * batch + lo) * hidden : few_extra + lo * hidden, *hl = h + lo * hidden;
		product(part[0], hl, hidden, xt, wide, g, wide, m);
		if (kind == NM_CELL_GRU && reset_linearly)
			product(part[1], hl, hidden, bias, 0, e, hidden, m);
		else if (kind == NM_CELL_GRU) {
			for (int64_t i = 0; i < m; i++) kn.gru_reset(g + i * wide, hl + i * hidden, inner + (lo + i) * hidden, hidden);
			product(part[1], inner + lo * hidden, hidden, xt + 2 * hidden, wide, g + 2 * hidden, wide, m);
		}
		for (int64_t i = 0; i < m; i++) {
			float *gi = g + i * wide, *ei = e + i * hidden, *hi = hl + i * hidden, *yi = y + (t * batch + lo + i) * hidden;
			if (!active(t, lo + i)) {
				zero(gi, wide), zero(ei, hidden), zero(yi, hidden);
				continue;
			}
			switch (kind) {
			case NM_CELL_RNN: kn.rnn_cell(gi, hi, yi, hidden); break;
			case NM_CELL_LSTM: kn.lstm_cell(gi, peepholes, hi, c + (lo + i) * hidden, yi, ei, hidden); break;
			default:
				if (reset_linearly)
					kn.gru_linear(gi, xt + i * wide + 2 * hidden, ei, hi, yi, hidden);
				else
					kn.gru_cell(gi, hi, yi, hidden);
			}
		}
	}
};

// Backward is the pass of the gradient. behind holds, of every step of a GRU, the gradient by what R gives to n (reset_linearly) or r∘h.
struct Backward : Layer {
	float *dh, *dc, *drh, *first;

	Backward(nm_plan *p, const nm_recurrence &r) : Layer(p, r, false) {
		dh = p->scratch<float>(batch * hidden);
		dc = kind == NM_CELL_LSTM ? p->scratch<float>(batch * hidden) : nullptr;
		drh = kind == NM_CELL_GRU && !reset_linearly ? p->scratch<float>(batch * hidden) : nullptr;
		first = p->scratch<float>(batch * wide);
	}

	void rows(int64_t lo, int64_t hi) const {
		const int64_t m = hi - lo;
		auto start = [&](float *to, const float *from) {
			if (to == nullptr) return;
			if (from != nullptr)
				std::copy(from + lo * hidden, from + hi * hidden, to + lo * hidden);
			else
				zero(to + lo * hidden, m * hidden);
		};
		start(dh, d_last_h), start(dc, d_last_c);
		for (int64_t k = steps - 1; k >= 0; k--) step(at(k), lo, m);
		std::copy(dh + lo * hidden, dh + hi * hidden, dh0 + lo * hidden);
		if (dc != nullptr) std::copy(dc + lo * hidden, dc + hi * hidden, dc0 + lo * hidden);
	}

	void step(int64_t t, int64_t lo, int64_t m) const {
		const int64_t at = t * batch + lo;
		float *d = dx + at * wide, *dhl = dh + lo * hidden, *be = rowed(behind, at, hidden), *rh = rowed(drh, lo, hidden);
		for (int64_t i = 0; i < m; i++) {
			const int64_t s = lo + i;
			float *di = d + i * wide, *dhi = dhl + i * hidden;
			const float *gi = rowed(gates, at + i, wide), *dyi = rowed(dy, at + i, hidden);
			if (!active(t, s)) {
				zero(di, wide), zero(rowed(be, i, hidden), be != nullptr ? hidden : 0);
				continue;
			}
			switch (kind) {
			case NM_CELL_RNN: kn.rnn_grad(y + (at + i) * hidden, dyi, dhi, di, hidden); break;
			case NM_CELL_LSTM:
				kn.lstm_grad(gi, peepholes, before(t, s, extra, c0), extra + (at + i) * hidden, dyi, dhi, dc + s * hidden, di, hidden);
				break;
			default:
				if (reset_linearly) { // first: dx may lie on the gates
					kn.gru_grad(gi, before(t, s, y, h0), dyi, dhi, di, hidden);
					kn.gru_linear_grad(gi + hidden, extra + (at + i) * hidden, di + 2 * hidden, di + hidden, be + i * hidden, hidden);
				} else
					kn.gru_grad(gi, before(t, s, y, h0), dyi, dhi, di, hidden);
			}
		}
		if (kind == NM_CELL_GRU && reset_linearly)
			product(part[1], be, hidden, dhl, hidden, dhl, hidden, m);
		else if (kind == NM_CELL_GRU) {
			product(part[1], d + 2 * hidden, wide, nullptr, 0, rh, hidden, m);
			for (int64_t i = 0; i < m; i++)
				if (active(t, lo + i))
					kn.gru_reset_grad(gates + (at + i) * wide + hidden, before(t, lo + i, y, h0), rh + i * hidden, dhl + i * hidden, d + i * wide + hidden,
						be + i * hidden, hidden);
		}
		product(part[0], d, wide, dhl, hidden, dhl, hidden, m);
	}

	// begin is the step of a sequence that is run first; any that it has none of, where it has no steps.
	int64_t begin(int64_t n) const {
		if (!reverse) return 0;
		const double last = lens == nullptr ? double(steps) : std::ceil(double(lens[n]));
		return last >= double(steps) ? steps - 1 : last >= 1 ? int64_t(last) - 1 : 0;
	}

	// weights: dR = Σ dᵀ·ht-1. Over all steps but the first that is one product with y moved by one step; at a sequence's first step, which in
	// reverse depends on its length, ht-1 is h0.
	void weights(const Run &run) const {
		for (int64_t n = 0; n < batch; n++) {
			const int64_t t = begin(n);
			std::copy(dx + (t * batch + n) * wide, dx + (t * batch + n + 1) * wide, first + n * wide);
		}
		const int64_t later = reverse ? 0 : batch, earlier = reverse ? batch : 0, rest = (steps - 1) * batch;
		const float *prev = y + earlier * hidden;
		const double cost = double(steps * batch * hidden) / 40;
		nm::parallel(run, split ? 2 * hidden : wide, cost, 16, [&](int64_t lo, int64_t hi) {
			sum(dx + later * wide + lo, wide, prev, rest, dr + lo * hidden, hi - lo, false);
			sum(first + lo, wide, h0, batch, dr + lo * hidden, hi - lo, true);
		});
		if (!split) return;
		float *dn = dr + 2 * hidden * hidden;
		if (!reset_linearly) {
			nm::parallel(run, hidden, cost, 16, [&](int64_t lo, int64_t hi) {
				sum(dx + 2 * hidden + lo, wide, behind, steps * batch, dn + lo * hidden, hi - lo, false);
			});
			return;
		}
		for (int64_t n = 0; n < batch; n++) {
			const int64_t t = begin(n);
			std::copy(behind + (t * batch + n) * hidden, behind + (t * batch + n + 1) * hidden, first + n * hidden);
		}
		nm::parallel(run, hidden, cost, 16, [&](int64_t lo, int64_t hi) {
			sum(behind + later * hidden + lo, hidden, prev, rest, dn + lo * hidden, hi - lo, false);
			sum(first + lo, hidden, h0, batch, dn + lo * hidden, hi - lo, true);
		});
	}

	// sum is to = dᵀ·h, or adds it, for so many columns of d.
	void sum(const float *d, int64_t ldd, const float *h, int64_t rows, float *to, int64_t columns, bool add) const {
		if (rows == 0) {
			if (!add) zero(to, columns * hidden);
			return;
		}
		dnnl_sgemm('T', 'N', columns, hidden, rows, 1, d, ldd, h, hidden, add ? 1 : 0, to, hidden);
	}

	// vectors are the gradients of the bias and of the peepholes.
	void vectors(const Run &run, double *acc) const {
		const double cost = double(steps * batch);
		if (dbias != nullptr)
			nm::parallel(run, hidden, cost, 16, [&](int64_t lo, int64_t hi) {
				std::fill(acc + lo, acc + hi, 0.0);
				kn.col_sum(behind + lo, steps * batch, hidden, hi - lo, acc + lo);
				for (int64_t j = lo; j < hi; j++) dbias[j] = float(acc[j]);
			});
		if (dpeepholes == nullptr) return;
		nm::parallel(run, 3 * hidden, 2 * cost, 16, [&](int64_t lo, int64_t hi) {
			std::fill(acc + lo, acc + hi, 0.0);
			for (int64_t t = 0; t < steps; t++)
				for (int64_t n = 0; n < batch; n++) {
					if (!active(t, n)) continue;
					const float *d = dx + (t * batch + n) * wide, *old = before(t, n, extra, c0), *now = extra + (t * batch + n) * hidden;
					for (int64_t j = lo; j < hi; j++) acc[j] += double(d[j]) * double((j / hidden == 1 ? now : old)[j % hidden]);
				}
			for (int64_t j = lo; j < hi; j++) dpeepholes[j] = float(acc[j]);
		});
	}
};

} // namespace

extern "C" {

void nm_recurrent(nm_plan *p, const nm_recurrence *c) {
	guard(p, [&] {
		step(p, [f = Forward(p, *c)](const Run &r) {
			f.pack(r, true);
			nm::parallel(r, f.batch, f.cost(), 1, [&](int64_t lo, int64_t hi) { f.rows(lo, hi); });
		});
	});
}

void nm_recurrent_grad(nm_plan *p, const nm_recurrence *c) {
	guard(p, [&] {
		step(p, [b = Backward(p, *c), acc = p->scratch<double>(3 * c->hidden)](const Run &r) {
			b.pack(r, false);
			nm::parallel(r, b.batch, 2 * b.cost(), 1, [&](int64_t lo, int64_t hi) { b.rows(lo, hi); });
			b.weights(r);
			b.vectors(r, acc);
		});
	});
}

} // extern "C"
