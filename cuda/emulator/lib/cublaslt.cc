// cuBLASLt as far as netmend uses it (cuda/cublaslt/shim.h): a client of the emulated driver, like the real one. Products are summed in double and rounded once.
// It is strict where NVIDIA's documentation lets a library do as it likes: what an algorithm was chosen for it refuses to be used for otherwise, it writes to all of
// the workspace that it asked for, and it has no algorithm for products of one column.
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "rounding.h"

#define API extern "C" __attribute__((visibility("default")))

using nm::Function;
using nm::Module;

API int cuModuleLoadDataEx(Module **module, const void *image, unsigned options, int *option, void **value);
API int cuModuleUnload(Module *m);
API int cuModuleGetFunction(Function **function, Module *m, const char *name);
API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, nm::Stream *s, void **params, void **extra);

namespace {

// Values of cublas_api.h and cublasLt.h.
enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_16BF = 75, COMPUTE_32F_FAST_TF32 = 77, R_32F = 0, OP_N = 0, OP_T = 1, EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4 };

struct Handle {
    Module *module;
    Function *product;
};

struct Desc {
    int32_t compute, scale, op_a = OP_N, op_b = OP_N;
    uint32_t epilogue = EPILOGUE_DEFAULT;
    const float *bias = nullptr;
};

struct Layout {
    uint64_t rows, columns;
    int64_t ld;
    int32_t batch = 1;
    int64_t step = 0;
    bool operator==(const Layout &o) const { return rows == o.rows && columns == o.columns && ld == o.ld && batch == o.batch && step == o.step; }
};

struct Preference {
    uint64_t workspace = 0;
    uint32_t align[4] = {256, 256, 256, 256};  // of A, B, C, D
};

// Algo is what the heuristic puts into cublasLtMatmulAlgo_t.
struct Algo {
    uint64_t magic, product, workspace;
    uint32_t align[4];
    uint64_t rest[3];
};
static_assert(sizeof(Algo) == 64, "cublasLtMatmulAlgo_t");
constexpr uint64_t magic = 0x6e65746d656e644cULL;

// Shape is the kernel's parameter: column-major, d (m × n) = op(a)·op(b) + bias.
struct Shape {
    int64_t m, n, k, ld_a, ld_b, ld_d, step_a, step_b, step_d, batch, workspace;
    int32_t op_a, op_b, compute;
};

double factor(float x, int compute) {
    switch (compute) {
    case COMPUTE_32F_FAST_TF32: return nm::keep(x, 10);
    case COMPUTE_32F_FAST_16BF: return nm::keep(x, 7);
    }
    return x;
}

bool fits(const Desc *d, const Layout *a, const Layout *b, const Layout *y, Shape *s) {
    s->m = (int64_t)y->rows, s->n = (int64_t)y->columns;
    s->k = (int64_t)(d->op_a == OP_N ? a->columns : a->rows);
    uint64_t m = d->op_a == OP_N ? a->rows : a->columns, n = d->op_b == OP_N ? b->columns : b->rows, k = d->op_b == OP_N ? b->rows : b->columns;
    if ((int64_t)m != s->m || (int64_t)n != s->n || (int64_t)k != s->k || s->m < 1 || s->n < 1 || s->k < 1) return false;
    if (a->ld < (int64_t)a->rows || b->ld < (int64_t)b->rows || y->ld < s->m || a->batch != y->batch || b->batch != y->batch) return false;
    // Results that overlap have no defined value.
    if (y->batch > 1 && y->step < y->ld * (s->n - 1) + s->m) return false;
    s->ld_a = a->ld, s->ld_b = b->ld, s->ld_d = y->ld, s->step_a = a->step, s->step_b = b->step, s->step_d = y->step, s->batch = y->batch;
    s->op_a = d->op_a, s->op_b = d->op_b, s->compute = d->compute;
    s->workspace = s->k >= 32 ? 64 * s->n : 0;  // floats; any number would do
    return true;
}

// hash is FNV-1a of what an algorithm is chosen for.
uint64_t hash(const Shape &s, uint32_t epilogue) {
    const int64_t words[] = {s.m, s.n, s.k, s.ld_a, s.ld_b, s.ld_d, s.step_a, s.step_b, s.step_d, s.batch, s.op_a, s.op_b, s.compute, (int64_t)epilogue};
    uint64_t h = 14695981039346656037ULL;
    for (int64_t w : words) h = (h ^ (uint64_t)w) * 1099511628211ULL;
    return h;
}

template <class T> int set(T *field, const void *value, size_t bytes) {
    if (value == nullptr || bytes != sizeof(T)) return INVALID_VALUE;
    memcpy(field, value, bytes);
    return OK;
}

}  // namespace

NM_KERNEL(cublaslt_product, 256, const float *a, const float *b, const float *bias, float *d, float *workspace, Shape s) {
    int64_t first = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = first; i < s.workspace; i += stride) workspace[i] = NAN;
    for (int64_t i = first; i < s.m * s.n * s.batch; i += stride) {
        int64_t row = i % s.m, column = i / s.m % s.n, z = i / s.m / s.n;
        const float *x = a + z * s.step_a + (s.op_a == OP_N ? row : row * s.ld_a), *y = b + z * s.step_b + (s.op_b == OP_N ? column * s.ld_b : column);
        int64_t step_x = s.op_a == OP_N ? s.ld_a : 1, step_y = s.op_b == OP_N ? 1 : s.ld_b;
        double sum = bias != nullptr ? bias[row] : 0.0;
        for (int64_t k = 0; k < s.k; k++) sum += factor(x[k * step_x], s.compute) * factor(y[k * step_y], s.compute);
        d[z * s.step_d + column * s.ld_d + row] = (float)sum;
    }
}

API size_t cublasLtGetVersion() { return 120604; }
API const char *cublasLtGetStatusName(int status) {
    switch (status) {
    case OK: return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "CUBLAS_STATUS_UNKNOWN";
}
API const char *cublasLtGetStatusString(int status) { return status == OK ? "success" : "the emulated cuBLASLt refuses"; }

API int cublasLtCreate(Handle **handle) {
    Handle h{};
    if (cuModuleLoadDataEx(&h.module, "// cublaslt", 0, nullptr, nullptr) != nm::SUCCESS) return NOT_INITIALIZED;
    if (cuModuleGetFunction(&h.product, h.module, "cublaslt_product") != nm::SUCCESS) return NOT_INITIALIZED;
    *handle = new Handle(h);
    return OK;
}

API int cublasLtDestroy(Handle *h) {
    int r = cuModuleUnload(h->module);
    delete h;
    return r == nm::SUCCESS ? OK : NOT_INITIALIZED;
}

API int cublasLtMatmulDescCreate(Desc **desc, int compute, int scale) {
    if (scale != R_32F || (compute != COMPUTE_32F && compute != COMPUTE_32F_FAST_TF32 && compute != COMPUTE_32F_FAST_16BF)) return INVALID_VALUE;
    *desc = new Desc{compute, scale};
    return OK;
}

API int cublasLtMatmulDescDestroy(Desc *d) { return delete d, OK; }

API int cublasLtMatmulDescSetAttribute(Desc *d, int attribute, const void *value, size_t bytes) {
    switch (attribute) {
    case 3: return set(&d->op_a, value, bytes);      // TRANSA
    case 4: return set(&d->op_b, value, bytes);      // TRANSB
    case 7: return set(&d->epilogue, value, bytes);  // EPILOGUE
    case 8: return set(&d->bias, value, bytes);      // BIAS_POINTER
    }
    return INVALID_VALUE;
}

API int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    if (type != R_32F) return INVALID_VALUE;
    *layout = new Layout{rows, columns, ld};
    return OK;
}

API int cublasLtMatrixLayoutDestroy(Layout *l) { return delete l, OK; }

API int cublasLtMatrixLayoutSetAttribute(Layout *l, int attribute, const void *value, size_t bytes) {
    switch (attribute) {
    case 5: return set(&l->batch, value, bytes);  // BATCH_COUNT
    case 6: return set(&l->step, value, bytes);   // STRIDED_BATCH_OFFSET
    }
    return INVALID_VALUE;
}

API int cublasLtMatmulPreferenceCreate(Preference **p) { return *p = new Preference, OK; }

API int cublasLtMatmulPreferenceDestroy(Preference *p) { return delete p, OK; }

API int cublasLtMatmulPreferenceSetAttribute(Preference *p, int attribute, const void *value, size_t bytes) {
    if (attribute == 1) return set(&p->workspace, value, bytes);                                         // MAX_WORKSPACE_BYTES
    if (attribute >= 5 && attribute <= 8) return set(&p->align[attribute - 5], value, bytes);            // MIN_ALIGNMENT_A_BYTES to D
    return INVALID_VALUE;
}

// Result is cublasLtMatmulHeuristicResult_t.
struct Result {
    Algo algo;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

API int cublasLtMatmulAlgoGetHeuristic(Handle *, Desc *d, Layout *a, Layout *b, Layout *c, Layout *y, Preference *p, int most, Result *results, int *count) {
    Shape s;
    *count = 0;
    if (most < 1 || !(*c == *y) || !fits(d, a, b, y, &s)) return INVALID_VALUE;
    if (d->epilogue != EPILOGUE_DEFAULT && (d->epilogue != EPILOGUE_BIAS || (uintptr_t)d->bias % 16 != 0)) return INVALID_VALUE;
    if (s.m == 1) return NOT_SUPPORTED;
    if ((uint64_t)s.workspace * 4 > p->workspace) s.workspace = 0;  // an algorithm that needs none
    Result r{};
    r.algo = {magic, hash(s, d->epilogue), (uint64_t)s.workspace * 4, {p->align[0], p->align[1], p->align[2], p->align[3]}, {}};
    r.workspace = (size_t)s.workspace * 4;
    results[0] = r;
    *count = 1;
    return OK;
}

API int cublasLtMatmul(Handle *h, Desc *d, const float *alpha, const float *a, Layout *layout_a, const float *b, Layout *layout_b, const float *beta, const float *c,
                       Layout *layout_c, float *y, Layout *layout_y, const Algo *algo, float *workspace, size_t bytes, nm::Stream *stream) {
    Shape s;
    if (*alpha != 1 || *beta != 0 || c != y || !(*layout_c == *layout_y) || !fits(d, layout_a, layout_b, layout_y, &s)) return INVALID_VALUE;
    if (algo->magic != magic || algo->product != hash(s, d->epilogue) || bytes < algo->workspace) return INVALID_VALUE;
    const void *pointers[] = {a, b, c, y};
    for (int i = 0; i < 4; i++)
        if ((uintptr_t)pointers[i] % algo->align[i] != 0) return INVALID_VALUE;
    if ((uintptr_t)workspace % 256 != 0) return INVALID_VALUE;
    s.workspace = (int64_t)(algo->workspace / 4);
    const float *bias = d->epilogue == EPILOGUE_BIAS ? d->bias : nullptr;
    if (d->epilogue == EPILOGUE_BIAS && (bias == nullptr || (uintptr_t)bias % 16 != 0)) return INVALID_VALUE;
    void *params[] = {&a, &b, &bias, &y, &workspace, &s};
    unsigned blocks = (unsigned)std::min<int64_t>(1024, (s.m * s.n * s.batch + 255) / 256);
    return cuLaunchKernel(h->product, blocks, 1, 1, 256, 1, 1, 0, stream, params, nullptr) == nm::SUCCESS ? OK : EXECUTION_FAILED;
}
