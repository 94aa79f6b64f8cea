// NVIDIA's headers and ours, which compiles only where they agree (TestPrototypes): ours has an integer where NVIDIA's has an enumeration, and one structure where
// NVIDIA's has three that differ in an enumeration.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <type_traits>
#include <cudnn.h>

namespace ours {
#include "shim.h"

template <class B>
constexpr bool perf = std::is_same_v<B, ::cudnnConvolutionFwdAlgoPerf_t> || std::is_same_v<B, ::cudnnConvolutionBwdDataAlgoPerf_t> ||
                      std::is_same_v<B, ::cudnnConvolutionBwdFilterAlgoPerf_t>;

template <class A, class B> constexpr bool same() {
    if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
        using P = std::remove_pointer_t<A>;
        using Q = std::remove_pointer_t<B>;
        return std::is_const_v<P> == std::is_const_v<Q> && same<std::remove_const_t<P>, std::remove_const_t<Q>>();
    } else if constexpr (std::is_integral_v<A> && std::is_enum_v<B>) {
        return sizeof(A) == sizeof(B);
    } else if constexpr (std::is_same_v<A, nm_dnn_perf>) {
        return perf<B>;
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

#define X(result, name, params) static_assert(signature<result(*) params, decltype(&::name)>::same(), #name);
NM_DNN_CALLS(X)
#undef X

#define EQUAL(a) static_assert((int)ours::a == (int)::a, #a);
EQUAL(CUDNN_STATUS_SUCCESS)
EQUAL(CUDNN_DATA_FLOAT)
EQUAL(CUDNN_TENSOR_NCHW)
EQUAL(CUDNN_CROSS_CORRELATION)
EQUAL(CUDNN_DETERMINISTIC)
EQUAL(CUDNN_DEFAULT_MATH)
EQUAL(CUDNN_TENSOR_OP_MATH)
EQUAL(CUDNN_FMA_MATH)
EQUAL(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM)
EQUAL(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM)
EQUAL(CUDNN_CONVOLUTION_FWD_ALGO_GEMM)
EQUAL(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT)
EQUAL(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1)
EQUAL(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1)
#if CUDNN_MAJOR == 8
static_assert((int)CUDNN_8_STATUS_NOT_SUPPORTED == (int)::CUDNN_STATUS_NOT_SUPPORTED, "CUDNN_STATUS_NOT_SUPPORTED");
static_assert(CUDNN_VERSION == CUDNN_MAJOR * 1000 + CUDNN_MINOR * 100 + CUDNN_PATCHLEVEL, "CUDNN_VERSION");
#elif CUDNN_MAJOR == 9
static_assert((int)CUDNN_9_STATUS_NOT_SUPPORTED == (int)::CUDNN_STATUS_NOT_SUPPORTED, "CUDNN_STATUS_NOT_SUPPORTED");
static_assert((int)CUDNN_9_STATUS_INTERNAL_ERROR == (int)::CUDNN_STATUS_INTERNAL_ERROR, "CUDNN_STATUS_INTERNAL_ERROR");
static_assert(CUDNN_VERSION == CUDNN_MAJOR * 10000 + CUDNN_MINOR * 100 + CUDNN_PATCHLEVEL, "CUDNN_VERSION");
#else
#error netmend knows cuDNN 8 and 9
#endif

#define PLACES(type)                                                                                                \
    static_assert(sizeof(nm_dnn_perf) == sizeof(::type) && alignof(nm_dnn_perf) == alignof(::type), #type);           \
    static_assert(offsetof(nm_dnn_perf, algo) == offsetof(::type, algo), #type " algo");                              \
    static_assert(offsetof(nm_dnn_perf, status) == offsetof(::type, status), #type " status");                        \
    static_assert(offsetof(nm_dnn_perf, memory) == offsetof(::type, memory), #type " memory");                        \
    static_assert(offsetof(nm_dnn_perf, determinism) == offsetof(::type, determinism), #type " determinism");         \
    static_assert(offsetof(nm_dnn_perf, mathType) == offsetof(::type, mathType), #type " mathType");
PLACES(cudnnConvolutionFwdAlgoPerf_t)
PLACES(cudnnConvolutionBwdDataAlgoPerf_t)
PLACES(cudnnConvolutionBwdFilterAlgoPerf_t)

#ifdef WRONG
static_assert(signature<cudnnStatus_t(*)(cudnnConvolutionDescriptor_t, int, int), decltype(&::cudnnSetConvolutionMathType)>::same(), "found");
#endif
}  // namespace ours
