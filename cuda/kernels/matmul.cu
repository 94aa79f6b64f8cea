// Matrix products in float32.
#include "matmul.cuh"

NM_MATMUL(128, nm_tile<128, 128, 8>)
NM_MATMUL(64, nm_tile<64, 64, 16>)
NM_MATMUL(32, nm_tile<32, 32, 32>)
