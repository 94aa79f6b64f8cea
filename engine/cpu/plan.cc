//go:build cgo && amd64

#include "plan.hpp"
#include "kernels.hpp"
#include <chrono>
#include <dnnl.h>
#include <immintrin.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

namespace nm {

// How long a thread spins before it sleeps. A wake-up takes some 50 microseconds in a virtual machine, and the parts of a step end as far apart
// as the machine's other work makes them. (libgomp spins longer: config/linux/wait.h.)
constexpr std::chrono::microseconds patience(500);

static std::atomic<int> threads_wanted{0}; // by all plans that run

static int cores() {
	static const int n = int(std::max(1u, std::thread::hardware_concurrency()));
	return n;
}

template <class F> void Pool::spin(F &&over) const {
	const auto now = std::chrono::steady_clock::now;
	const auto start = now();
	for (int i = 1; !over() && running.load(std::memory_order_relaxed); i++) {
		_mm_pause();
		if (i % 32 == 0 && now() - start > patience) return;
	}
}

void Pool::begin() {
	threads_wanted += threads();
	running = true;
}

void Pool::end() {
	running = false;
	threads_wanted -= threads();
}

Pool::Pool(int threads) {
	try {
		for (int i = 1; i < threads; i++) {
			workers.push_back(std::make_unique<Worker>());
			Worker &w = *workers.back();
			w.thread = std::thread([this, &w, i] { work(w, i); });
		}
	} catch (...) { // no more threads to be had
		stop();
		throw;
	}
}

Pool::~Pool() { stop(); }

void Pool::stop() {
	quit = true;
	for (auto &w : workers) {
		w->generation++;
		w->generation.notify_one();
		if (w->thread.joinable()) w->thread.join();
	}
}

void Pool::call(int n, Task t, void *a) {
	task = t, arg = a, parts = n;
	const int wanted = threads_wanted.load(std::memory_order_relaxed);
	active = std::clamp(wanted > cores() ? cores() * threads() / wanted : n, 1, n);
	busy.store(active - 1, std::memory_order_relaxed);
	for (int i = 1; i < active; i++) {
		auto &g = workers[size_t(i - 1)]->generation;
		g.fetch_add(1, std::memory_order_release);
		g.notify_one();
	}
	for (int part = 0; part < n; part += active) t(a, part);
	if (active == 1) return;
	spin([&] { return busy.load(std::memory_order_acquire) == 0; });
	for (int left; (left = busy.load(std::memory_order_acquire)) != 0;) busy.wait(left, std::memory_order_acquire);
}

void Pool::work(Worker &w, int index) {
	omp_set_num_threads(1); // oneDNN is called by every thread for its own part
	uint32_t seen = 0;
	for (;;) {
		spin([&] { return w.generation.load(std::memory_order_acquire) != seen; });
		while (w.generation.load(std::memory_order_acquire) == seen) w.generation.wait(seen, std::memory_order_acquire);
		seen++;
		if (quit) return;
		for (int part = index; part < parts; part += active) task(arg, part);
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
	for (auto &b : blocks)
		if (b.mapped > 0)
			munmap(b.at, b.mapped);
		else
			free(b.at);
}

// Large blocks are pages of the system's, which are zero and take no memory before they are used: of the memory for temporaries the functions that do
// not run may need more than those that do.
constexpr size_t least_mapped = 1 << 20;

void *nm_plan::take(size_t bytes, bool permanent) {
	const size_t usable = (bytes + 63) / 64 * 64, whole = usable + 64; // a vector load at the end stays inside
	Block b{nullptr, usable, 0, permanent, true};
	if (whole >= least_mapped) {
		b.at = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (b.at == MAP_FAILED) return nullptr;
		b.mapped = whole;
	} else {
		b.at = aligned_alloc(64, whole);
		if (b.at == nullptr) return nullptr;
		memset(b.at, 0, whole);
	}
	allocated += whole;
	blocks.push_back(b);
	return b.at;
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

void *nm_alloc(nm_plan *p, size_t bytes) { return p->take(bytes, true); }

size_t nm_allocated(nm_plan *p) { return p->allocated; }

void nm_function(nm_plan *p, int64_t batch) {
	p->functions.emplace_back();
	p->functions.back().batch = batch;
}

void nm_along(nm_plan *p) { p->is_along = true; }

const char *nm_failed(nm_plan *p) { return p->failed.empty() ? nullptr : p->failed.c_str(); }

void nm_lasting(nm_plan *p) { p->functions.back().lasting = p->functions.back().steps.size(); }

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
	const auto stopped = [stop] { return __atomic_load_n(stop, __ATOMIC_RELAXED) != 0; };
	for (int64_t i = 0; i < steps; i++) {
		if (stopped()) return i;
		r.number = first + uint64_t(i);
		r.rows = rows + i * f.batch;
		for (auto &[to, n] : f.feeds)
			for (int64_t k = 0; k < n; k++) to[k] = float(*feeds++);
		for (size_t k = 0; k < f.steps.size(); k++) { // until something lasting is written, the pass may be given up
			if (k < f.lasting && stopped()) return i;
			f.steps[k]->run(r);
		}
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
