//go:build cgo && amd64

// Convolutions through oneDNN. The batch is cut into one slice per thread, and every thread runs single-threaded primitives on its own
// slice: there is no OpenMP team to wait for, and the slices depend on the number of threads alone. Activations are channels-last, which
// oneDNN's kernels read as fast as its blocked layouts (measured on avx512: 109 against 111 GFLOP/s a core forward); weights are kept
// row-major and brought into a primitive's own layout at every step, which costs them one pass.
#include "kernels.hpp"
#include "plan.hpp"
#include "conv_dw.hpp"
#include "dnnl_call.hpp"

using dnnl::memory;
using nm::Call;
using nm::cpu;
using nm::user_scratchpad;
using nm::Run;

namespace {

Call reorder(nm_plan *p, const memory::desc &from, void *src, const memory::desc &to, void *dst) {
	dnnl::reorder::primitive_desc d(cpu(), from, cpu(), to, user_scratchpad());
	return Call(p, dnnl::reorder(d), d.scratchpad_desc(), {{DNNL_ARG_FROM, memory(from, cpu(), src)}, {DNNL_ARG_TO, memory(to, cpu(), dst)}});
}

// Geometry is a window in oneDNN's terms.
struct Geometry {
	nm_window w;
	memory::data_type operand; // of activations, weights and gradients that are multiplied; results are f32
	bool deep; // three spatial axes
	memory::dims stride, dilation, begin, end;

	explicit Geometry(const nm_window &win)
		: w(win), operand(win.half ? memory::data_type::bf16 : memory::data_type::f32), deep(win.in[0] != 1 || win.kernel[0] != 1 || win.out[0] != 1) {
		for (int a = deep ? 0 : 1; a < NM_SPATIAL; a++) {
			stride.push_back(w.stride[a]);
			dilation.push_back(w.dilation[a] - 1);
			begin.push_back(w.begin[a]);
			end.push_back((w.out[a] - 1) * w.stride[a] + (w.kernel[a] - 1) * w.dilation[a] + 1 - w.in[a] - w.begin[a]);
		}
	}
	memory::desc activations(int64_t n, int64_t c, const int64_t *spatial, memory::data_type type) const {
		memory::dims d{n, c};
		d.insert(d.end(), spatial + (deep ? 0 : 1), spatial + NM_SPATIAL);
		return memory::desc(d, type, deep ? memory::format_tag::ndhwc : memory::format_tag::nhwc);
	}
	memory::desc x(int64_t n, memory::data_type type) const { return activations(n, w.ci, w.in, type); }
	memory::desc y(int64_t n, memory::data_type type) const { return activations(n, w.co, w.out, type); }
	// weights in the layout that a primitive likes best, and in the program's: row-major f32.
	memory::desc weights(memory::data_type type) const { return weights(type, true); }
	memory::desc plain_weights() const { return weights(memory::data_type::f32, false); }
	memory::desc weights(memory::data_type type, bool any) const {
		memory::dims d;
		if (w.groups > 1) d.push_back(w.groups);
		d.push_back(w.co / w.groups);
		d.push_back(w.ci / w.groups);
		d.insert(d.end(), w.kernel + (deep ? 0 : 1), w.kernel + NM_SPATIAL);
		using tag = memory::format_tag;
		const tag plain = deep ? (w.groups > 1 ? tag::goidhw : tag::oidhw) : (w.groups > 1 ? tag::goihw : tag::oihw);
		return memory::desc(d, type, any ? tag::any : plain);
	}
	memory::desc bias() const { return memory::desc({w.co}, memory::data_type::f32, memory::format_tag::a); }
	int64_t x_size() const { return w.ci * w.in[0] * w.in[1] * w.in[2]; }
	int64_t y_size() const { return w.co * w.out[0] * w.out[1] * w.out[2]; }
	int64_t w_size() const { return w.co * (w.ci / w.groups) * w.kernel[0] * w.kernel[1] * w.kernel[2]; }
	// parts is the number of slices: a slice should take tens of microseconds.
	int parts(const nm_plan *p) const {
		const double worth = 2.0 * double(w.n * y_size()) * double(w_size() / w.co) / 50 / nm::grain;
		return int(std::clamp<double>(worth, 1, double(std::min<int64_t>(p->pool.threads(), w.n))));
	}

#if DNNL_VERSION_MAJOR >= 3
#define NM_DESC(kind, ...) dnnl::kind::primitive_desc(cpu(), __VA_ARGS__, stride, dilation, begin, end
#define NM_HINT(hint) , hint, user_scratchpad())
#define NM_NO_HINT , user_scratchpad())
#else
#define NM_DESC(kind, ...) dnnl::kind::primitive_desc({__VA_ARGS__, stride, dilation, begin, end}
#define NM_HINT(hint) , user_scratchpad(), cpu(), hint)
#define NM_NO_HINT , user_scratchpad(), cpu())
#endif
	dnnl::convolution_forward::primitive_desc forward(int64_t n, bool with_bias) const {
		const auto train = dnnl::prop_kind::forward_training;
		const auto direct = dnnl::algorithm::convolution_direct;
		if (with_bias) return NM_DESC(convolution_forward, train, direct, x(n, operand), weights(operand), bias(), y(n, f32)) NM_NO_HINT;
		return NM_DESC(convolution_forward, train, direct, x(n, operand), weights(operand), y(n, f32)) NM_NO_HINT;
	}
	dnnl::convolution_backward_data::primitive_desc backward_data(int64_t n) const {
		return NM_DESC(convolution_backward_data, dnnl::algorithm::convolution_direct, x(n, f32), weights(operand), y(n, operand)) NM_HINT(forward(n, false));
	}
	dnnl::convolution_backward_weights::primitive_desc backward_weights(int64_t n, bool with_bias) const {
		const auto direct = dnnl::algorithm::convolution_direct;
		if (with_bias)
			return NM_DESC(convolution_backward_weights, direct, x(n, operand), weights(f32), bias(), y(n, operand)) NM_HINT(forward(n, true));
		return NM_DESC(convolution_backward_weights, direct, x(n, operand), weights(f32), y(n, operand)) NM_HINT(forward(n, false));
	}
	static constexpr auto f32 = memory::data_type::f32;
};

float *mutable_(const float *p) { return const_cast<float *>(p); } // oneDNN's handles are not const

// at is where element i of an operand lies.
void *at(const void *p, const Geometry &g, int64_t i) {
	return static_cast<char *>(const_cast<void *>(p)) + i * (g.w.half ? 2 : 4);
}

// Weights brings row-major weights into the layouts that primitives ask for.
struct Weights {
	nm_plan *p;
	const Geometry &g;
	float *plain;
	std::vector<std::pair<memory::desc, void *>> layouts;
	std::vector<Call> reorders;

	void *in(const memory::desc &d) {
		if (d == g.plain_weights()) return plain;
		for (auto &[have, at] : layouts)
			if (have == d) return at;
		void *to = p->scratch<char>(int64_t(d.get_size()));
		reorders.push_back(reorder(p, g.plain_weights(), plain, d, to));
		layouts.emplace_back(d, to);
		return to;
	}
};

// add_calls makes the step that runs reorders, then one call per slice of n samples whose results have size elements.
void add_calls(nm_plan *p, std::vector<Call> reorders, std::vector<Call> calls, int64_t n, int64_t size) {
	auto r = std::make_shared<std::vector<Call>>(std::move(reorders)), c = std::make_shared<std::vector<Call>>(std::move(calls));
	step(p, [=, along = p->take_along()](const Run &run) {
		for (auto &f : *r) f();
		const int parts = int(c->size());
		run.pool->all(parts, [&](int q) {
			(*c)[size_t(q)]();
			along(run, n * q / parts * size, n * (q + 1) / parts * size);
		});
	});
}

} // namespace

extern "C" {

void nm_conv(nm_plan *p, const nm_window *win, const void *x, const float *w, const float *bias, float *y) {
	guard(p, [&] {
		Geometry g(*win);
		Weights weights{p, g, mutable_(w), {}, {}};
		std::vector<Call> calls;
		const int parts = g.parts(p);
		for (int q = 0; q < parts; q++) {
			const int64_t lo = win->n * q / parts, n = win->n * (q + 1) / parts - lo;
			auto d = g.forward(n, bias != nullptr);
			std::vector<std::pair<int, memory>> args{{DNNL_ARG_SRC, memory(d.src_desc(), cpu(), at(x, g, lo * g.x_size()))},
				{DNNL_ARG_WEIGHTS, memory(d.weights_desc(), cpu(), weights.in(d.weights_desc()))},
				{DNNL_ARG_DST, memory(d.dst_desc(), cpu(), y + lo * g.y_size())}};
			if (bias != nullptr) args.emplace_back(DNNL_ARG_BIAS, memory(d.bias_desc(), cpu(), mutable_(bias)));
			calls.emplace_back(p, dnnl::convolution_forward(d), d.scratchpad_desc(), args);
		}
		add_calls(p, std::move(weights.reorders), std::move(calls), win->n, g.y_size());
	});
}

void nm_conv_dx(nm_plan *p, const nm_window *win, const void *dy, const float *w, float *dx) {
	guard(p, [&] {
		Geometry g(*win);
		Weights weights{p, g, mutable_(w), {}, {}};
		std::vector<Call> calls;
		const int parts = g.parts(p);
		for (int q = 0; q < parts; q++) {
			const int64_t lo = win->n * q / parts, n = win->n * (q + 1) / parts - lo;
			auto d = g.backward_data(n);
			calls.emplace_back(p, dnnl::convolution_backward_data(d), d.scratchpad_desc(),
				std::vector<std::pair<int, memory>>{{DNNL_ARG_DIFF_DST, memory(d.diff_dst_desc(), cpu(), at(dy, g, lo * g.y_size()))},
					{DNNL_ARG_WEIGHTS, memory(d.weights_desc(), cpu(), weights.in(d.weights_desc()))},
					{DNNL_ARG_DIFF_SRC, memory(d.diff_src_desc(), cpu(), dx + lo * g.x_size())}});
		}
		add_calls(p, std::move(weights.reorders), std::move(calls), win->n, g.x_size());
	});
}

// Every slice has its own dw and db; they are added in the order of the slices.
void nm_conv_dw(nm_plan *p, const nm_window *win, const void *dy, const void *x, float *dw, float *db) {
	if (nm::sums_windows(*win)) {
		guard(p, [&] { nm::add_window_sums(p, *win, static_cast<const float *>(dy), static_cast<const float *>(x), dw, db); });
		return;
	}
	guard(p, [&] {
		Geometry g(*win);
		auto calls = std::make_shared<std::vector<std::vector<Call>>>();
		const int parts = g.parts(p);
		const int64_t size = g.w_size(), co = win->co;
		float *part_w = parts > 1 ? p->scratch<float>(size * (parts - 1)) : nullptr, *part_b = parts > 1 ? p->scratch<float>(co * (parts - 1)) : nullptr;
		for (int q = 0; q < parts; q++) {
			const int64_t lo = win->n * q / parts, n = win->n * (q + 1) / parts - lo;
			auto d = g.backward_weights(n, db != nullptr);
			float *to = q == 0 ? dw : part_w + (q - 1) * size, *own = to;
			const bool plain = d.diff_weights_desc() == g.plain_weights();
			if (!plain) own = p->scratch<float>(int64_t(d.diff_weights_desc().get_size() / sizeof(float)) + 1);
			std::vector<std::pair<int, memory>> args{{DNNL_ARG_DIFF_DST, memory(d.diff_dst_desc(), cpu(), at(dy, g, lo * g.y_size()))},
				{DNNL_ARG_SRC, memory(d.src_desc(), cpu(), at(x, g, lo * g.x_size()))},
				{DNNL_ARG_DIFF_WEIGHTS, memory(d.diff_weights_desc(), cpu(), own)}};
			if (db != nullptr) args.emplace_back(DNNL_ARG_DIFF_BIAS, memory(d.diff_bias_desc(), cpu(), q == 0 ? db : part_b + (q - 1) * co));
			calls->emplace_back();
			calls->back().emplace_back(p, dnnl::convolution_backward_weights(d), d.scratchpad_desc(), args);
			if (!plain) calls->back().push_back(reorder(p, d.diff_weights_desc(), own, g.plain_weights(), to));
		}
		step(p, [=, add = nm::kernels().axpy](const Run &r) {
			r.pool->all(parts, [&](int q) {
				for (auto &f : (*calls)[size_t(q)]) f();
			});
			if (parts == 1) return;
			nm::parallel(r, size, 0.2 * parts, 64, [&](int64_t lo, int64_t hi) {
				for (int q = 1; q < parts; q++) add(dw + lo, part_w + (q - 1) * size + lo, hi - lo, 1.0f);
			});
			for (int q = 1; db != nullptr && q < parts; q++) add(db, part_b + (q - 1) * co, co, 1.0f);
		});
	});
}

} // extern "C"
