// The scheduler of blocks and threads: what runs a kernel on the CPU. See emulated.h for what kernels see of it.
#pragma once

#include <functional>
#include <vector>

#include "emulated.h"

namespace nm {

// Launch is one kernel launch with its own copy of the parameters.
struct Launch {
    const Kernel *kernel = nullptr;
    dim3 grid{1, 1, 1}, block{1, 1, 1};
    unsigned shared = 0;                   // bytes of dynamic shared memory
    std::vector<uint64_t> data;            // the parameters
    std::vector<uint32_t> offsets;         // of each, in bytes

    void set_params(void *const *params);  // copies them
};

enum class Outcome { ok, failed, illegal_address };

// Order says what runs how: on so many OS threads, and whether blocks and threads run from the last to the first. A correct kernel gives the same in
// either order; one that lacks a barrier does not.
struct Order {
    unsigned threads = 1;
    bool reverse = false;
};

constexpr unsigned max_shared = 227 << 10;  // bytes of dynamic shared memory that any GPU has (compute capability 9.0)

// on_device runs f on the thread that is the device, and waits for it. One caller at a time.
void on_device(const std::function<void()> &f);

// run runs a launch to its end; called from on_device's f. What went wrong is said on standard error, with the kernel and the thread.
Outcome run(const Launch &launch, const Order &order);

// find is the kernel of that name, or NULL.
const Kernel *find(const char *name);

}  // namespace nm
