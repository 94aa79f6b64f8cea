// What every kernel file includes first. The same source is compiled twice: by NVRTC for the GPU, with no header but this one, and by g++ with
// NM_EMULATED for the emulator of cuda/emulator, which runs it on the CPU in tests. What may be used is therefore what both know: the list at
// the top of emulated.h. Everything else (inline PTX, tensor cores) stands behind #ifndef NM_EMULATED, with the same arithmetic beside it.
//
// Arithmetic. Kernels are compiled with --fmad=false and without fast-math, the emulator's with -ffp-contract=off: a product and a sum are fused
// where the source says fmaf and nowhere else, and + - * / sqrtf fmaf round to nearest on both sides. A kernel therefore gives the same
// bits on the GPU and in the emulator as long as it calls no other function; expf and its kin differ by the few units in the last place that
// NVIDIA's table of maximum errors allows (CUDA C++ Programming Guide, "Mathematical Functions"). No atomic addition of floats: the order of sums is fixed.
#pragma once

#ifdef NM_EMULATED
#include "emulated.h"
#else

typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

// NM_KERNEL(name, max_threads, parameters...) { body } defines a kernel that is launched with at most max_threads threads a block. Parameters are
// pointers to global memory, scalars, and structures of scalars and arrays (at most 4096 bytes in all), passed by value.
#define NM_KERNEL(name, max_threads, ...) extern "C" __global__ void __launch_bounds__(max_threads) name(__VA_ARGS__)

// NM_DYNAMIC_SHARED(type, name) declares name, a pointer to the shared memory that the launch asked for, aligned to 16 bytes.
#define NM_DYNAMIC_SHARED(type, name)                             \
    extern __shared__ __align__(16) unsigned char nm_dynamic_shared[]; \
    type *name = reinterpret_cast<type *>(nm_dynamic_shared)

// NM_ASSERT(condition) ends the launch with an error that names the place, in the emulator only: on the GPU it costs nothing and does nothing.
#define NM_ASSERT(condition) ((void)0)

#endif

#define NM_WARP 32
#define NM_FULL_MASK 0xffffffffu

// NM_INF and NM_NAN are constants of type float: NVRTC has no math.h.
#define NM_INF __int_as_float(0x7f800000)
#define NM_NAN __int_as_float(0x7fc00000)
