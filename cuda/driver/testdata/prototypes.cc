// NVIDIA's header and ours, which compiles only where they agree (TestPrototypes): every function of the table has the parameters of NVIDIA's, ours being an integer
// where NVIDIA's is an enumeration, and every constant of shim.c has the value of NVIDIA's.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <type_traits>
#include <cuda.h>

namespace ours {
#include "shim.c"

template <class A, class B> constexpr bool same() {
    if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
        using P = std::remove_pointer_t<A>;
        using Q = std::remove_pointer_t<B>;
        return std::is_const_v<P> == std::is_const_v<Q> && same<std::remove_const_t<P>, std::remove_const_t<Q>>();
    } else if constexpr (std::is_integral_v<A> && std::is_enum_v<B>) {
        return sizeof(A) == sizeof(B);
    } else {
        return std::is_same_v<A, B>;
    }
}

template <class A, class B> struct signature;
template <class A, class B, class... C, class... D> struct signature<A (*)(C...), B (*)(D...)> {
    static constexpr bool same() {
        if constexpr (sizeof...(C) != sizeof...(D))
            return false;
        else
            return ours::same<A, B>() && (ours::same<C, D>() && ...);
    }
};

#define X(name, params) static_assert(signature<CUresult(*) params, decltype(&::name)>::same(), #name);
NM_CALLS(X)
#ifdef WITH_OPTIONAL  // the header is of CUDA 12.4 or newer
NM_CALLS_OPTIONAL(X)
#endif
#undef X

#define EQUAL(a, b) static_assert((int)ours::a == (int)::b, #b)
EQUAL(CUDA_SUCCESS, CUDA_SUCCESS);
EQUAL(CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_INVALID_VALUE);
EQUAL(CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
EQUAL(ATTRIBUTE_MAX_THREADS_PER_BLOCK, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
EQUAL(ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
EQUAL(ATTRIBUTE_MULTIPROCESSOR_COUNT, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
EQUAL(ATTRIBUTE_COMPUTE_MODE, CU_DEVICE_ATTRIBUTE_COMPUTE_MODE);
EQUAL(ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
EQUAL(ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
EQUAL(ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
EQUAL(FUNC_MAX_THREADS_PER_BLOCK, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
EQUAL(FUNC_SHARED_SIZE_BYTES, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
EQUAL(FUNC_LOCAL_SIZE_BYTES, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
EQUAL(FUNC_NUM_REGS, CU_FUNC_ATTRIBUTE_NUM_REGS);
EQUAL(FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
EQUAL(STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
EQUAL(STREAM_CAPTURE_MODE_RELAXED, CU_STREAM_CAPTURE_MODE_RELAXED);
EQUAL(EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING);
EQUAL(JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER);
EQUAL(JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
static_assert(2 == CU_COMPUTEMODE_PROHIBITED && 600 == CUDA_ERROR_NOT_READY && 999 == CUDA_ERROR_UNKNOWN, "constants of Go files");

#ifdef WRONG  // a function and parameters that it does not have
static_assert(signature<CUresult(*) PARAMS, decltype(&::WRONG)>::same(), "found");
#endif
}  // namespace ours
