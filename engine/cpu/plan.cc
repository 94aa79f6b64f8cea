//go:build cgo && amd64

#include "plan.hpp"
#include "kernels.hpp"
#include <chrono>
#include <dnnl.h>
#include <immintrin.h>
#include <omp.h>
#include <unistd.h>

namespace nm {

// How long a thread spins before it sleeps. A wake-up takes some 50 microseconds in a virtual machine, and the parts of a step end as far apart
// as the machine's other work makes them. Where the plans that run have more threads than there are cores, the thread that is waited for may not be
// running at all. (libgomp does the same, config/linux/wait.h, and spins longer.)
constexpr std::chrono::microseconds patience(500), patience_when_crowded(20);

static std::atomic<int> threads_running{0};

template <class F> void Pool::spin(F &&over) const {
	static const int cores = int(std::max(1u, std::thread::hardware_concurrency()));
	const auto now = std::chrono::steady_clock::now;
	const auto start = now();
	for (int i = 1; !over() && running.load(std::memory_order_relaxed); i++) {
		_mm_pause();
		if (i % 32 == 0 && now() - start > (threads_running.load(std::memory_order_relaxed) > cores ? patience_when_crowded : patience)) return;
	}
}

void Pool::begin() {
	threads_running += threads();
	running = true;
}

void Pool::end() {
	running = false;
	threads_running -= threads();
}

Pool::Pool(int threads) {
	try {
		for (int i = 1; i < threads; i++) workers.emplace_back([this, i] { work(i); });
	} catch (...) { // no more threads to be had
		stop();
		throw;
	}
}

Pool::~Pool() { stop(); }

void Pool::stop() {
	quit = true;
	generation++;
	generation.notify_all();
	for (auto &w : workers) w.join();
}

void Pool::call(int n, Task t, void *a) {
	task = t, arg = a, parts = n;
	busy.store(int(workers.size()), std::memory_order_relaxed);
	generation.fetch_add(1, std::memory_order_release);
	generation.notify_all();
	t(a, 0);
	spin([&] { return busy.load(std::memory_order_acquire) == 0; });
	for (int left; (left = busy.load(std::memory_order_acquire)) != 0;) busy.wait(left, std::memory_order_acquire);
}

void Pool::work(int index) {
	omp_set_num_threads(1); // oneDNN is called by every thread for its own part
	uint32_t seen = 0;
	for (;;) {
		spin([&] { return generation.load(std::memory_order_acquire) != seen; });
		while (generation.load(std::memory_order_acquire) == seen) generation.wait(seen, std::memory_order_acquire);
		seen++;
		if (quit) return;
		if (index < parts) task(arg, index);
		if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) busy.notify_all();
	}
}

// runs says whether this machine can run a set of kernels.
static bool runs(const Kernels &k) {
	__builtin_cpu_init();
	if (&k == &kernels_avx512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
			__builtin_cpu_supports("avx512bw");
	return &k == &kernels_base || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
}

static const Kernels *const sets[] = {&kernels_avx512, &kernels_avx2, &kernels_base}; // the best first

static std::atomic<const Kernels *> chosen{nullptr};

const Kernels &kernels() {
	const Kernels *k = chosen;
	for (int i = 0; k == nullptr; i++)
		if (runs(*sets[i])) chosen = k = sets[i];
	return *k;
}

} // namespace nm

nm_plan::~nm_plan() {
	functions.clear();
	for (void *b : blocks) free(b);
}

extern "C" {

nm_plan *nm_new(int threads) {
	try {
		return new nm_plan(threads);
	} catch (const std::exception &) {
		return nullptr;
	}
}

void nm_free(nm_plan *p) { delete p; }

const char *nm_isa(void) { return nm::kernels().name; }

int nm_use(const char *isa) {
	for (auto *k : nm::sets)
		if (strcmp(k->name, isa) == 0 && nm::runs(*k)) {
			nm::chosen = k;
			return 1;
		}
	return 0;
}

const char *nm_dnnl_version(void) {
	static const std::string v = [] {
		const dnnl_version_t *d = dnnl_version();
		return std::to_string(d->major) + "." + std::to_string(d->minor) + "." + std::to_string(d->patch);
	}();
	return v.c_str();
}

int nm_has_bf16(void) {
	const int isa = dnnl_get_effective_cpu_isa();
	return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

int64_t nm_physical_memory(void) { return int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE); }

void *nm_alloc(nm_plan *p, size_t bytes) {
	bytes = (bytes + 127) / 64 * 64; // a vector load at the end stays inside
	void *m = aligned_alloc(64, bytes);
	if (m == nullptr) return nullptr;
	memset(m, 0, bytes);
	p->allocated += bytes;
	p->blocks.push_back(m);
	return m;
}

size_t nm_allocated(nm_plan *p) { return p->allocated; }

void nm_function(nm_plan *p, int64_t batch) {
	p->functions.emplace_back();
	p->functions.back().batch = batch;
}

const char *nm_failed(nm_plan *p) { return p->failed.empty() ? nullptr : p->failed.c_str(); }

void nm_feed(nm_plan *p, float *to, int64_t n) { p->functions.back().feeds.emplace_back(to, n); }

void nm_output(nm_plan *p, const void *from, int64_t n, int is_int) { p->functions.back().outputs.push_back({from, n, is_int != 0}); }

int64_t nm_run(nm_plan *p, int function, int64_t steps, const int32_t *rows, const double *feeds, double *outputs, uint64_t seed, uint64_t first,
	const int32_t *stop) {
	omp_set_num_threads(1);
	Function &f = p->functions[size_t(function)];
	nm::Run r{&p->pool, rows, f.batch, seed, first};
	struct Running {
		nm::Pool &pool;
		explicit Running(nm::Pool &p) : pool(p) { pool.begin(); }
		~Running() { pool.end(); }
	} running(p->pool);
	for (int64_t i = 0; i < steps; i++) {
		if (__atomic_load_n(stop, __ATOMIC_RELAXED)) return i;
		r.number = first + uint64_t(i);
		r.rows = rows + i * f.batch;
		for (auto &[to, n] : f.feeds)
			for (int64_t k = 0; k < n; k++) to[k] = float(*feeds++);
		for (auto &s : f.steps) s->run(r);
		for (auto &o : f.outputs) {
			if (o.is_int)
				for (int64_t k = 0; k < o.n; k++) *outputs++ = static_cast<const int32_t *>(o.from)[k];
			else
				for (int64_t k = 0; k < o.n; k++) *outputs++ = double(static_cast<const float *>(o.from)[k]);
		}
	}
	return steps;
}

} // extern "C"
