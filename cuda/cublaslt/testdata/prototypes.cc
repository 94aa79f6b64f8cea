// NVIDIA's headers and ours, which compiles only where they agree (TestPrototypes): ours has an integer where NVIDIA's has an enumeration, and void * where NVIDIA's has
// a pointer to a structure that only the library looks into.
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <type_traits>
#include <cublasLt.h>

namespace ours {
#include "shim.h"

template <class A, class B> constexpr bool same() {
    if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
        using P = std::remove_pointer_t<A>;
        using Q = std::remove_pointer_t<B>;
        return std::is_const_v<P> == std::is_const_v<Q> && ((std::is_void_v<P> && std::is_class_v<Q>) || same<std::remove_const_t<P>, std::remove_const_t<Q>>());
    } else if constexpr (std::is_integral_v<A> && std::is_enum_v<B>) {
        return sizeof(A) == sizeof(B);
    } else if constexpr (std::is_same_v<A, cublasLtMatmulAlgo_t>) {
        return std::is_same_v<B, ::cublasLtMatmulAlgo_t>;
    } else if constexpr (std::is_same_v<A, cublasLtMatmulHeuristicResult_t>) {
        return std::is_same_v<B, ::cublasLtMatmulHeuristicResult_t>;
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
NM_LT_CALLS(X)
#undef X

#define EQUAL(a) static_assert((int)ours::a == (int)::a, #a);
EQUAL(CUBLAS_STATUS_SUCCESS)
EQUAL(CUBLAS_STATUS_NOT_SUPPORTED)
EQUAL(CUBLAS_COMPUTE_32F)
EQUAL(CUBLAS_COMPUTE_32F_FAST_16BF)
EQUAL(CUBLAS_COMPUTE_32F_FAST_TF32)
EQUAL(CUDA_R_32F)
EQUAL(CUBLAS_OP_N)
EQUAL(CUBLAS_OP_T)
EQUAL(CUBLASLT_MATMUL_DESC_TRANSA)
EQUAL(CUBLASLT_MATMUL_DESC_TRANSB)
EQUAL(CUBLASLT_MATMUL_DESC_EPILOGUE)
EQUAL(CUBLASLT_MATMUL_DESC_BIAS_POINTER)
EQUAL(CUBLASLT_EPILOGUE_BIAS)
EQUAL(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT)
EQUAL(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
EQUAL(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
EQUAL(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)
EQUAL(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)
EQUAL(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES)
EQUAL(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)

static_assert(sizeof(cublasLtMatmulAlgo_t) == sizeof(::cublasLtMatmulAlgo_t) && alignof(cublasLtMatmulAlgo_t) == alignof(::cublasLtMatmulAlgo_t), "cublasLtMatmulAlgo_t");
static_assert(sizeof(cublasLtMatmulHeuristicResult_t) == sizeof(::cublasLtMatmulHeuristicResult_t), "cublasLtMatmulHeuristicResult_t");
#define PLACE(field) static_assert(offsetof(cublasLtMatmulHeuristicResult_t, field) == offsetof(::cublasLtMatmulHeuristicResult_t, field), #field);
PLACE(algo)
PLACE(workspaceSize)
PLACE(state)
PLACE(wavesCount)

#ifdef WRONG
static_assert(signature<cublasStatus_t(*)(cublasLtMatrixLayout_t *, int, uint32_t, uint64_t, int64_t), decltype(&::cublasLtMatrixLayoutCreate)>::same(), "found");
#endif
}  // namespace ours
