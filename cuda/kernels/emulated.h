// CUDA C++ as far as our kernels use it, on the CPU. It is not a general emulator; it knows, and is stricter than a GPU about:
//
//   threadIdx blockIdx blockDim gridDim (x, y, z)   __shared__ arrays, NM_DYNAMIC_SHARED   __device__ __forceinline__ __restrict__ __constant__
//   __syncthreads __syncwarp __shfl_sync __shfl_up_sync __shfl_down_sync __shfl_xor_sync __ballot_sync __any_sync __all_sync, 32 lanes,
//       values of 32 or 64 bits
//   atomicAdd atomicMax atomicMin atomicExch atomicCAS atomicOr atomicAnd on 32- and 64-bit integers; __threadfence
//   float2 float4 int2 int4 uint2 uint4 and make_..., __ldg, min max, all of math.h, rsqrtf, __fmaf_rn, __fadd_rn __fmul_rn __fdiv_rn,
//       __float_as_int and its kin, __umulhi __mulhi __umul64hi __clz __popc __ffs __brev
//
// A block's threads run one after the other, each until it ends or waits. Errors that end a launch (CUDA_ERROR_LAUNCH_FAILED, with the kernel, block
// and thread on standard error): a barrier that some threads of the block, or some lanes of the mask, do not reach because they ended or wait
// elsewhere; a shuffle that reads a lane outside the mask; NM_ASSERT. An access outside every allocation ends it with
// CUDA_ERROR_ILLEGAL_ADDRESS. Shared memory holds 0xFF (NaN) when a launch begins.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NM_HIDDEN __attribute__((visibility("hidden")))

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

namespace nm {

// Place is what the thread that runs now knows of itself. It is written by the scheduler alone.
struct Place {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    unsigned lane;
    unsigned char *dynamic_shared;
};

extern NM_HIDDEN __thread Place *place;

// The rest of the scheduler as a kernel sees it (lib/blocks.cc).
NM_HIDDEN void wait_block();
NM_HIDDEN void wait_warp(unsigned mask);                                        // without values
NM_HIDDEN const uint64_t *exchange(unsigned mask, uint64_t value);              // the values of all lanes of mask, valid until the next wait
[[noreturn]] NM_HIDDEN void fail(const char *what);                             // ends the launch

// Kernel describes one kernel to the emulated driver. Kernels add themselves to a list when the library is loaded.
struct Kernel {
    static constexpr int max_params = 64;
    const char *name;
    unsigned max_threads;
    void (*invoke)(void (*)(), void *const *params);
    void (*function)();
    int params;
    size_t size[max_params], align[max_params];
    bool pointer[max_params];
    Kernel *next;
};
NM_HIDDEN void add(Kernel *);

template <class F> struct Invoker;
template <class... A> struct Invoker<void(A...)> {
    template <size_t... I> struct List {};
    template <size_t N, size_t... I> struct Make : Make<N - 1, N - 1, I...> {};
    template <size_t... I> struct Make<0, I...> { using type = List<I...>; };

    template <size_t... I> static void spread(void (*f)(), void *const *p, List<I...>) {
        reinterpret_cast<void (*)(A...)>(f)(*static_cast<const A *>(p[I])...);
    }
    static void invoke(void (*f)(), void *const *params) { spread(f, params, typename Make<sizeof...(A)>::type()); }
};

template <class T> struct is_pointer { static constexpr bool value = false; };
template <class T> struct is_pointer<T *> { static constexpr bool value = true; };

struct Registration {
    Kernel kernel;
    template <class... A> Registration(const char *name, unsigned max_threads, void (*f)(A...)) {
        static_assert(sizeof...(A) <= Kernel::max_params, "too many parameters");
        kernel = {name, max_threads, Invoker<void(A...)>::invoke, reinterpret_cast<void (*)()>(f), sizeof...(A), {sizeof(A)...}, {alignof(A)...},
                  {is_pointer<A>::value...}, nullptr};
        add(&kernel);
    }
};

template <class T> inline uint64_t to_bits(T v) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffled value has 32 or 64 bits");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    return bits;
}
template <class T> inline T from_bits(uint64_t bits) {
    T v;
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T> inline T shuffle(unsigned mask, T v, unsigned from) {
    const uint64_t *all = exchange(mask, to_bits(v));
    if (!(mask >> from & 1)) fail("a shuffle reads a lane outside its mask");
    return from_bits<T>(all[from]);
}

}  // namespace nm

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static __thread
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

#define NM_KERNEL(name, max_threads, ...)                                             \
    extern "C" NM_HIDDEN void name(__VA_ARGS__);                                      \
    static nm::Registration nm_registration_##name(#name, max_threads, &name);        \
    extern "C" NM_HIDDEN void name(__VA_ARGS__)
#define NM_DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(nm::place->dynamic_shared)
#define NM_STRING_(x) #x
#define NM_STRING(x) NM_STRING_(x)
#define NM_ASSERT(condition) ((condition) ? (void)0 : nm::fail(__FILE__ ":" NM_STRING(__LINE__) ": " #condition))

#define threadIdx (nm::place->thread)
#define blockIdx (nm::place->block)
#define blockDim (nm::place->block_dim)
#define gridDim (nm::place->grid_dim)
#define warpSize 32

static inline void __syncthreads() { nm::wait_block(); }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { nm::wait_warp(mask); }
static inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
static inline void __threadfence_block() {}

template <class T> static inline T __shfl_sync(unsigned mask, T v, int lane) { return nm::shuffle(mask, v, lane & 31); }
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int bits) { return nm::shuffle(mask, v, (nm::place->lane ^ bits) & 31); }
template <class T> static inline T __shfl_up_sync(unsigned mask, T v, unsigned delta) {
    unsigned lane = nm::place->lane;
    return nm::shuffle(mask, v, delta > lane ? lane : lane - delta);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned delta) {
    unsigned lane = nm::place->lane;
    return nm::shuffle(mask, v, lane + delta > 31 ? lane : lane + delta);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    const uint64_t *all = nm::exchange(mask, predicate != 0);
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; i++)
        if (mask >> i & 1) votes |= (unsigned)all[i] << i;
    return votes;
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
static inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == mask; }

// Integers only: sums of floats in the order of arrival would differ from run to run.
#define NM_ATOMICS(T)                                                                                                  \
    static inline T atomicAdd(T *p, T v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }                        \
    static inline T atomicOr(T *p, T v) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }                          \
    static inline T atomicAnd(T *p, T v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }                        \
    static inline T atomicExch(T *p, T v) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); }                      \
    static inline T atomicCAS(T *p, T expected, T v) {                                                                 \
        __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                       \
        return expected;                                                                                               \
    }                                                                                                                  \
    static inline T atomicMax(T *p, T v) {                                                                             \
        T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                                  \
        while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {       \
        }                                                                                                              \
        return old;                                                                                                    \
    }                                                                                                                  \
    static inline T atomicMin(T *p, T v) {                                                                             \
        T old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                                  \
        while (old > v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {       \
        }                                                                                                              \
        return old;                                                                                                    \
    }
NM_ATOMICS(int)
NM_ATOMICS(unsigned)
NM_ATOMICS(unsigned long)  // uint64_t here
NM_ATOMICS(unsigned long long)
#undef NM_ATOMICS

static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

template <class T> static inline T __ldg(const T *p) { return *p; }

static inline int min(int a, int b) { return b < a ? b : a; }
static inline int max(int a, int b) { return a < b ? b : a; }
static inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
static inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
static inline long min(long a, long b) { return b < a ? b : a; }
static inline long max(long a, long b) { return a < b ? b : a; }
static inline long long min(long long a, long long b) { return b < a ? b : a; }
static inline long long max(long long a, long long b) { return a < b ? b : a; }
static inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
static inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
static inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
static inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
static inline float min(float a, float b) { return fminf(a, b); }  // the number where one is NaN, as on the GPU
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline float rsqrtf(float x) { return (float)(1 / sqrt((double)x)); }
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frcp_rn(float a) { return 1 / a; }

static inline int __float_as_int(float x) { return nm::from_bits<int>(nm::to_bits(x)); }
static inline unsigned __float_as_uint(float x) { return nm::from_bits<unsigned>(nm::to_bits(x)); }
static inline float __int_as_float(int x) { return nm::from_bits<float>(nm::to_bits(x)); }
static inline float __uint_as_float(unsigned x) { return nm::from_bits<float>(nm::to_bits(x)); }
static inline long long __double_as_longlong(double x) { return nm::from_bits<long long>(nm::to_bits(x)); }
static inline double __longlong_as_double(long long x) { return nm::from_bits<double>(nm::to_bits(x)); }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __uint2float_rn(unsigned x) { return (float)x; }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz((unsigned)x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
    return r;
}
