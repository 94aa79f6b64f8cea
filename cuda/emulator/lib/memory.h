// Device and page-locked memory. Every allocation ends at a page that cannot be touched; fresh memory is 0xFF, that is NaN, and so is the rest of the last
// 256 bytes, which is checked; freed memory cannot be touched and its addresses are not given out again for a long time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <map>

namespace nm {

struct Block {
    char *pages;
    size_t mapped, bytes;
    char *start;
};

class Memory {
   public:
    // alloc gives nullptr where the machine has no room.
    char *alloc(size_t bytes);
    bool free(char *start);                          // false: no allocation begins there
    void free_all();
    bool holds(const void *p, size_t bytes) const;   // all of the bytes lie in one allocation
    bool intact() const;                             // nothing was written past an end; says where on standard error
    size_t used() const { return used_; }
    size_t count() const { return blocks.size(); }

   private:
    std::map<const char *, Block> blocks;  // by start
    std::deque<Block> freed;
    size_t used_ = 0;
};

}  // namespace nm
