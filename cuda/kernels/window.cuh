// The geometry of convolutions and pools over up to three spatial axes; missing ones in front have extent 1. Tensors are (N, C, z, y, x).
#pragma once

#include "walk.cuh"

struct nm_extent {
    int32_t z, y, x;
};

struct nm_window {
    int32_t n, ci, co, groups;
    int32_t count_pad;  // of average pools
    nm_extent in, out, kernel, stride, dilation, begin, end;
    nm_divisor out_plane, out_yx, out_x;  // of places of the output
    nm_divisor in_plane, in_yx, in_x;     // and of the input
    nm_divisor taps, taps_yx, taps_x;     // and of the kernel
    nm_divisor stride_z, stride_y, stride_x;
};

__device__ __forceinline__ int32_t nm_volume(const nm_extent &e) { return e.z * e.y * e.x; }

__device__ __forceinline__ nm_extent nm_place_in(uint32_t i, const nm_divisor &yx, const nm_divisor &x) {
    uint32_t z = nm_div(i, yx), r = i - z * yx.d, y = nm_div(r, x);
    return {(int32_t)z, (int32_t)y, (int32_t)(r - y * x.d)};
}

// nm_behind is the output along an axis whose tap falls on place t = in + pad - tap*dilation, or -1.
__device__ __forceinline__ int32_t nm_behind(int32_t t, const nm_divisor &stride, int32_t out) {
    if (t < 0) return -1;
    if (stride.d == 1) return t < out ? t : -1;
    int32_t o = nm_div(t, stride);
    return o * (int32_t)stride.d == t && o < out ? o : -1;
}
