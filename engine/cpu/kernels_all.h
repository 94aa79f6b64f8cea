// Included once per instruction set, inside a file that has set the target and NM_ISA, NM_NAME, FMA and its vectors.

namespace nm {
namespace NM_ISA {

#include "kernels_math.h"
#include "kernels_elementwise.h"
#include "kernels_reduce.h"
#include "kernels_random.h"
#include "kernels_recurrent.h"
#include "kernels_conv.h"

} // namespace NM_ISA

#define K(f) NM_ISA::f
extern const Kernels NM_TABLE = {
	NM_NAME,
	{K(neg), K(abs_), K(sign), K(exp_), K(log_), K(sqrt_), K(reciprocal), K(sin_), K(cos_), K(asin_), K(acos_), K(atan_),
		K(sinh_), K(asinh_), K(acosh_), K(atanh_), K(erf_), K(affine), K(clip), K(floor_), K(relu), K(leaky_relu), K(elu), K(selu), K(celu), K(sigmoid), K(tanh_), K(softplus), K(softsign), K(hard_sigmoid), K(hard_swish), K(thresholded_relu),
		K(gelu), K(gelu_tanh), K(swish), K(mish)},
	{K(neg_grad), K(abs_grad), nullptr, K(exp_grad), K(log_grad), K(sqrt_grad), K(reciprocal_grad), K(sin_grad), K(cos_grad), K(asin_grad), K(acos_grad), K(atan_grad),
		K(sinh_grad), K(asinh_grad), K(acosh_grad), K(atanh_grad), K(erf_grad), K(affine_grad), K(clip_grad), nullptr, K(relu_grad), K(leaky_relu_grad), K(elu_grad), K(selu_grad), K(celu_grad), K(sigmoid_grad),
		K(tanh_grad), K(softplus_grad), K(softsign_grad), K(hard_sigmoid_grad), K(hard_swish_grad), K(thresholded_relu_grad), K(gelu_grad),
		K(gelu_tanh_grad), K(swish_grad), K(mish_grad)},
	{K(add), K(sub), K(mul), K(div_), K(pow_), K(max_), K(min_), K(greater), K(greater_or_equal), K(less), K(less_or_equal), K(equal)},
	K(where), K(lerp), K(update), K(drop_factors), K(drop), K(drop_across), K(row_sum), K(row_max), K(row_min), K(row_prod), K(col_sum), K(col_max), K(col_min),
	K(col_prod), K(moments), K(softmax), K(softmax_grad), K(small_gemm), K(add_bias), K(scale_shift), K(deviations), K(norm_sums), K(norm_grad),
	K(pool_max), K(pool_give), K(pool_square), K(pool_square_grad), K(axpy), K(to_bf16), K(panel_size), K(pack_panel), K(panel_gemm), K(rnn_cell), K(lstm_cell),
	K(gru_reset), K(gru_cell), K(gru_linear), K(rnn_grad), K(lstm_grad), K(gru_grad), K(gru_reset_grad), K(gru_linear_grad), K(window_sums)};
#undef K

} // namespace nm
