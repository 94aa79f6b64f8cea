// Matrix products and convolutions on tensor cores. PTX for compute capability 7.5 has no such instructions: there the kernels are empty, and the device
// refuses the precisions.
#if defined(NM_EMULATED) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#include "conv.cuh"
#include "matmul.cuh"
#include "mma.cuh"
#else
#include "conv.cuh"
#include "matmul.cuh"
#undef NM_MATMUL_1
#undef NM_CONV
#define NM_MATMUL_1(name, ...) NM_KERNEL(name, NM_GEMM_BOUNDS, const nm_product p) {}
#define NM_CONV(name, ...)                                              \
    NM_KERNEL(conv_fwd_##name, NM_GEMM_BOUNDS, const nm_conv p) {}      \
    NM_KERNEL(conv_dx_##name, NM_GEMM_BOUNDS, const nm_conv p) {}       \
    NM_KERNEL(conv_dw_##name, NM_GEMM_BOUNDS, const nm_conv p) {}
#endif

// The product of two transposed matrices does not occur in training; it stays in float32.
#define NM_MATMUL_3(name, ...)                                          \
    NM_MATMUL_1(matmul_nn_##name, nm_rows_k, nm_rows_r, __VA_ARGS__)    \
    NM_MATMUL_1(matmul_nt_##name, nm_rows_k, nm_rows_k, __VA_ARGS__)    \
    NM_MATMUL_1(matmul_tn_##name, nm_rows_r, nm_rows_r, __VA_ARGS__)

NM_MATMUL_3(128_tf32, nm_tile_tf32<128, 128, 16>)
NM_MATMUL_3(64_tf32, nm_tile_tf32<64, 64, 32>)
NM_MATMUL_3(128_bf16, nm_tile_bf16<128, 128, 16>)
NM_MATMUL_3(64_bf16, nm_tile_bf16<64, 64, 32>)

NM_CONV(64_tf32, nm_tile_tf32<64, 64, 32>)
NM_CONV(64_bf16, nm_tile_bf16<64, 64, 32>)
