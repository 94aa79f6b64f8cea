#include "memory.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

namespace nm {

constexpr size_t page = 4096, align = 256;
constexpr size_t quarantine = 4096;  // allocations; each keeps addresses, not memory

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

char *Memory::alloc(size_t bytes) {
    size_t used = round_up(bytes, align);
    Block b;
    b.bytes = bytes;
    b.mapped = round_up(used, page) + 2 * page;
    void *p = mmap(nullptr, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    b.pages = static_cast<char *>(p);
    char *end = b.pages + b.mapped - page;
    b.start = end - used;
    if (mprotect(b.pages + page, (size_t)(end - b.pages) - page, PROT_READ | PROT_WRITE) != 0) {
        munmap(p, b.mapped);
        return nullptr;
    }
    memset(b.pages + page, 0xFF, (size_t)(end - b.pages) - page);
    blocks[b.start] = b;
    used_ += bytes;
    return b.start;
}

bool Memory::free(char *start) {
    auto i = blocks.find(start);
    if (i == blocks.end()) return false;
    Block b = i->second;
    blocks.erase(i);
    used_ -= b.bytes;
    mmap(b.pages, b.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    freed.push_back(b);
    if (freed.size() > quarantine) {
        munmap(freed.front().pages, freed.front().mapped);
        freed.pop_front();
    }
    return true;
}

void Memory::free_all() {
    while (!blocks.empty()) free(blocks.begin()->second.start);
}

bool Memory::holds(const void *p, size_t bytes) const {
    const char *at = static_cast<const char *>(p);
    auto i = blocks.upper_bound(at);
    if (i == blocks.begin()) return false;
    const Block &b = (--i)->second;
    return (size_t)(at - b.start) <= b.bytes && bytes <= b.bytes - (size_t)(at - b.start);
}

bool Memory::intact() const {
    for (auto &i : blocks) {
        const Block &b = i.second;
        const char *end = b.start + round_up(b.bytes, align);
        for (const char *p = b.start + b.bytes; p < end; p++) {
            if (*p != (char)0xFF) {
                fprintf(stderr, "emulator: something was written %zu bytes past the end of the allocation of %zu bytes at %p\n", (size_t)(p - b.start) - b.bytes, b.bytes, (void *)b.start);
                return false;
            }
        }
        const char *front = b.start - (b.start - b.pages - (ptrdiff_t)page >= (ptrdiff_t)align ? align : b.start - b.pages - page);
        for (const char *p = front; p < b.start; p++) {
            if (*p != (char)0xFF) {
                fprintf(stderr, "emulator: something was written %zu bytes before the allocation of %zu bytes at %p\n", (size_t)(b.start - p), b.bytes, (void *)b.start);
                return false;
            }
        }
    }
    return true;
}

}  // namespace nm
