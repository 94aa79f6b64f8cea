// The emulated device: contexts, streams, events, graphs, and the work that they queue. driver.cc is the API over it.
//
// Work is run late: when someone waits for it, so that a host which reads a result without waiting finds something else.
#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <set>
#include <vector>

#include "blocks.h"
#include "memory.h"

namespace nm {

// Results, with their values in cuda.h.
enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_UNJOINED = 904,
    CAPTURED_EVENT = 907,
};

// Settings are what tests choose: NETMEND_EMULATOR="name=value,…" when cuInit is called, nmEmulatorSet later.
struct Settings {
    long long devices = 1;
    long long init = 0;                   // what cuInit gives
    long long version = 12040;            // of the driver
    long long memory = 4LL << 30;         // bytes of a device
    long long taken = 0;                  // bytes of it that other programs hold
    long long compute = 75;               // capability: 75 is 7.5, the least that the kernels are compiled for
    long long multiprocessors = 2;
    long long others = 0;                 // the last so many devices are of another model, with a multiprocessor more
    long long fail_alloc = 0;             // the n-th allocation from now on is refused; 0: none
    long long lost_launch = 0;            // the n-th kernel from now on loses the context
    long long lost_code = ILLEGAL_ADDRESS;
    long long lost_device = -1;           // the device whose kernels lost_launch counts; -1: all
    long long threads = 0;                // OS threads that run blocks; 0: one per processor
    long long cudnn = 90701;              // version of cuDNN
    long long reverse = 0;                // run blocks and threads from the last to the first
    long long *find(const char *name);
};
extern Settings settings;

struct Stream;
struct Context;

struct Event {
    Context *context;
    bool timing;
    Stream *stream = nullptr;  // of the last record; nullptr: none
    uint64_t place = 0;        // in the stream's queue
    struct Graph *graph = nullptr;  // recorded in a stream that is captured for this graph
    bool reached = true;
    std::chrono::steady_clock::time_point time;
    bool recorded = false;
};

struct Op {
    enum Kind { launch, upload, download, copy, fill8, fill32, record, wait } kind;
    Launch kernel;
    char *to = nullptr;
    const char *from = nullptr;
    size_t bytes = 0;
    unsigned value = 0;
    std::vector<char> staged;  // an upload's own copy of pageable memory
    std::shared_ptr<Event> event;
    Stream *stream = nullptr;  // wait: for this stream
    uint64_t place = 0;        // to have come this far; record: this place
};

struct Graph {
    std::vector<std::shared_ptr<Op>> ops;
    std::set<Stream *> unjoined;  // streams that were forked off and have work that the first does not wait for
    Stream *origin = nullptr;
    bool broken = false;
};

struct Stream {
    Context *context;
    std::list<std::shared_ptr<Op>> queue;
    uint64_t queued = 0, run = 0;  // operations, since the beginning
    Graph *capture = nullptr;
};

struct Module {
    Context *context;
};

struct Function {
    Context *context;
    Module *module;
    const Kernel *kernel;
    int shared = 48 << 10;  // limit of dynamic shared memory
};

struct Context {
    int device;
    int retained = 0;
    int lost = SUCCESS;  // the error that made it unusable
    Memory memory;
    std::set<Stream *> streams;
    std::set<Graph *> graphs;
    std::set<Graph *> executables;
    std::set<std::shared_ptr<Event>> events;
    std::set<Module *> modules;
    std::set<Function *> functions;

    ~Context() { clear(); }
    void clear();                            // destroys all that was made in it
    void add(Stream *s, std::shared_ptr<Op> op);  // to the stream, or to the graph that captures it
    int drain(Stream *s, uint64_t until);    // runs the stream's work up to a place
    int drain_all();

   private:
    int execute(Op &op);
    int execute_up_to(Stream *s, uint64_t until);
};

// Counts since the library was loaded, for tests: nmEmulatorGet.
struct Counts {
    long long launches = 0, graph_launches = 0, allocations = 0, waits = 0, uploaded = 0;
};
extern Counts counts;

}  // namespace nm
