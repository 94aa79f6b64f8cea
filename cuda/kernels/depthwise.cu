// Convolutions whose groups have one input channel: a product of a row with a window, for which tiles would stay empty.
#include "functions.cuh"
#include "window.cuh"

struct nm_depthwise {
    nm_window w;
    const float *x, *kernel, *dy, *bias;
    float *y, *db;
    nm_divisor channels;      // co of depthwise_fwd, ci of depthwise_dx
    nm_divisor multiplier;    // output channels to an input channel
};

// depthwise_fwd: a thread for every output. Any grid and block of one dimension.
NM_KERNEL(depthwise_fwd, 256, const nm_depthwise p) {
    const nm_window &w = p.w;
    uint32_t n = (uint32_t)w.n * w.co * w.out_plane.d;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        uint32_t row = nm_div(i, w.out_plane), sample = nm_div(row, p.channels), o = row - sample * p.channels.d;
        nm_extent at = nm_place_in(i - row * w.out_plane.d, w.out_yx, w.out_x);
        const float *x = p.x + ((int64_t)sample * w.ci + nm_div(o, p.multiplier)) * w.in_plane.d, *k = p.kernel + (int64_t)o * w.taps.d;
        float sum = 0;
        for (int z = 0; z < w.kernel.z; z++) {
            int iz = at.z * w.stride.z + z * w.dilation.z - w.begin.z;
            for (int y = 0; y < w.kernel.y; y++) {
                int iy = at.y * w.stride.y + y * w.dilation.y - w.begin.y;
                bool there = (uint32_t)iz < (uint32_t)w.in.z && (uint32_t)iy < (uint32_t)w.in.y;
                for (int xx = 0; xx < w.kernel.x; xx++, k++) {
                    int ix = at.x * w.stride.x + xx * w.dilation.x - w.begin.x;
                    if (there && (uint32_t)ix < (uint32_t)w.in.x) sum = fmaf(*k, x[(iz * w.in.y + iy) * w.in.x + ix], sum);
                }
            }
        }
        p.y[i] = p.bias != nullptr ? sum + p.bias[o] : sum;
    }
}

// depthwise_dx: a thread for every element of dx. Any grid and block of one dimension.
NM_KERNEL(depthwise_dx, 256, const nm_depthwise p) {
    const nm_window &w = p.w;
    uint32_t n = (uint32_t)w.n * w.ci * w.in_plane.d, per = p.multiplier.d;
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        uint32_t row = nm_div(i, w.in_plane), sample = nm_div(row, p.channels), c = row - sample * p.channels.d;
        nm_extent at = nm_place_in(i - row * w.in_plane.d, w.in_yx, w.in_x);
        float sum = 0;
        for (uint32_t o = c * per; o < (c + 1) * per; o++) {
            const float *dy = p.dy + ((int64_t)sample * w.co + o) * w.out_plane.d, *k = p.kernel + (int64_t)o * w.taps.d;
            for (int z = 0; z < w.kernel.z; z++) {
                int oz = nm_behind(at.z + w.begin.z - z * w.dilation.z, w.stride_z, w.out.z);
                for (int y = 0; y < w.kernel.y; y++) {
                    int oy = nm_behind(at.y + w.begin.y - y * w.dilation.y, w.stride_y, w.out.y);
                    for (int xx = 0; xx < w.kernel.x; xx++, k++) {
                        int ox = nm_behind(at.x + w.begin.x - xx * w.dilation.x, w.stride_x, w.out.x);
                        if (oz >= 0 && oy >= 0 && ox >= 0) sum = fmaf(*k, dy[(oz * w.out.y + oy) * w.out.x + ox], sum);
                    }
                }
            }
        }
        p.y[i] = sum;
    }
}

// depthwise_dw: a block for every weight, and one for the bias behind the weights of a channel. Grid (taps + 1, channels), blocks of whole warps.
NM_KERNEL(depthwise_dw, 256, const nm_depthwise p) {
    const nm_window &w = p.w;
    uint32_t tap = blockIdx.x, o = blockIdx.y, n = (uint32_t)w.n * w.out_plane.d, c = nm_div(o, p.multiplier);
    bool bias = tap == w.taps.d;
    nm_extent t = nm_place_in(bias ? 0 : tap, w.taps_yx, w.taps_x);
    float sum = 0;
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x) {
        uint32_t sample = nm_div(i, w.out_plane), place = i - sample * w.out_plane.d;
        float dy = p.dy[((int64_t)sample * w.co + o) * w.out_plane.d + place];
        if (bias) {
            sum += dy;
            continue;
        }
        nm_extent at = nm_place_in(place, w.out_yx, w.out_x);
        int z = at.z * w.stride.z + t.z * w.dilation.z - w.begin.z, y = at.y * w.stride.y + t.y * w.dilation.y - w.begin.y;
        int x = at.x * w.stride.x + t.x * w.dilation.x - w.begin.x;
        bool there = (uint32_t)z < (uint32_t)w.in.z && (uint32_t)y < (uint32_t)w.in.y && (uint32_t)x < (uint32_t)w.in.x;
        if (there) sum = fmaf(dy, p.x[((int64_t)sample * w.ci + c) * w.in_plane.d + (z * w.in.y + y) * w.in.x + x], sum);
    }
    sum = nm_block_sum(sum);
    if (threadIdx.x != 0) return;
    if (bias) {
        p.db[o] = sum;
    } else {
        p.y[(int64_t)o * w.taps.d + tap] = sum;
    }
}
