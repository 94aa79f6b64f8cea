#include "blocks.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#if !defined(__x86_64__) || defined(NM_UCONTEXT)
#define NM_USE_UCONTEXT
#include <ucontext.h>
#endif

namespace nm {

__thread Place *place;

static Kernel *kernels;

void add(Kernel *k) {
    k->next = kernels;
    kernels = k;
}

const Kernel *find(const char *name) {
    for (const Kernel *k = kernels; k != nullptr; k = k->next)
        if (strcmp(k->name, name) == 0) return k;
    return nullptr;
}

void Launch::set_params(void *const *params) {
    size_t bytes = 0;
    offsets.resize(kernel->params);
    for (int i = 0; i < kernel->params; i++) {
        size_t a = kernel->align[i];
        bytes = (bytes + a - 1) / a * a;
        offsets[i] = (uint32_t)bytes;
        bytes += kernel->size[i];
    }
    data.resize((bytes + 7) / 8);
    for (int i = 0; i < kernel->params; i++) memcpy(reinterpret_cast<char *>(data.data()) + offsets[i], params[i], kernel->size[i]);
}

// --- Fibers: stacks on which a block's threads run, so that one can wait in the middle of a kernel. -----------------------------------------------

constexpr size_t stack_bytes = 128 << 10;
constexpr unsigned max_block = 1024;

#ifdef NM_USE_UCONTEXT
struct Context {
    ucontext_t c;
};
static void change(Context *from, Context *to) { swapcontext(&from->c, &to->c); }
#else
// On x86-64 a switch saves what a function must leave as it found it (System V ABI): six registers and the stack pointer.
struct Context {
    void *sp;
};
extern "C" void nm_change(void **from, void *to);
extern "C" void nm_enter();  // the first return of nm_change to a fiber: calls %r12 with %rbx
asm(R"(
    .text
    .globl nm_change
    .hidden nm_change
    .type nm_change, @function
nm_change:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    popq %rcx
    jmp *%rcx
    .size nm_change, .-nm_change
    .globl nm_enter
    .hidden nm_enter
    .type nm_enter, @function
nm_enter:
    movq %rbx, %rdi
    call *%r12
    ud2
    .size nm_enter, .-nm_enter
)");
static void change(Context *from, Context *to) { nm_change(&from->sp, to->sp); }
#endif

struct Worker;

struct Fiber {
    Context context;
    Worker *worker;
    char *stack;
    unsigned index;

    Fiber(Worker *w, unsigned i);
    ~Fiber() { munmap(stack, stack_bytes); }
    void reset();  // to the start of main
    void main();
};

enum class State : unsigned char { fresh, ready, at_block_barrier, at_warp_barrier, done };

struct Thread {
    Place place;  // first: nm::place points here
    Worker *worker;
    Fiber *fiber;
    uint64_t value;
    unsigned mask;
    State state;
};

// Worker runs blocks, one after the other, on one OS thread.
struct Worker {
    pid_t tid = 0;
    const Launch *launch = nullptr;
    uint3 block{};
    std::vector<void *> params;
    unsigned char *shared_end;  // dynamic shared memory ends at a guard page
    std::unique_ptr<Thread[]> threads{new Thread[max_block]()};
    std::vector<unsigned> order;  // of the threads; warps stay together
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber *> idle;
    Context scheduler;
    Thread *running = nullptr;
    unsigned size = 0, done = 0, waiting = 0;         // counts of threads
    unsigned cursor = 0, next = 0, warp_end = 0;      // positions in order: of what runs, of the first fresh thread, behind the warp
    uint64_t gathered[32];
    sigjmp_buf escape;
    volatile sig_atomic_t in_kernel = 0;
    std::unordered_map<const Kernel *, int> seen;

    Worker();
    void begin(const Launch &l, const Order &o);
    Outcome run_blocks(struct Job &job);
    void run_block();
    void run_warp(unsigned begin, unsigned end);
    bool release(unsigned begin, unsigned end);
    void resume(Thread *t);
    void yield(Thread *t, State s);
    [[noreturn]] void fail(const char *what, Outcome outcome);
};

Fiber::Fiber(Worker *w, unsigned i) : worker(w), index(i) {
    stack = static_cast<char *>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stack == MAP_FAILED) {
        perror("emulator: a fiber's stack");
        abort();
    }
    mprotect(stack, 4096, PROT_NONE);  // deep recursion shows
    reset();
}

#ifdef NM_USE_UCONTEXT
static void start_fiber(unsigned high, unsigned low) { reinterpret_cast<Fiber *>((uintptr_t)high << 32 | low)->main(); }
#else
static void start_fiber(Fiber *f) { f->main(); }
#endif

void Fiber::reset() {
    // Tops are spread over the sets of the first-level cache.
    char *top = stack + stack_bytes - 64 - index % 60 * 64;
#ifdef NM_USE_UCONTEXT
    getcontext(&context.c);
    context.c.uc_stack.ss_sp = stack;
    context.c.uc_stack.ss_size = (size_t)(top - stack);
    context.c.uc_link = nullptr;
    uintptr_t self = reinterpret_cast<uintptr_t>(this);
    makecontext(&context.c, reinterpret_cast<void (*)()>(start_fiber), 2, (unsigned)(self >> 32), (unsigned)self);
#else
    void **sp = reinterpret_cast<void **>(top);
    *--sp = reinterpret_cast<void *>(nm_enter);
    *--sp = nullptr;                                 // rbp
    *--sp = this;                                    // rbx
    *--sp = reinterpret_cast<void *>(start_fiber);   // r12
    for (int i = 0; i < 3; i++) *--sp = nullptr;
    context.sp = sp;
#endif
}

// main runs a thread to its end, and then the fresh ones behind it as long as none before them waits: a kernel without a barrier needs one fiber and
// one switch for a whole block.
void Fiber::main() {
    for (;;) {
        Worker *w = worker;
        const Kernel *k = w->launch->kernel;
        Thread *t = w->running;
        for (;;) {
            t->fiber = this;
            t->place.block = w->block;
            w->running = t;
            nm::place = &t->place;
            k->invoke(k->function, w->params.data());
            w->running->state = State::done;
            w->done++;
            if (w->cursor + 1 != w->next || w->next == w->size || (w->waiting != 0 && w->next >= w->warp_end)) break;
            w->cursor = w->next++;
            t = &w->threads[w->order[w->cursor]];
        }
        w->idle.push_back(this);
        change(&context, &w->scheduler);
    }
}

void Worker::resume(Thread *t) {
    running = t;
    if (t->state == State::fresh) {
        if (idle.empty()) {
            fibers.emplace_back(new Fiber(this, (unsigned)fibers.size()));
            idle.push_back(fibers.back().get());
        }
        t->fiber = idle.back();
        idle.pop_back();
    }
    place = &t->place;
    change(&scheduler, &t->fiber->context);
}

void Worker::yield(Thread *t, State s) {
    t->state = s;
    waiting++;
    // The next lane goes on at once where it can; else the scheduler decides.
    if (cursor + 1 < warp_end) {
        Thread *after = &threads[order[cursor + 1]];
        if (after->state == State::ready) {
            cursor++;
            running = after;
            place = &after->place;
            change(&t->fiber->context, &after->fiber->context);
            return;
        }
    }
    change(&t->fiber->context, &scheduler);
}

// --- What kernels call. ---------------------------------------------------------------------------------------------------------------------------

static Thread *self() { return reinterpret_cast<Thread *>(place); }

void fail(const char *what) { self()->worker->fail(what, Outcome::failed); }

void wait_block() {
    Thread *t = self();
    if (t->worker->size > 1) t->worker->yield(t, State::at_block_barrier);
}

const uint64_t *exchange(unsigned mask, uint64_t value) {
    Thread *t = self();
    if (!(mask >> t->place.lane & 1)) fail("a lane takes part in a warp operation whose mask leaves it out");
    t->mask = mask;
    t->value = value;
    t->worker->yield(t, State::at_warp_barrier);
    return t->worker->gathered;
}

void wait_warp(unsigned mask) { exchange(mask, 0); }

// --- One block. -----------------------------------------------------------------------------------------------------------------------------------

void Worker::fail(const char *what, Outcome outcome) {
    const Thread *t = running;
    fprintf(stderr, "emulator: kernel %s, block (%u, %u, %u), thread (%u, %u, %u): %s\n", launch->kernel->name, block.x, block.y, block.z,
            t->place.thread.x, t->place.thread.y, t->place.thread.z, what);
    siglongjmp(escape, outcome == Outcome::failed ? 1 : 2);
}

void Worker::run_block() {
    next = done = waiting = 0;
    for (unsigned i = 0; i < size; i++) threads[i].state = State::fresh;
    for (;;) {
        for (unsigned begin = 0; begin < size && done < size;) {
            unsigned warp = order[begin] / 32, end = begin;
            while (end < size && order[end] / 32 == warp) end++;
            run_warp(begin, end);
            begin = end;
        }
        if (done == size) return;
        // Everyone has ended or waits for the block.
        for (unsigned i = 0; i < size; i++) {
            if (threads[i].state == State::done) {
                running = &threads[i];
                fail("ended while other threads of its block wait at __syncthreads", Outcome::failed);
            }
            threads[i].state = State::ready;
        }
        waiting = 0;
    }
}

// run_warp runs the lanes at positions [begin, end) of the order until each has ended or waits for the block.
void Worker::run_warp(unsigned begin, unsigned end) {
    warp_end = end;
    do {
        for (cursor = begin; cursor < end; cursor++) {
            Thread *t = &threads[order[cursor]];
            if (t->state == State::fresh) {
                next = cursor + 1;
                resume(t);
            } else if (t->state == State::ready) {
                resume(t);
            }
        }
    } while (release(begin, end));
}

// release lets the lanes go on whose masks are complete. False: no lane of the warp waits for others of it.
bool Worker::release(unsigned begin, unsigned end) {
    Thread *lanes[32] = {};
    unsigned at = 0, go = 0, common = ~0u;
    for (unsigned i = begin; i < end; i++) {
        Thread *t = &threads[order[i]];
        lanes[t->place.lane] = t;
        if (t->state != State::at_warp_barrier) continue;
        at |= 1u << t->place.lane;
        common &= t->mask;
    }
    if (at == 0) return false;
    if (at == ~0u && common == ~0u) {  // the usual case
        for (unsigned lane = 0; lane < 32; lane++) {
            gathered[lane] = lanes[lane]->value;
            lanes[lane]->state = State::ready;
        }
        waiting -= 32;
        return true;
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(at >> lane & 1) || (go >> lane & 1)) continue;
        unsigned mask = lanes[lane]->mask;
        if ((mask & at) != mask) continue;
        bool same = true;
        for (unsigned i = 0; i < 32; i++) same = same && (!(mask >> i & 1) || lanes[i]->mask == mask);
        if (same) go |= mask;
    }
    if (go == 0) {
        for (unsigned lane = 0; lane < 32; lane++)
            if (at >> lane & 1) {
                running = lanes[lane];
                break;
            }
        char what[160];
        snprintf(what, sizeof what, "waits for the lanes %#010x of its warp, of which some have ended, wait elsewhere, or name another mask", running->mask);
        fail(what, Outcome::failed);
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        if (!(go >> lane & 1)) continue;
        gathered[lane] = lanes[lane]->value;
        lanes[lane]->state = State::ready;
        waiting--;
    }
    return true;
}

// --- Launches: blocks are handed out to the workers in chunks. ------------------------------------------------------------------------------------

struct Job {
    const Launch *launch;
    Order order;
    uint64_t blocks, chunk;
    std::atomic<uint64_t> next{0};
    std::atomic<int> outcome{0};
};

// poison_shared fills the kernels' __shared__ arrays, which are this library's thread-local storage, with 0xFF.
static void poison_shared() {
    struct Found {
        void *data;
        size_t size;
        uintptr_t base;
    };
    Found f{nullptr, 0, 0};
    Place *keep = place;  // the first touch makes the thread's copy
    Dl_info info;
    if (dladdr(reinterpret_cast<void *>(&find), &info) == 0) return;
    f.base = reinterpret_cast<uintptr_t>(info.dli_fbase);
    dl_iterate_phdr(
        [](dl_phdr_info *i, size_t, void *p) {
            Found *f = static_cast<Found *>(p);
            for (int k = 0; k < i->dlpi_phnum; k++) {
                if (i->dlpi_phdr[k].p_type != PT_TLS) continue;
                if (i->dlpi_addr != f->base) continue;
                f->data = i->dlpi_tls_data;
                f->size = i->dlpi_phdr[k].p_memsz;
                return 1;
            }
            return 0;
        },
        &f);
    if (f.data == nullptr) return;
    memset(f.data, 0xFF, f.size);
    place = keep;
}

Worker::Worker() {
    constexpr size_t guard = 64 << 10;
    unsigned char *p = static_cast<unsigned char *>(
        mmap(nullptr, max_shared + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (p == MAP_FAILED) abort();
    shared_end = p + max_shared;
    mprotect(shared_end, guard, PROT_NONE);
}

void Worker::begin(const Launch &l, const Order &o) {
    launch = &l;
    size = l.block.x * l.block.y * l.block.z;
    params.clear();
    for (uint32_t at : l.offsets) params.push_back(const_cast<char *>(reinterpret_cast<const char *>(l.data.data())) + at);
    unsigned char *shared = shared_end - (l.shared + 15) / 16 * 16;
    order.resize(size);
    for (unsigned i = 0; i < size; i++) order[i] = o.reverse ? size - 1 - i : i;
    for (unsigned i = 0; i < size; i++) {
        Thread &t = threads[i];
        t.worker = this;
        t.place.thread = {i % l.block.x, i / l.block.x % l.block.y, i / (l.block.x * l.block.y)};
        t.place.lane = i % 32;
        t.place.block_dim = l.block;
        t.place.grid_dim = l.grid;
        t.place.dynamic_shared = shared;
    }
    // Filling all of the library's shared arrays takes longer than a small kernel: the first launches of each must do.
    if (seen[l.kernel]++ < 8) poison_shared();
    memset(shared, 0xFF, (size_t)(shared_end - shared));
}

Outcome Worker::run_blocks(Job &job) {
    begin(*job.launch, job.order);
    dim3 grid = job.launch->grid;
    int jump = sigsetjmp(escape, 1);
    if (jump == 0) {
        in_kernel = 1;
        while (job.outcome.load(std::memory_order_relaxed) == 0) {
            uint64_t from = job.next.fetch_add(job.chunk), to = std::min(from + job.chunk, job.blocks);
            if (from >= job.blocks) break;
            for (uint64_t i = from; i < to; i++) {
                uint64_t b = job.order.reverse ? job.blocks - 1 - i : i;
                block = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / ((uint64_t)grid.x * grid.y))};
                run_block();
            }
        }
        in_kernel = 0;
        return Outcome::ok;
    }
    in_kernel = 0;
    idle.clear();
    for (auto &f : fibers) {
        f->reset();
        idle.push_back(f.get());
    }
    return jump == 1 ? Outcome::failed : Outcome::illegal_address;
}

// --- The pool: one thread is the device, the others help with large grids. --------------------------------------------------------------------------

// The handler of signals must find its worker without touching thread-local storage, which may not be there yet in other threads.
constexpr int max_workers = 64;
static std::atomic<Worker *> all_workers[max_workers];

static struct sigaction old_action[NSIG];

static void on_signal(int signal, siginfo_t *info, void *context) {
    pid_t tid = (pid_t)syscall(SYS_gettid);
    for (auto &slot : all_workers) {
        Worker *w = slot.load();
        if (w == nullptr) continue;
        if (w->tid != tid || !w->in_kernel) continue;
        char what[128];
        switch (signal) {
        case SIGSEGV:
        case SIGBUS: snprintf(what, sizeof what, "access to address %p, which is in no allocation", info->si_addr); break;
        case SIGFPE: snprintf(what, sizeof what, "integer division by zero"); break;
        default: snprintf(what, sizeof what, "misaligned access, an index outside an array, or integer division by zero"); break;
        }
        w->fail(what, signal == SIGSEGV || signal == SIGBUS ? Outcome::illegal_address : Outcome::failed);
    }
    const struct sigaction &old = old_action[signal];
    if (old.sa_flags & SA_SIGINFO) {
        old.sa_sigaction(signal, info, context);
    } else if (old.sa_handler == SIG_DFL) {
        sigaction(signal, &old, nullptr);  // the instruction runs again, and ends the process
    } else if (old.sa_handler != SIG_IGN) {
        old.sa_handler(signal);
    }
}

class Pool {
   public:
    Pool() {
        struct sigaction action = {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigfillset(&action.sa_mask);
        for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigaction(s, &action, &old_action[s]);
        start([this](Worker &w) { device(w); });
    }

    // on_device runs a function on the device's thread and waits for it. One caller at a time.
    void on_device(const std::function<void()> &f) {
        std::unique_lock<std::mutex> lock(mutex);
        task = &f;
        begin.notify_all();
        while (task != nullptr) end.wait(lock);
    }

    Outcome run(const Launch &launch, const Order &order) {
        Job j;
        j.launch = &launch;
        j.order = order;
        j.blocks = (uint64_t)launch.grid.x * launch.grid.y * launch.grid.z;
        uint64_t threads = j.blocks * launch.block.x * launch.block.y * launch.block.z;
        unsigned helpers = 0;
        if (threads >= 8192) helpers = (unsigned)std::min<uint64_t>({order.threads - 1, j.blocks - 1, max_workers - 1});
        j.chunk = std::max<uint64_t>(1, j.blocks / (8 * (helpers + 1)));
        if (helpers > 0) {
            std::lock_guard<std::mutex> lock(mutex);
            while (workers < helpers + 1) start([this](Worker &w) { help(w); });
            job = &j;
            wanted = helpers;
            generation++;
            begin.notify_all();
        }
        work(*device_worker, j);
        if (helpers > 0) {
            std::unique_lock<std::mutex> lock(mutex);
            wanted = 0;  // who has not begun need not
            while (active > 0) left.wait(lock);
            job = nullptr;
        }
        return (Outcome)j.outcome.load();
    }

   private:
    std::mutex mutex;
    std::condition_variable begin, end, left;
    const std::function<void()> *task = nullptr;
    Worker *device_worker = nullptr;
    Job *job = nullptr;
    uint64_t generation = 0;
    unsigned workers = 0, wanted = 0, active = 0;

    // start makes a thread that lives as long as the process.
    template <class F> void start(F f) {
        unsigned index = workers++;
        std::thread([this, f, index] {
            Worker *w = new Worker;
            w->tid = (pid_t)syscall(SYS_gettid);
            stack_t alternate = {};  // the stack of a fiber may be what overflowed
            alternate.ss_size = 64 << 10;
            alternate.ss_sp = malloc(alternate.ss_size);
            sigaltstack(&alternate, nullptr);
            all_workers[index].store(w);
            f(*w);
        }).detach();
    }

    static void work(Worker &w, Job &j) {
        Outcome o = w.run_blocks(j);
        int ok = 0;
        if (o != Outcome::ok) j.outcome.compare_exchange_strong(ok, (int)o);
    }

    void device(Worker &w) {
        std::unique_lock<std::mutex> lock(mutex);
        device_worker = &w;
        for (;;) {
            while (task == nullptr) begin.wait(lock);
            lock.unlock();
            (*task)();
            lock.lock();
            task = nullptr;
            end.notify_one();
        }
    }

    void help(Worker &w) {
        std::unique_lock<std::mutex> lock(mutex);
        for (uint64_t seen = 0;;) {
            while (wanted == 0 || generation == seen) begin.wait(lock);
            seen = generation;
            wanted--;
            active++;
            Job *j = job;
            lock.unlock();
            work(w, *j);
            lock.lock();
            if (--active == 0) left.notify_one();
        }
    }
};

static Pool &pool() {
    static Pool *p = new Pool;  // never freed: its threads wait for work when the process ends
    return *p;
}

void on_device(const std::function<void()> &f) { pool().on_device(f); }

Outcome run(const Launch &launch, const Order &order) { return pool().run(launch, order); }

}  // namespace nm
