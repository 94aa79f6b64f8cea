// What the files of steps share: the plan, the threads, loop nests.
#pragma once
#include "plan.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <omp.h>
#include <string>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace nm {

// Pool runs the parts of a step on a fixed number of threads. What the parts are depends on that number alone, so results do not depend on
// timing. Where several plans run at once they share the cores: each then uses fewer of its threads, and these run several parts each.
// Within a run threads spin before they sleep: the parts of a step follow each other faster than a wake-up takes.
class Pool {
  public:
	explicit Pool(int threads);
	~Pool();
	int threads() const { return int(workers.size()) + 1; }
	// begin and end enclose a run.
	void begin();
	void end();
	// all calls f(part) once for every part below parts (at most threads()), shared out over the threads; part 0 on the caller's.
	template <class F> void all(int parts, F &&f) {
		if (parts <= 1) {
			if (parts == 1) f(0);
			return;
		}
		call(parts, [](void *p, int part) { (*static_cast<std::remove_reference_t<F> *>(p))(part); }, &f);
	}

  private:
	using Task = void (*)(void *, int);
	struct Worker {
		alignas(64) std::atomic<uint32_t> generation{0}; // counts its calls
		std::thread thread;
	};
	void call(int parts, Task task, void *arg);
	void work(Worker &w, int index);
	void stop();
	template <class F> void spin(F &&over) const;
	std::vector<std::unique_ptr<Worker>> workers;
	Task task = nullptr;
	void *arg = nullptr;
	int parts = 0, active = 1; // threads that share the parts out
	std::atomic<int> busy{0};
	std::atomic<bool> running{false}, quit{false};
};

// Run is what differs between two passes over a function.
struct Run {
	Pool *pool;
	const int32_t *rows;
	int64_t batch;
	uint64_t seed, number;
};

// grain is the least work, in units of about a nanosecond, that is worth waking another thread for.
constexpr int64_t grain = 12000;

// parts is the number of threads that n items of so much cost each are worth.
inline int parts(const Run &r, int64_t n, double cost) {
	double worth = double(n) * cost / grain;
	int64_t most = std::min<int64_t>(r.pool->threads(), n);
	return worth < 2 ? int(std::min<int64_t>(n, 1)) : int(std::min<double>(worth, double(most)));
}

// parallel calls f(lo, hi) on ranges that cover [0, n); all but the last are multiples of align.
template <class F> void parallel(const Run &r, int64_t n, double cost, int64_t align, F &&f) {
	int p = parts(r, (n + align - 1) / align, cost * double(align));
	if (p <= 1) {
		if (n > 0) f(int64_t(0), n);
		return;
	}
	int64_t units = (n + align - 1) / align;
	r.pool->all(p, [&](int part) {
		int64_t lo = units * part / p * align, hi = std::min(n, units * (part + 1) / p * align);
		if (lo < hi) f(lo, hi);
	});
}

// Range is an elementwise operation on elements [lo, hi) of its result.
using Range = std::function<void(const Run &, int64_t lo, int64_t hi)>;

// along_block is the number of elements that all operations of a pass are done on before the next: a few operands of them stay in the first-level cache.
constexpr int64_t along_block = 2048;

// blocks calls f(lo, hi) on ranges of about along_block elements, in multiples of unit, that cover [lo, hi).
template <class F> void blocks(int64_t lo, int64_t hi, int64_t unit, F &&f) {
	const int64_t size = std::max<int64_t>(1, along_block / unit) * unit;
	for (int64_t at = lo; at < hi; at += size) f(at, std::min(hi, at + size));
}

// Along is what is done along with a step: operations on ranges of its result. The ranges begin and end at multiples of unit.
struct Along {
	std::vector<Range> ranges;
	double cost = 0; // per element, in nanoseconds
	int64_t unit = 1;
	bool empty() const { return ranges.empty(); }
	// operator() does it on elements [lo, hi), which were just computed.
	void operator()(const Run &r, int64_t lo, int64_t hi) const {
		if (empty()) return;
		blocks(lo, hi, unit, [&](int64_t a, int64_t b) {
			for (auto &f : ranges) f(r, a, b);
		});
	}
};

struct Step {
	virtual ~Step() = default;
	virtual void run(const Run &) = 0;
};

// each calls f(pos, n) for the innermost passes [lo, hi) of a walk with K operands.
template <int K, class F> void each(const nm_walk &w, int64_t lo, int64_t hi, F &&f) {
	int outer = w.n - 1;
	int64_t index[NM_DIMS] = {}, pos[K];
	for (int k = 0; k < K; k++) pos[k] = w.start[k];
	int64_t rest = lo;
	for (int i = outer - 1; i >= 0; i--) {
		index[i] = rest % w.dim[i];
		rest /= w.dim[i];
		for (int k = 0; k < K; k++) pos[k] += index[i] * w.stride[k][i];
	}
	for (int64_t row = lo; row < hi; row++) {
		f(pos, w.dim[outer]);
		for (int i = outer - 1; i >= 0; i--) {
			index[i]++;
			for (int k = 0; k < K; k++) pos[k] += w.stride[k][i];
			if (index[i] < w.dim[i]) break;
			for (int k = 0; k < K; k++) pos[k] -= w.dim[i] * w.stride[k][i];
			index[i] = 0;
		}
	}
}

// between calls f(pos, n) for the elements [lo, hi) of a walk with K operands, counted in the order of the walk.
template <int K, class F> void between(const nm_walk &w, int64_t lo, int64_t hi, F &&f) {
	const int64_t inner = w.dim[w.n - 1];
	const auto some = [&](int64_t row, int64_t from, int64_t to) {
		if (from < to)
			each<K>(w, row, row + 1, [&](const int64_t *at, int64_t) {
				int64_t pos[K];
				for (int k = 0; k < K; k++) pos[k] = at[k] + from * w.stride[k][w.n - 1];
				f(pos, to - from);
			});
	};
	int64_t first = lo / inner;
	const int64_t end = hi / inner;
	if (first == end) {
		some(first, lo % inner, hi % inner);
		return;
	}
	if (lo % inner != 0) some(first++, lo % inner, inner);
	each<K>(w, first, end, f);
	some(end, 0, hi % inner);
}

inline int64_t elements(const nm_walk &w) {
	int64_t n = 1;
	for (int i = 0; i < w.n; i++) n *= w.dim[i];
	return n;
}

struct Kernels;
extern const Kernels kernels_base, kernels_avx2, kernels_avx512;
const Kernels &kernels();

} // namespace nm

struct Output {
	const void *from;
	int64_t n;
	bool is_int;
};

struct Function {
	int64_t batch = 0;
	size_t lasting = 0; // the steps before this one write nothing that another pass reads
	std::vector<std::unique_ptr<nm::Step>> steps;
	std::vector<std::pair<float *, int64_t>> feeds;
	std::vector<Output> outputs;
};

// Block is memory that a plan has taken.
struct Block {
	void *at;
	size_t bytes;    // that are free to use
	size_t mapped;   // 0 where malloc gave it
	bool permanent;  // else scratch,
	bool taken;      // of the step that is being made
};

struct nm_plan {
	explicit nm_plan(int threads) : pool(threads) {}
	~nm_plan();
	nm::Pool pool;
	std::vector<Function> functions;
	std::vector<Block> blocks;
	size_t allocated = 0;
	std::string failed;
	nm::Along along;       // what is done along with the next step
	bool is_along = false; // the next operation belongs to it

	// take_along is what is done along with the step that is being made; it has to do it.
	nm::Along take_along() { return std::exchange(along, {}); }
	void add(std::unique_ptr<nm::Step> s) {
		if (!along.empty() || is_along) throw std::logic_error("nothing is done along with this step");
		functions.back().steps.push_back(std::move(s));
		for (auto &b : blocks) b.taken = b.permanent;
	}
	void fail(const std::string &why) {
		if (failed.empty()) failed = why;
	}
	// scratch is memory for the step that is added next, and for no other: steps share it. What is in it at first is undefined.
	template <class T> T *scratch(int64_t n);
	// take gives a new block of zeroes, or NULL.
	void *take(size_t bytes, bool permanent);
};

// guard keeps exceptions on this side of the border to Go. oneDNN lays a primitive out for as many threads as the thread that makes it may have:
// one. Go may have moved to another thread since the last call.
template <class F> void guard(nm_plan *p, F &&f) {
	omp_set_num_threads(1);
	try {
		f();
	} catch (const std::bad_alloc &) {
		p->fail("out of memory");
	} catch (const std::exception &e) {
		p->fail(e.what());
	}
}

// step appends a step that calls f(run). What f captures is the step's data.
template <class F> void step(nm_plan *p, F f) {
	struct Lambda : nm::Step {
		F f;
		explicit Lambda(F &&f) : f(std::move(f)) {}
		void run(const nm::Run &r) override { f(r); }
	};
	guard(p, [&] { p->add(std::make_unique<Lambda>(std::move(f))); });
}

// elementwise adds the operation f(run, lo, hi) on n elements of so much cost each: as a step, or to what is done along with the next one. The
// ranges begin and end at multiples of unit.
template <class F> void elementwise(nm_plan *p, int64_t n, double cost, int64_t unit, F f) {
	if (std::exchange(p->is_along, false)) {
		guard(p, [&] { p->along.ranges.push_back(std::move(f)); });
		p->along.cost += cost;
		p->along.unit = std::lcm(p->along.unit, unit);
		return;
	}
	step(p, [=, along = p->take_along()](const nm::Run &r) mutable {
		const int64_t whole = std::lcm(along.unit, unit);
		nm::parallel(r, n, cost + along.cost, whole == 1 ? 64 : whole, [&](int64_t lo, int64_t hi) {
			if (along.empty()) return f(r, lo, hi);
			nm::blocks(lo, hi, whole, [&](int64_t a, int64_t b) {
				f(r, a, b);
				for (auto &g : along.ranges) g(r, a, b);
			});
		});
	});
}

template <class T> T *nm_plan::scratch(int64_t n) {
	const size_t bytes = size_t(std::max<int64_t>(n, 1)) * sizeof(T);
	Block *best = nullptr;
	for (auto &b : blocks)
		if (!b.taken && b.bytes >= bytes && (best == nullptr || b.bytes < best->bytes)) best = &b;
	if (best != nullptr) {
		best->taken = true;
		return static_cast<T *>(best->at);
	}
	void *m = take(bytes, false);
	if (m == nullptr) throw std::bad_alloc();
	return static_cast<T *>(m);
}
