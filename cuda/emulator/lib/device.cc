#include "device.h"

#include <stdio.h>
#include <string.h>

#include <thread>

namespace nm {

Settings settings;
Counts counts;

long long *Settings::find(const char *name) {
    struct {
        const char *name;
        long long *value;
    } all[] = {{"devices", &devices}, {"init", &init}, {"version", &version}, {"memory", &memory}, {"taken", &taken}, {"compute", &compute}, {"multiprocessors", &multiprocessors}, {"others", &others}, {"fail_alloc", &fail_alloc},
               {"lost_launch", &lost_launch}, {"lost_code", &lost_code}, {"lost_device", &lost_device}, {"threads", &threads}, {"cudnn", &cudnn}, {"reverse", &reverse}};
    for (auto &s : all)
        if (strcmp(s.name, name) == 0) return s.value;
    return nullptr;
}

void Context::clear() {
    for (auto *s : streams) delete s;
    for (auto *g : graphs) delete g;
    for (auto *g : executables) delete g;
    for (auto *m : modules) delete m;
    for (auto *f : functions) delete f;
    streams.clear();
    graphs.clear();
    executables.clear();
    events.clear();
    modules.clear();
    functions.clear();
    memory.free_all();
    lost = SUCCESS;
}

void Context::add(Stream *s, std::shared_ptr<Op> op) {
    if (s->capture != nullptr) {
        s->capture->ops.push_back(std::move(op));
        if (s != s->capture->origin) s->capture->unjoined.insert(s);
        return;
    }
    s->queue.push_back(std::move(op));
    s->queued++;
    if (s->queue.size() >= 4096) drain(s, s->queued);  // a GPU would have begun as well
}

int Context::drain(Stream *s, uint64_t until) {
    if (lost == SUCCESS && s->run < until) {
        counts.waits++;
        on_device([&] { execute_up_to(s, until); });
        if (lost == SUCCESS && !memory.intact()) lost = ILLEGAL_ADDRESS;
    }
    return lost;
}

int Context::drain_all() {
    for (auto *s : streams) drain(s, s->queued);
    return lost;
}

int Context::execute_up_to(Stream *s, uint64_t until) {
    while (lost == SUCCESS && s->run < until && !s->queue.empty()) {
        std::shared_ptr<Op> op = s->queue.front();
        s->queue.pop_front();
        s->run++;
        int r = execute(*op);
        if (r != SUCCESS && lost == SUCCESS) lost = r;
    }
    return lost;
}

int Context::execute(Op &op) {
    switch (op.kind) {
    case Op::launch: {
        counts.launches++;
        if ((settings.lost_device < 0 || settings.lost_device == device) && settings.lost_launch > 0 && --settings.lost_launch == 0) return (int)settings.lost_code;
        Order order;
        long long threads = settings.threads > 0 ? settings.threads : (long long)std::thread::hardware_concurrency();
        order.threads = threads < 1 ? 1 : (unsigned)threads;
        order.reverse = settings.reverse != 0;
        switch (run(op.kernel, order)) {
        case Outcome::ok: return SUCCESS;
        case Outcome::failed: return LAUNCH_FAILED;
        case Outcome::illegal_address: return ILLEGAL_ADDRESS;
        }
        return LAUNCH_FAILED;
    }
    case Op::upload:
        if (!memory.holds(op.to, op.bytes)) return ILLEGAL_ADDRESS;
        memcpy(op.to, op.staged.empty() ? op.from : op.staged.data(), op.bytes);
        counts.uploaded += (long long)op.bytes;
        return SUCCESS;
    case Op::download:
        if (!memory.holds(op.from, op.bytes)) return ILLEGAL_ADDRESS;
        memcpy(op.to, op.from, op.bytes);
        return SUCCESS;
    case Op::copy:
        if (!memory.holds(op.from, op.bytes) || !memory.holds(op.to, op.bytes)) return ILLEGAL_ADDRESS;
        memcpy(op.to, op.from, op.bytes);
        return SUCCESS;
    case Op::fill8:
        if (!memory.holds(op.to, op.bytes)) return ILLEGAL_ADDRESS;
        memset(op.to, (int)op.value, op.bytes);
        return SUCCESS;
    case Op::fill32:
        if (!memory.holds(op.to, op.bytes)) return ILLEGAL_ADDRESS;
        for (size_t i = 0; i < op.bytes; i += 4) memcpy(op.to + i, &op.value, 4);
        return SUCCESS;
    case Op::record:
        op.event->time = std::chrono::steady_clock::now();
        if (op.event->stream == op.stream && op.event->place == op.place) op.event->reached = true;
        return SUCCESS;
    case Op::wait:
        return streams.count(op.stream) != 0 ? execute_up_to(op.stream, op.place) : SUCCESS;
    }
    return INVALID_VALUE;
}

}  // namespace nm
