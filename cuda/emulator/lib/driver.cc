// The part of the CUDA driver API that netmend uses (cuda/driver/shim.h), over the emulated device. Where NVIDIA's documentation leaves a choice, this
// takes the one that hides least.
#include <stdlib.h>
#include <string.h>

#include <mutex>

#include "device.h"

#define API extern "C" __attribute__((visibility("default")))

using namespace nm;

typedef unsigned long long Pointer;

static std::recursive_mutex mutex;
static bool initialized;
static std::vector<std::unique_ptr<Context>> contexts;  // one per device: the primary contexts
static __thread Context *current;

#define LOCK() std::lock_guard<std::recursive_mutex> lock(mutex)
// ENTER is how a call begins that needs a usable current context.
#define ENTER()                                              \
    LOCK();                                                  \
    if (!initialized) return NOT_INITIALIZED;                \
    Context *x = current;                                    \
    if (x == nullptr || x->retained == 0) return INVALID_CONTEXT; \
    if (x->lost != SUCCESS) return x->lost

template <class T> static bool has(const std::set<T *> &s, const void *p) { return s.count(static_cast<T *>(const_cast<void *>(p))) != 0; }

static std::shared_ptr<Event> find_event(Context *x, const void *p) {
    for (auto &e : x->events)
        if (e.get() == p) return e;
    return nullptr;
}

// --- Start, devices. ------------------------------------------------------------------------------------------------------------------------------

API int nmEmulatorSet(const char *name, long long value) {
    LOCK();
    long long *p = settings.find(name);
    if (p == nullptr) return INVALID_VALUE;
    *p = value;
    return SUCCESS;
}

API long long nmEmulatorGet(const char *name) {
    LOCK();
    if (strcmp(name, "launches") == 0) return counts.launches;
    if (strcmp(name, "graph_launches") == 0) return counts.graph_launches;
    if (strcmp(name, "waits") == 0) return counts.waits;
    if (strcmp(name, "uploaded") == 0) return counts.uploaded;
    long long live = 0, bytes = 0;
    for (auto &x : contexts) live += (long long)x->memory.count(), bytes += (long long)x->memory.used();
    if (strcmp(name, "allocations") == 0) return live;
    if (strcmp(name, "bytes") == 0) return bytes;
    const long long *p = settings.find(name);
    return p == nullptr ? -1 : *p;
}

// configure reads "name=value,name=value"; unknown names are an error.
static bool configure(const char *text) {
    settings = Settings();
    std::string rest = text == nullptr ? "" : text;
    while (!rest.empty()) {
        size_t comma = rest.find(',');
        std::string part = rest.substr(0, comma);
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
        size_t equals = part.find('=');
        long long *p = equals == std::string::npos ? nullptr : settings.find(part.substr(0, equals).c_str());
        if (p == nullptr) {
            fprintf(stderr, "emulator: NETMEND_EMULATOR: %s is not known\n", part.c_str());
            return false;
        }
        *p = atoll(part.c_str() + equals + 1);
    }
    return true;
}

API int cuDriverGetVersion(int *version) {
    LOCK();
    if (!configure(getenv("NETMEND_EMULATOR"))) return INVALID_VALUE;
    *version = (int)settings.version;
    return SUCCESS;
}

API int cuInit(unsigned flags) {
    LOCK();
    if (flags != 0 || !configure(getenv("NETMEND_EMULATOR"))) return INVALID_VALUE;
    if (settings.init != SUCCESS) return (int)settings.init;
    if (settings.devices == 0) return NO_DEVICE;
    initialized = true;
    while ((long long)contexts.size() < settings.devices) {
        contexts.emplace_back(new Context);
        contexts.back()->device = (int)contexts.size() - 1;
    }
    return SUCCESS;
}

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {714, "CUDA_ERROR_HARDWARE_STACK_ERROR", "hardware stack error"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began"},
    {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

API int cuGetErrorName(int error, const char **name) {
    for (auto &e : errors)
        if (e.code == error) return *name = e.name, SUCCESS;
    *name = nullptr;
    return INVALID_VALUE;
}

API int cuGetErrorString(int error, const char **text) {
    for (auto &e : errors)
        if (e.code == error) return *text = e.text, SUCCESS;
    *text = nullptr;
    return INVALID_VALUE;
}

API int cuDeviceGetCount(int *count) {
    LOCK();
    if (!initialized) return NOT_INITIALIZED;
    *count = (int)settings.devices;
    return SUCCESS;
}

#define DEVICE(d)                             \
    LOCK();                                   \
    if (!initialized) return NOT_INITIALIZED; \
    if ((d) < 0 || (d) >= settings.devices) return INVALID_DEVICE

API int cuDeviceGet(int *device, int ordinal) {
    DEVICE(ordinal);
    *device = ordinal;
    return SUCCESS;
}

static bool other(int device) { return device >= settings.devices - settings.others; }

API int cuDeviceGetName(char *name, int length, int device) {
    DEVICE(device);
    snprintf(name, (size_t)length, other(device) ? "netmend emulator II" : "netmend emulator");
    return SUCCESS;
}

API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    DEVICE(device);
    *bytes = (size_t)settings.memory;
    return SUCCESS;
}

// What a multiprocessor has (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
constexpr int shared_per_block = 48 << 10;
static int shared_optin() { return settings.compute >= 90 ? 227 << 10 : settings.compute == 80 ? 163 << 10 : settings.compute > 80 ? 99 << 10 : 64 << 10; }
static int threads_per_sm() { return settings.compute == 75 ? 1024 : settings.compute == 86 || settings.compute == 89 ? 1536 : 2048; }
static int blocks_per_sm() { return settings.compute == 75 || settings.compute == 86 ? 16 : settings.compute == 89 ? 24 : 32; }

API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    DEVICE(device);
    switch (attribute) {
    case 1: *value = 1024; return SUCCESS;                            // MAX_THREADS_PER_BLOCK
    case 8: *value = shared_per_block; return SUCCESS;                // MAX_SHARED_MEMORY_PER_BLOCK
    case 10: *value = 32; return SUCCESS;                             // WARP_SIZE
    case 16: *value = (int)settings.multiprocessors + other(device); return SUCCESS;  // MULTIPROCESSOR_COUNT
    case 20: *value = 0; return SUCCESS;                              // COMPUTE_MODE
    case 75: *value = (int)settings.compute / 10; return SUCCESS;     // COMPUTE_CAPABILITY_MAJOR
    case 76: *value = (int)settings.compute % 10; return SUCCESS;     // COMPUTE_CAPABILITY_MINOR
    case 97: *value = shared_optin(); return SUCCESS;                   // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    }
    return INVALID_VALUE;
}

// --- Contexts. ------------------------------------------------------------------------------------------------------------------------------------

API int cuDevicePrimaryCtxRetain(Context **context, int device) {
    DEVICE(device);
    Context *x = contexts[(size_t)device].get();
    x->retained++;
    *context = x;
    return SUCCESS;
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
    DEVICE(device);
    Context *x = contexts[(size_t)device].get();
    if (x->retained == 0) return INVALID_CONTEXT;
    if (--x->retained == 0) x->clear();
    return SUCCESS;
}

API int cuCtxSetCurrent(Context *context) {
    LOCK();
    if (!initialized) return NOT_INITIALIZED;
    bool known = context == nullptr;
    for (auto &x : contexts) known = known || x.get() == context;
    if (!known || (context != nullptr && context->retained == 0)) return INVALID_CONTEXT;
    current = context;
    return SUCCESS;
}

static bool capturing(Context *x) {
    for (auto *s : x->streams)
        if (s->capture != nullptr) return true;
    return false;
}

API int cuCtxSynchronize() {
    ENTER();
    if (capturing(x)) return CAPTURE_UNSUPPORTED;
    return x->drain_all();
}

// --- Memory. --------------------------------------------------------------------------------------------------------------------------------------

static Memory host;  // page-locked; of the process

// room is what is free of a device's memory.
static size_t room(Context *x) {
    size_t used = x->memory.used() + (size_t)settings.taken;
    return (size_t)settings.memory < used ? 0 : (size_t)settings.memory - used;
}

API int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    ENTER();
    *total = (size_t)settings.memory;
    *free_bytes = room(x);
    return SUCCESS;
}

API int cuMemAlloc_v2(Pointer *pointer, size_t bytes) {
    ENTER();
    *pointer = 0;
    if (bytes == 0) return INVALID_VALUE;
    if (settings.fail_alloc > 0 && --settings.fail_alloc == 0) return OUT_OF_MEMORY;
    if (bytes > room(x)) return OUT_OF_MEMORY;
    char *p = x->memory.alloc(bytes);
    if (p == nullptr) return OUT_OF_MEMORY;
    *pointer = (Pointer)(uintptr_t)p;
    return SUCCESS;
}

API int cuMemFree_v2(Pointer pointer) {
    ENTER();
    if (!x->memory.intact()) return x->lost = ILLEGAL_ADDRESS;
    return x->memory.free((char *)(uintptr_t)pointer) ? SUCCESS : INVALID_VALUE;
}

API int cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
    ENTER();
    if (bytes == 0) return INVALID_VALUE;
    *pointer = host.alloc(bytes);
    return *pointer == nullptr ? OUT_OF_MEMORY : SUCCESS;
}

API int cuMemFreeHost(void *pointer) {
    ENTER();
    if (!host.intact()) return x->lost = ILLEGAL_ADDRESS;
    return host.free(static_cast<char *>(pointer)) ? SUCCESS : INVALID_VALUE;
}

static char *device_bytes(Pointer p) { return (char *)(uintptr_t)p; }

#define STREAM(s) \
    ENTER();      \
    if (!has(x->streams, s)) return INVALID_HANDLE

API int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, Stream *s) {
    STREAM(s);
    if (!x->memory.holds(device_bytes(to), bytes)) return INVALID_VALUE;
    bool locked = host.holds(from, bytes);
    if (!locked && s->capture != nullptr) {
        s->capture->broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    auto op = std::make_shared<Op>();
    op->kind = Op::upload, op->to = device_bytes(to), op->from = static_cast<const char *>(from), op->bytes = bytes;
    if (!locked) op->staged.assign(op->from, op->from + bytes);
    x->add(s, op);
    return SUCCESS;
}

API int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, Stream *s) {
    STREAM(s);
    if (!x->memory.holds(device_bytes(from), bytes)) return INVALID_VALUE;
    bool locked = host.holds(to, bytes);
    if (!locked && s->capture != nullptr) {
        s->capture->broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    auto op = std::make_shared<Op>();
    op->kind = Op::download, op->to = static_cast<char *>(to), op->from = device_bytes(from), op->bytes = bytes;
    x->add(s, op);
    return locked ? (int)SUCCESS : x->drain(s, s->queued);  // to pageable memory the call returns when the copy is done
}

API int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, Stream *s) {
    STREAM(s);
    if (!x->memory.holds(device_bytes(to), bytes) || !x->memory.holds(device_bytes(from), bytes)) return INVALID_VALUE;
    if (to < from + bytes && from < to + bytes) return INVALID_VALUE;  // overlapping copies have no defined result
    auto op = std::make_shared<Op>();
    op->kind = Op::copy, op->to = device_bytes(to), op->from = device_bytes(from), op->bytes = bytes;
    x->add(s, op);
    return SUCCESS;
}

static int fill(Op::Kind kind, Pointer to, unsigned value, size_t bytes, Stream *s) {
    STREAM(s);
    if (!x->memory.holds(device_bytes(to), bytes) || (kind == Op::fill32 && to % 4 != 0)) return INVALID_VALUE;
    auto op = std::make_shared<Op>();
    op->kind = kind, op->to = device_bytes(to), op->value = value, op->bytes = bytes;
    x->add(s, op);
    return SUCCESS;
}

API int cuMemsetD8Async(Pointer to, unsigned char value, size_t count, Stream *s) { return fill(Op::fill8, to, value, count, s); }

API int cuMemsetD32Async(Pointer to, unsigned value, size_t count, Stream *s) {
    return count > SIZE_MAX / 4 ? (int)INVALID_VALUE : fill(Op::fill32, to, value, count * 4, s);
}

// --- Streams, capture, graphs. --------------------------------------------------------------------------------------------------------------------

API int cuStreamCreate(Stream **stream, unsigned flags) {
    ENTER();
    if (flags != 1) return INVALID_VALUE;  // CU_STREAM_NON_BLOCKING is all that is emulated: there is no default stream
    Stream *s = new Stream;
    s->context = x;
    x->streams.insert(s);
    *stream = s;
    return SUCCESS;
}

API int cuStreamDestroy_v2(Stream *s) {
    STREAM(s);
    if (s->capture != nullptr) return CAPTURE_UNSUPPORTED;
    int r = x->drain(s, s->queued);
    x->streams.erase(s);
    for (auto &e : x->events)
        if (e->stream == s) e->stream = nullptr;
    delete s;
    return r;
}

// refuse_capture: waiting for a stream that is captured makes its capture worthless.
static bool refuse_capture(Stream *s) {
    if (s->capture == nullptr) return false;
    s->capture->broken = true;
    return true;
}

API int cuStreamSynchronize(Stream *s) {
    STREAM(s);
    if (refuse_capture(s)) return CAPTURE_UNSUPPORTED;
    return x->drain(s, s->queued);
}

API int cuStreamQuery(Stream *s) {
    STREAM(s);
    if (refuse_capture(s)) return CAPTURE_UNSUPPORTED;
    if (s->run == s->queued) return SUCCESS;
    int r = x->drain(s, s->queued);
    return r != SUCCESS ? r : (int)NOT_READY;  // it was not when asked
}

API int cuStreamWaitEvent(Stream *s, void *event, unsigned flags) {
    STREAM(s);
    auto e = find_event(x, event);
    if (e == nullptr) return INVALID_HANDLE;
    if (flags != 0) return INVALID_VALUE;
    if (e->graph != nullptr) {  // recorded in a capture: this stream joins it, or is the one that it joins
        if (!has(x->graphs, e->graph)) return INVALID_VALUE;  // that capture has ended
        if (s->capture != nullptr && s->capture != e->graph) return CAPTURE_UNSUPPORTED;
        s->capture = e->graph;
        if (e->stream != nullptr && s == e->graph->origin) e->graph->unjoined.erase(e->stream);
        if (s != e->graph->origin) e->graph->unjoined.insert(s);
        return SUCCESS;
    }
    if (s->capture != nullptr) return CAPTURE_UNSUPPORTED;  // a graph cannot wait for work outside
    if (!e->recorded || e->stream == nullptr || e->stream == s) return SUCCESS;
    auto op = std::make_shared<Op>();
    op->kind = Op::wait, op->stream = e->stream, op->place = e->place;
    x->add(s, op);
    return SUCCESS;
}

API int cuStreamBeginCapture_v2(Stream *s, int mode) {
    STREAM(s);
    if (mode != 2) return INVALID_VALUE;  // CU_STREAM_CAPTURE_MODE_RELAXED is all that is emulated
    if (s->capture != nullptr) return CAPTURE_UNSUPPORTED;
    Graph *g = new Graph;
    g->origin = s;
    s->capture = g;
    x->graphs.insert(g);
    return SUCCESS;
}

API int cuStreamEndCapture(Stream *s, Graph **graph) {
    STREAM(s);
    *graph = nullptr;
    Graph *g = s->capture;
    if (g == nullptr) return INVALID_VALUE;
    if (g->origin != s) return CAPTURE_UNMATCHED;
    for (auto *other : x->streams)
        if (other->capture == g) other->capture = nullptr;
    if (!g->broken && g->unjoined.empty()) return *graph = g, SUCCESS;
    int r = g->broken ? CAPTURE_INVALIDATED : CAPTURE_UNJOINED;
    x->graphs.erase(g);
    delete g;
    return r;
}

API int cuGraphGetNodes(Graph *g, void **nodes, size_t *count) {
    ENTER();
    if (!has(x->graphs, g)) return INVALID_HANDLE;
    if (nodes != nullptr) return INVALID_VALUE;  // their number is all that is emulated
    *count = g->ops.size();
    return SUCCESS;
}

API int cuGraphInstantiateWithFlags(Graph **executable, Graph *g, unsigned long long flags) {
    ENTER();
    if (!has(x->graphs, g)) return INVALID_HANDLE;
    if (flags != 0) return INVALID_VALUE;
    *executable = new Graph(*g);
    x->executables.insert(*executable);
    return SUCCESS;
}

API int cuGraphDestroy(Graph *g) {
    ENTER();
    if (x->graphs.erase(g) == 0) return INVALID_HANDLE;
    delete g;
    return SUCCESS;
}

API int cuGraphExecDestroy(Graph *g) {
    ENTER();
    if (x->executables.erase(g) == 0) return INVALID_HANDLE;
    delete g;
    return SUCCESS;
}

API int cuGraphLaunch(Graph *g, Stream *s) {
    STREAM(s);
    if (!has(x->executables, g)) return INVALID_HANDLE;
    if (s->capture != nullptr) return CAPTURE_UNSUPPORTED;
    counts.graph_launches++;
    for (auto &op : g->ops) x->add(s, op);
    return SUCCESS;
}

// --- Events. --------------------------------------------------------------------------------------------------------------------------------------

API int cuEventCreate(Event **event, unsigned flags) {
    ENTER();
    if (flags != 0 && flags != 2) return INVALID_VALUE;
    auto e = std::make_shared<Event>();
    e->context = x;
    e->timing = flags == 0;
    x->events.insert(e);
    *event = e.get();
    return SUCCESS;
}

#define EVENT(p)                  \
    ENTER();                      \
    auto e = find_event(x, p);    \
    if (e == nullptr) return INVALID_HANDLE

API int cuEventDestroy_v2(void *event) {
    EVENT(event);
    x->events.erase(e);
    return SUCCESS;
}

API int cuEventRecord(void *event, Stream *s) {
    EVENT(event);
    if (!has(x->streams, s)) return INVALID_HANDLE;
    e->stream = s;
    e->recorded = true;
    e->graph = s->capture;
    if (s->capture != nullptr) return SUCCESS;
    e->reached = false;
    auto op = std::make_shared<Op>();
    op->kind = Op::record, op->event = e, op->stream = s;
    op->place = e->place = s->queued + 1;
    x->add(s, op);
    return SUCCESS;
}

API int cuEventSynchronize(void *event) {
    EVENT(event);
    if (e->graph != nullptr) return CAPTURED_EVENT;
    return e->reached || e->stream == nullptr ? (int)SUCCESS : x->drain(e->stream, e->place);
}

API int cuEventQuery(void *event) {
    EVENT(event);
    if (e->graph != nullptr) return CAPTURED_EVENT;
    if (e->reached || e->stream == nullptr) return SUCCESS;
    int r = x->drain(e->stream, e->place);
    return r != SUCCESS ? r : (int)NOT_READY;
}

API int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    EVENT(end);
    auto b = find_event(x, start);
    if (b == nullptr || !b->timing || !e->timing || !b->recorded || !e->recorded) return INVALID_HANDLE;
    if (!b->reached || !e->reached) return NOT_READY;
    *milliseconds = std::chrono::duration<float, std::milli>(e->time - b->time).count();
    return SUCCESS;
}

// --- Modules, functions, launches. ----------------------------------------------------------------------------------------------------------------

// An image is taken for what it claims to be, PTX or a cubin: the kernels that run are those that this library was compiled with.
API int cuModuleLoadDataEx(Module **module, const void *image, unsigned options, int *option, void **value) {
    ENTER();
    const char *text = static_cast<const char *>(image);
    if (strncmp(text, "//", 2) != 0 && strncmp(text, ".version", 8) != 0 && memcmp(text, "\177ELF", 4) != 0) {
        char *log = nullptr;
        size_t length = 0;
        for (unsigned i = 0; i < options; i++) {
            if (option[i] == 5) log = static_cast<char *>(value[i]);  // CU_JIT_ERROR_LOG_BUFFER
            if (option[i] == 6) length = (size_t)(uintptr_t)value[i];
        }
        if (log != nullptr && length > 0) snprintf(log, length, "ptxas fatal   : this is neither PTX nor a cubin");
        return INVALID_PTX;
    }
    Module *m = new Module{x};
    x->modules.insert(m);
    *module = m;
    return SUCCESS;
}

API int cuModuleUnload(Module *m) {
    ENTER();
    if (x->modules.erase(m) == 0) return INVALID_HANDLE;
    for (auto i = x->functions.begin(); i != x->functions.end();) {
        Function *f = *i;
        if (f->module != m) {
            ++i;
            continue;
        }
        i = x->functions.erase(i);
        delete f;
    }
    delete m;
    return SUCCESS;
}

API int cuModuleGetFunction(Function **function, Module *m, const char *name) {
    ENTER();
    if (!has(x->modules, m)) return INVALID_HANDLE;
    const Kernel *k = find(name);
    if (k == nullptr) return NOT_FOUND;
    for (auto *f : x->functions)
        if (f->module == m && f->kernel == k) return *function = f, SUCCESS;
    Function *f = new Function{x, m, k};
    x->functions.insert(f);
    *function = f;
    return SUCCESS;
}

#define FUNCTION(f) \
    ENTER();        \
    if (!has(x->functions, f)) return INVALID_HANDLE

API int cuFuncGetAttribute(int *value, int attribute, Function *f) {
    FUNCTION(f);
    switch (attribute) {
    case 0: *value = (int)f->kernel->max_threads; return SUCCESS;  // MAX_THREADS_PER_BLOCK
    case 1: *value = 0; return SUCCESS;                            // SHARED_SIZE_BYTES: unknown here
    case 3: *value = 0; return SUCCESS;                            // LOCAL_SIZE_BYTES
    case 4: *value = 32; return SUCCESS;                           // NUM_REGS
    case 8: *value = f->shared; return SUCCESS;                    // MAX_DYNAMIC_SHARED_SIZE_BYTES
    }
    return INVALID_VALUE;
}

API int cuFuncSetAttribute(Function *f, int attribute, int value) {
    FUNCTION(f);
    if (attribute != 8 || value < 0 || value > shared_optin()) return INVALID_VALUE;
    f->shared = value;
    return SUCCESS;
}

API int cuFuncGetParamInfo(Function *f, size_t index, size_t *offset, size_t *size) {
    FUNCTION(f);
    if (index >= (size_t)f->kernel->params) return INVALID_VALUE;
    size_t at = 0;
    for (size_t i = 0;; i++) {
        size_t a = f->kernel->align[i];
        at = (at + a - 1) / a * a;
        if (i == index) break;
        at += f->kernel->size[i];
    }
    *offset = at;
    *size = f->kernel->size[index];
    return SUCCESS;
}

API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *f, int threads, size_t shared) {
    FUNCTION(f);
    if (threads <= 0) return INVALID_VALUE;
    *blocks = threads > (int)f->kernel->max_threads ? 0 : std::min(blocks_per_sm(), threads_per_sm() / ((threads + 31) / 32 * 32));
    if (shared > 0) *blocks = std::min<int>(*blocks, (int)((size_t)shared_optin() / shared));
    return SUCCESS;
}

API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, Stream *s, void **params, void **extra) {
    STREAM(s);
    if (!has(x->functions, f)) return INVALID_HANDLE;
    // Limits of every compute capability (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
    if (gx == 0 || gx > 2147483647u || gy == 0 || gy > 65535 || gz == 0 || gz > 65535) return INVALID_VALUE;
    if (bx == 0 || bx > 1024 || by == 0 || by > 1024 || bz == 0 || bz > 64 || (uint64_t)bx * by * bz > f->kernel->max_threads) return INVALID_VALUE;
    if (shared > (unsigned)f->shared || extra != nullptr || (params == nullptr && f->kernel->params > 0)) return INVALID_VALUE;
    for (int i = 0; i < f->kernel->params; i++) {
        // A GPU would find out when it follows the pointer, if ever.
        if (!f->kernel->pointer[i]) continue;
        const void *p;
        memcpy(&p, params[i], sizeof p);
        if (p != nullptr && !x->memory.holds(p, 0)) {
            fprintf(stderr, "emulator: kernel %s: parameter %d is %p, which is in no allocation\n", f->kernel->name, i, p);
            return INVALID_VALUE;
        }
    }
    auto op = std::make_shared<Op>();
    op->kind = Op::launch;
    op->kernel.kernel = f->kernel;
    op->kernel.grid = {gx, gy, gz};
    op->kernel.block = {bx, by, bz};
    op->kernel.shared = shared;
    op->kernel.set_params(params);
    x->add(s, op);
    return SUCCESS;
}
