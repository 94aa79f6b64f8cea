// How the emulated libraries round factors for tensor cores.
#pragma once

#include <stdint.h>
#include <string.h>

namespace nm {

// keep rounds to so many bits of mantissa, to the nearest, ties to even.
inline float keep(float x, int bits) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if ((u >> 23 & 0xff) == 0xff) return x;
    uint32_t drop = 23 - (uint32_t)bits, half = 1u << (drop - 1);
    u += half - 1 + (u >> drop & 1);
    u &= ~((1u << drop) - 1);
    memcpy(&x, &u, 4);
    return x;
}

}  // namespace nm
