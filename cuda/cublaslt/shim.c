//go:build linux

#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>

int nm_lt_open(const char *path, nm_lt_calls *calls, char *reason, size_t length) {
    // Never closed, like the driver.
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(reason, length, "%s", dlerror());
        return 1;
    }
    const char *missing = NULL;
#define X(result, name, params)                     \
    *(void **)&calls->name = dlsym(library, #name); \
    if (calls->name == NULL && missing == NULL) missing = #name;
    NM_LT_CALLS(X)
#undef X
    if (missing != NULL) {
        snprintf(reason, length, "%s", missing);
        return 2;
    }
    return 0;
}

size_t nm_lt_version(const nm_lt_calls *c) { return c->cublasLtGetVersion(); }

const char *nm_lt_status(const nm_lt_calls *c, cublasStatus_t status, int words) {
    return words ? c->cublasLtGetStatusString(status) : c->cublasLtGetStatusName(status);
}

static const nm_lt_result done = {CUBLAS_STATUS_SUCCESS, ""};

// TRY returns from the function when the call fails.
#define TRY(call, ...)                                                       \
    do {                                                                     \
        cublasStatus_t code_ = c->call(__VA_ARGS__);                         \
        if (code_ != CUBLAS_STATUS_SUCCESS) return (nm_lt_result){code_, #call}; \
    } while (0)

nm_lt_result nm_lt_create(const nm_lt_calls *c, cublasLtHandle_t *handle) {
    TRY(cublasLtCreate, handle);
    return done;
}

nm_lt_result nm_lt_destroy(const nm_lt_calls *c, cublasLtHandle_t handle) {
    TRY(cublasLtDestroy, handle);
    return done;
}

static nm_lt_result layout(const nm_lt_calls *c, cublasLtMatrixLayout_t *to, int64_t rows, int64_t columns, int64_t ld, int32_t batch, int64_t step) {
    TRY(cublasLtMatrixLayoutCreate, to, CUDA_R_32F, (uint64_t)rows, (uint64_t)columns, ld);
    if (batch == 1) return done;
    TRY(cublasLtMatrixLayoutSetAttribute, *to, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
    TRY(cublasLtMatrixLayoutSetAttribute, *to, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step);
    return done;
}

static nm_lt_result operation(const nm_lt_calls *c, const nm_lt_product *p, nm_lt_plan *plan) {
    int32_t op_a = p->op_a, op_b = p->op_b;
    TRY(cublasLtMatmulDescCreate, &plan->desc, p->compute, CUDA_R_32F);
    TRY(cublasLtMatmulDescSetAttribute, plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &op_a, sizeof op_a);
    TRY(cublasLtMatmulDescSetAttribute, plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, &op_b, sizeof op_b);
    if (!p->bias) return done;
    uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    // The heuristic looks at the alignment of the bias, not at the bias: every one of ours begins at a multiple of 256 bytes.
    const void *aligned = (const void *)(uintptr_t)256;
    TRY(cublasLtMatmulDescSetAttribute, plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    TRY(cublasLtMatmulDescSetAttribute, plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &aligned, sizeof aligned);
    return done;
}

static nm_lt_result choose(const nm_lt_calls *c, cublasLtHandle_t handle, const nm_lt_product *p, cublasLtMatmulPreference_t preference, nm_lt_plan *plan) {
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &p->workspace, sizeof p->workspace);
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &p->align_a, sizeof p->align_a);
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &p->align_b, sizeof p->align_b);
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &p->align_d, sizeof p->align_d);
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &p->align_d, sizeof p->align_d);
    cublasLtMatmulHeuristicResult_t best = {.state = CUBLAS_STATUS_NOT_SUPPORTED};
    int count = 0;
    TRY(cublasLtMatmulAlgoGetHeuristic, handle, plan->desc, plan->a, plan->b, plan->d, plan->d, preference, 1, &best, &count);
    if (count == 0) return (nm_lt_result){CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic"};
    plan->algo = best.algo;
    plan->workspace = best.workspaceSize;
    return (nm_lt_result){best.state, "cublasLtMatmulAlgoGetHeuristic"};
}

nm_lt_result nm_lt_make(const nm_lt_calls *c, cublasLtHandle_t handle, const nm_lt_product *p, nm_lt_plan *plan) {
    nm_lt_result r = operation(c, p, plan);
    // Of a matrix that is transposed, the layout is that of the memory.
    int64_t rows_a = p->op_a == CUBLAS_OP_N ? p->m : p->k, rows_b = p->op_b == CUBLAS_OP_N ? p->k : p->n;
    if (r.code == CUBLAS_STATUS_SUCCESS) r = layout(c, &plan->a, rows_a, p->m + p->k - rows_a, p->ld_a, p->batch, p->step_a);
    if (r.code == CUBLAS_STATUS_SUCCESS) r = layout(c, &plan->b, rows_b, p->k + p->n - rows_b, p->ld_b, p->batch, p->step_b);
    if (r.code == CUBLAS_STATUS_SUCCESS) r = layout(c, &plan->d, p->m, p->n, p->ld_d, p->batch, p->step_d);
    if (r.code != CUBLAS_STATUS_SUCCESS) return r;
    cublasLtMatmulPreference_t preference = NULL;
    TRY(cublasLtMatmulPreferenceCreate, &preference);
    r = choose(c, handle, p, preference, plan);
    c->cublasLtMatmulPreferenceDestroy(preference);
    return r;
}

void nm_lt_free(const nm_lt_calls *c, nm_lt_plan *plan) {
    if (plan->desc != NULL) c->cublasLtMatmulDescDestroy(plan->desc);
    if (plan->a != NULL) c->cublasLtMatrixLayoutDestroy(plan->a);
    if (plan->b != NULL) c->cublasLtMatrixLayoutDestroy(plan->b);
    if (plan->d != NULL) c->cublasLtMatrixLayoutDestroy(plan->d);
    *plan = (nm_lt_plan){0};
}

nm_lt_result nm_lt_run(const nm_lt_calls *c, cublasLtHandle_t handle, const nm_lt_plan *plan, uint64_t a, uint64_t b, uint64_t d, uint64_t bias, uint64_t workspace,
                       cudaStream_t stream) {
    const float one = 1, zero = 0;
    const void *v = (const void *)(uintptr_t)bias;
    if (bias != 0) TRY(cublasLtMatmulDescSetAttribute, plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &v, sizeof v);
    void *to = (void *)(uintptr_t)d;
    TRY(cublasLtMatmul, handle, plan->desc, &one, (const void *)(uintptr_t)a, plan->a, (const void *)(uintptr_t)b, plan->b, &zero, to, plan->d, to, plan->d, &plan->algo,
        (void *)(uintptr_t)workspace, plan->workspace, stream);
    return done;
}
