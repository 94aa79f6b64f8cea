// Convolutions in float32.
#include "conv.cuh"

NM_CONV(128, nm_tile<128, 128, 8>)
NM_CONV(64, nm_tile<64, 64, 16>)
NM_CONV(32, nm_tile<32, 32, 32>)
