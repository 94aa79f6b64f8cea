// The part of cuBLASLt that netmend uses, as function pointers that nm_lt_open fills from a library. Prototypes and values are those of NVIDIA's documentation of
// cuBLASLt (12.x), so that the build needs no header of NVIDIA's; TestPrototypes holds them against cublasLt.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int cublasStatus_t;
typedef struct cublasLtContext *cublasLtHandle_t;
typedef void *cublasLtMatmulDesc_t;
typedef void *cublasLtMatrixLayout_t;
typedef void *cublasLtMatmulPreference_t;
typedef void *cudaStream_t;

typedef struct {
    uint64_t data[8];
} cublasLtMatmulAlgo_t;

typedef struct {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
} cublasLtMatmulHeuristicResult_t;

enum {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,

    CUBLAS_COMPUTE_32F = 68,
    CUBLAS_COMPUTE_32F_FAST_16BF = 75,
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
    CUDA_R_32F = 0,
    CUBLAS_OP_N = 0,
    CUBLAS_OP_T = 1,

    CUBLASLT_MATMUL_DESC_TRANSA = 3,
    CUBLASLT_MATMUL_DESC_TRANSB = 4,
    CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
    CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,
    CUBLASLT_EPILOGUE_BIAS = 4,

    CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,
    CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6,

    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
};

// NM_LT_CALLS lists what must be there: result, name, parameters.
#define NM_LT_CALLS(X)                                                                                                                                 \
    X(size_t, cublasLtGetVersion, (void))                                                                                                              \
    X(const char *, cublasLtGetStatusName, (cublasStatus_t status))                                                                                    \
    X(const char *, cublasLtGetStatusString, (cublasStatus_t status))                                                                                  \
    X(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle))                                                                                     \
    X(cublasStatus_t, cublasLtDestroy, (cublasLtHandle_t handle))                                                                                      \
    X(cublasStatus_t, cublasLtMatmulDescCreate, (cublasLtMatmulDesc_t * desc, int compute, int scale))                                                 \
    X(cublasStatus_t, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t desc))                                                                          \
    X(cublasStatus_t, cublasLtMatmulDescSetAttribute, (cublasLtMatmulDesc_t desc, int attribute, const void *value, size_t bytes))                     \
    X(cublasStatus_t, cublasLtMatrixLayoutCreate, (cublasLtMatrixLayout_t * layout, int type, uint64_t rows, uint64_t columns, int64_t ld))            \
    X(cublasStatus_t, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout))                                                                    \
    X(cublasStatus_t, cublasLtMatrixLayoutSetAttribute, (cublasLtMatrixLayout_t layout, int attribute, const void *value, size_t bytes))               \
    X(cublasStatus_t, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * preference))                                                       \
    X(cublasStatus_t, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference))                                                        \
    X(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute, (cublasLtMatmulPreference_t preference, int attribute, const void *value, size_t bytes))   \
    X(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,                                                                                                  \
      (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,               \
       cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int most, cublasLtMatmulHeuristicResult_t *results, int *count))               \
    X(cublasStatus_t, cublasLtMatmul,                                                                                                                  \
      (cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a, cublasLtMatrixLayout_t layout_a, const void *b,           \
       cublasLtMatrixLayout_t layout_b, const void *beta, const void *c, cublasLtMatrixLayout_t layout_c, void *d, cublasLtMatrixLayout_t layout_d,    \
       const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes, cudaStream_t stream))

typedef struct {
#define X(result, name, params) result(*name) params;
    NM_LT_CALLS(X)
#undef X
} nm_lt_calls;

// nm_lt_result says which call of a function of several calls failed.
typedef struct {
    cublasStatus_t code;
    const char *call;
} nm_lt_result;

// nm_lt_product is what a plan is made for, in cuBLASLt's terms: column-major matrices of float32, d (m × n) = op(a)·op(b) + bias, one bias for each of d's rows.
typedef struct {
    int64_t m, n, k;
    int op_a, op_b;
    int64_t ld_a, ld_b, ld_d;
    int32_t batch;
    int64_t step_a, step_b, step_d;     // from one matrix of the batch to the next, in elements
    int32_t bias, compute;              // bias: whether there is one
    uint32_t align_a, align_b, align_d; // bytes
    uint64_t workspace;                 // bytes at most
} nm_lt_product;

typedef struct {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;  // bytes that the algorithm needs
} nm_lt_plan;

// nm_lt_open loads the library at path and fills calls. 0: done; 1: it cannot be loaded; 2: a function is missing. reason says more.
int nm_lt_open(const char *path, nm_lt_calls *calls, char *reason, size_t length);

size_t nm_lt_version(const nm_lt_calls *c);
// nm_lt_status is the library's name of a status, or its words.
const char *nm_lt_status(const nm_lt_calls *c, cublasStatus_t status, int words);

// The functions below want the handle's context current.
nm_lt_result nm_lt_create(const nm_lt_calls *c, cublasLtHandle_t *handle);
nm_lt_result nm_lt_destroy(const nm_lt_calls *c, cublasLtHandle_t handle);
// nm_lt_make makes a plan, with the first algorithm that the heuristic names; CUBLAS_STATUS_NOT_SUPPORTED where it names none. What is made by then is in plan
// whatever the result, for nm_lt_free.
nm_lt_result nm_lt_make(const nm_lt_calls *c, cublasLtHandle_t handle, const nm_lt_product *p, nm_lt_plan *plan);
void nm_lt_free(const nm_lt_calls *c, nm_lt_plan *plan);
// nm_lt_run queues the product. bias is 0 where the plan has none.
nm_lt_result nm_lt_run(const nm_lt_calls *c, cublasLtHandle_t handle, const nm_lt_plan *plan, uint64_t a, uint64_t b, uint64_t d, uint64_t bias, uint64_t workspace,
                       cudaStream_t stream);
