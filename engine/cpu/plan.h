// The C side of the device: a plan is a list of functions, a function is a flat array of steps over memory that was laid out once.
// Steps are added at compile time, one call each; nm_run then makes many passes over them without returning to Go.
#ifndef NETMEND_CPU_PLAN_H
#define NETMEND_CPU_PLAN_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NM_DIMS 12
#define NM_SPATIAL 3
#define NM_COEFS 5

// Elementwise and reducing functions; Go maps engine.Fn to these by name.
enum {
	NM_NEG, NM_ABS, NM_SIGN, NM_EXP, NM_LOG, NM_SQRT, NM_RECIPROCAL, NM_SIN, NM_COS, NM_ASIN, NM_ACOS, NM_ATAN, NM_SINH,
	NM_ASINH, NM_ACOSH, NM_ATANH, NM_ERF, NM_AFFINE, NM_CLIP, NM_FLOOR, NM_RELU, NM_LEAKY_RELU, NM_ELU, NM_SELU, NM_CELU, NM_SIGMOID, NM_TANH, NM_SOFTPLUS, NM_SOFTSIGN, NM_HARD_SIGMOID, NM_HARD_SWISH,
	NM_THRESHOLDED_RELU, NM_GELU, NM_GELU_TANH, NM_SWISH, NM_MISH, NM_UNARY_COUNT,
	NM_ADD = 0, NM_SUB, NM_MUL, NM_DIV, NM_POW, NM_MAX, NM_MIN, NM_GREATER, NM_GREATER_OR_EQUAL, NM_LESS, NM_LESS_OR_EQUAL, NM_EQUAL,
	NM_BINARY_COUNT,
	NM_REDUCE_SUM = 0, NM_REDUCE_MEAN, NM_REDUCE_MAX, NM_REDUCE_MIN, NM_REDUCE_PROD,
	NM_CELL_RNN = 0, NM_CELL_GRU, NM_CELL_LSTM,
	NM_RULE_LINEAR = 0, NM_RULE_ADAM, NM_RULE_ADAMAX, NM_RULE_RMSPROP, NM_RULE_ADAGRAD, NM_RULE_ADADELTA
};

typedef struct nm_plan nm_plan;

// A loop nest over dim with up to four operands; the last axis is the innermost.
typedef struct {
	int32_t n;
	int64_t dim[NM_DIMS], stride[4][NM_DIMS], start[4];
} nm_walk;

// The geometry of a convolution or a pool. Missing spatial axes are 1 in front. Tensors are channels-last: (n, spatial…, channels).
typedef struct {
	int64_t n, ci, co, groups;
	int64_t in[NM_SPATIAL], out[NM_SPATIAL], kernel[NM_SPATIAL], stride[NM_SPATIAL], dilation[NM_SPATIAL], begin[NM_SPATIAL], end[NM_SPATIAL];
	int32_t count_pad;
	int32_t half; // convolutions: the activations and gradients that are multiplied are bfloat16, and so are the weights on their way
} nm_window;

typedef struct {
	int32_t kind, momentum, max, centered;
	double b1, b2, eps_in, eps_out, l2;
} nm_rule;

// A recurrent layer and its tensors by the names that engine.Recurrence has for them; NULL where absent. What is only written by nm_recurrent
// is read by nm_recurrent_grad. gates and extra of nm_recurrent may be NULL where nothing reads them. gates may be x, and dx the gates. behind is
// scratch for a GRU's gradient: (steps, batch, hidden).
typedef struct {
	int32_t kind, reverse, reset_linearly, gates_count;
	int64_t steps, batch, hidden;
	const float *x, *r, *bias, *h0, *c0, *peepholes, *lens;
	float *y, *last_h, *last_c, *gates, *extra;
	const float *dy, *d_last_h, *d_last_c;
	float *dx, *dr, *dh0, *dc0, *dbias, *dpeepholes, *behind;
} nm_recurrence;

// nm_new makes a plan that runs on so many threads. NULL: out of memory or no threads to be had.
nm_plan *nm_new(int threads);
void nm_free(nm_plan *);
// nm_isa names the instruction set that the kernels use on this machine.
const char *nm_isa(void);
// nm_use makes plans that are compiled from now on use the kernels of that name, for tests; 0 when there are none or the machine cannot.
int nm_use(const char *isa);
const char *nm_dnnl_version(void);
// nm_has_bf16 says whether the processor, as oneDNN may use it, multiplies bfloat16 numbers.
int nm_has_bf16(void);
int64_t nm_physical_memory(void);
// nm_alloc gives zeroed memory that lives as long as the plan; NULL when there is none.
void *nm_alloc(nm_plan *, size_t bytes);
// nm_allocated is the number of bytes that the plan has taken, scratch memory of oneDNN included.
size_t nm_allocated(nm_plan *);
// nm_function begins the next function. Its steps are those added until the next call.
void nm_function(nm_plan *, int64_t batch);
// nm_lasting says that the steps of the function so far write nothing that another pass over any function reads: a pass may be given up after each.
void nm_lasting(nm_plan *);
// nm_along says that the elementwise operation that is added next is no step of its own: it is done along with the step after it, on every range of
// that step's result as soon as the range is there. Several are done in the order in which they were added.
void nm_along(nm_plan *);
// nm_failed is why a step could not be made, or NULL. The message lives as long as the plan.
const char *nm_failed(nm_plan *);

void nm_feed(nm_plan *, float *to, int64_t n);
void nm_output(nm_plan *, const void *from, int64_t n, int is_int);

// nm_run makes steps passes over a function. feeds and outputs hold all feeds and outputs of one step, step by step. It stops early when
// *stop becomes non-zero, in the midst of a step as long as nothing lasting was written, and returns the number of whole steps done.
int64_t nm_run(nm_plan *, int function, int64_t steps, const int32_t *rows, const double *feeds, double *outputs, uint64_t seed, uint64_t first,
	const int32_t *stop);

void nm_batch(nm_plan *, const void *x, void *y, int64_t row);
void nm_unary(nm_plan *, int fn, double alpha, double beta, const float *x, float *y, int64_t n);
void nm_unary_grad(nm_plan *, int fn, double alpha, double beta, const float *dy, const float *r, float *dx, int64_t n);
void nm_binary(nm_plan *, int fn, const float *a, const float *b, float *y, const nm_walk *);
void nm_where(nm_plan *, const float *c, const float *a, const float *b, float *y, const nm_walk *);
void nm_lerp(nm_plan *, double alpha, double beta, float *s, const float *x, int64_t n);
void nm_update(nm_plan *, const nm_rule *, float *p, const float *g, const float *c, float *s0, float *s1, float *s2, int64_t n);
// Channels > 1 says that x and y are channels-last with so many elements per channel plane; the random words go by row-major position.
void nm_dropout(nm_plan *, double rate, uint32_t threshold, uint32_t stream, const float *x, float *y, int64_t n, int64_t channels, int64_t plane);

// nm_to_bf16 rounds to the nearest bfloat16, ties to even; NaN stays NaN.
void nm_to_bf16(nm_plan *, const float *x, void *y, int64_t n);

// Operations on words: both element types are 32 bits wide.
void nm_copy(nm_plan *, const void *x, void *y, int64_t n);
void nm_strided(nm_plan *, const void *x, void *y, const nm_walk *); // operands y, x
void nm_fill(nm_plan *, void *y, int64_t n, uint32_t word);
void nm_transpose(nm_plan *, const void *x, void *y, int64_t batch, int64_t rows, int64_t cols); // (batch, rows, cols) to (batch, cols, rows)
void nm_gather(nm_plan *, const void *x, const int32_t *i, void *y, int64_t outer, int64_t length, int64_t inner, int64_t count, uint32_t missing);
void nm_gather_grad(nm_plan *, const float *dy, const int32_t *i, float *dx, int64_t outer, int64_t length, int64_t inner, int64_t count);
void nm_cast_int(nm_plan *, const float *x, int32_t *y, int64_t n);
void nm_cast_float(nm_plan *, const int32_t *x, float *y, int64_t n);
void nm_one_hot(nm_plan *, const int32_t *x, float *y, int64_t n, int64_t classes);

// x is (outer, length, inner); the middle axis is reduced.
void nm_reduce(nm_plan *, int fn, const float *x, float *y, int64_t outer, int64_t length, int64_t inner);
void nm_arg_max(nm_plan *, const float *x, int32_t *y, int64_t outer, int64_t length, int64_t inner);
void nm_moments(nm_plan *, const float *x, float *y, int64_t n);
void nm_softmax(nm_plan *, int log, const float *x, float *y, int64_t outer, int64_t length, int64_t inner);
void nm_softmax_grad(nm_plan *, int log, const float *dy, const float *y, float *dx, int64_t outer, int64_t length, int64_t inner);

// y[i] = op(a[a_at[i]])·op(b[b_at[i]]) + bias for stacks of matrices; the offsets count elements and are copied. half: a and b are bfloat16.
void nm_matmul(nm_plan *, int half, const void *a, const void *b, const float *bias, float *y, int64_t batch, const int64_t *a_at, const int64_t *b_at,
	int64_t m, int64_t n, int64_t k, int trans_a, int trans_b);

// x, y and their gradients are channels-last, w row-major as in the program. Where window.half is set, what is read but w is bfloat16.
void nm_conv(nm_plan *, const nm_window *, const void *x, const float *w, const float *bias, float *y);
void nm_conv_dx(nm_plan *, const nm_window *, const void *dy, const float *w, float *dx);
void nm_conv_dw(nm_plan *, const nm_window *, const void *dy, const void *x, float *dw, float *db);

// Channels-last; ci channels.
void nm_max_pool(nm_plan *, const nm_window *, const float *x, float *y);
void nm_max_pool_grad(nm_plan *, const nm_window *, int relu, const float *dy, const float *x, const float *y, float *dx);
// nm_pools_squares says that a window is 2 x 2 squares without overlap or padding; nm_max_pool_grad then takes relu: x is the result of a
// ReLU, which is differentiated along with it.
int nm_pools_squares(const nm_window *);
void nm_avg_pool(nm_plan *, const nm_window *, const float *x, float *y);
void nm_avg_pool_grad(nm_plan *, const nm_window *, const float *dy, float *dx);

// x is (rows, channels).
void nm_batch_norm(nm_plan *, double epsilon, const float *x, const float *scale, const float *bias, float *y, float *mean, float *var, int64_t rows,
	int64_t channels);
void nm_batch_norm_grad(nm_plan *, double epsilon, const float *dy, const float *x, const float *scale, const float *mean, const float *var, float *dx,
	float *dscale, float *dbias, int64_t rows, int64_t channels);
void nm_batch_norm_infer(nm_plan *, double epsilon, const float *x, const float *scale, const float *bias, const float *mean, const float *var,
	float *y, int64_t rows, int64_t channels);

void nm_recurrent(nm_plan *, const nm_recurrence *);
void nm_recurrent_grad(nm_plan *, const nm_recurrence *);

#ifdef __cplusplus
}
#endif
#endif
