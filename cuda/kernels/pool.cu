// Pools and their gradients. Gradients are gathered: a thread for every input adds what the windows that contain it send, in the order of the windows.
#include "functions.cuh"
#include "window.cuh"

struct nm_pool {
    nm_window w;
    const float *x, *y, *dy;
    float *out;
    int32_t *picks;  // of max_pool_grad: by window, the place in its plane that won, or -1
};

// The taps of one axis that fall on the input.
struct nm_taps {
    int32_t lo, hi;  // numbers of taps [lo, hi)
};

__device__ __forceinline__ nm_taps nm_taps_of(int32_t first, int32_t dilation, int32_t kernel, int32_t in) {
    int32_t lo = first >= 0 ? 0 : (-first + dilation - 1) / dilation, hi = first >= in ? 0 : min(kernel, (in - 1 - first) / dilation + 1);
    return {lo, max(hi, lo)};
}

struct nm_span {
    nm_extent first;
    nm_taps z, y, x;
};

__device__ __forceinline__ nm_span nm_span_of(const nm_window &w, const nm_extent &o) {
    nm_span s;
    s.first = {o.z * w.stride.z - w.begin.z, o.y * w.stride.y - w.begin.y, o.x * w.stride.x - w.begin.x};
    s.z = nm_taps_of(s.first.z, w.dilation.z, w.kernel.z, w.in.z);
    s.y = nm_taps_of(s.first.y, w.dilation.y, w.kernel.y, w.in.y);
    s.x = nm_taps_of(s.first.x, w.dilation.x, w.kernel.x, w.in.x);
    return s;
}

// The divisor of an average along one axis: the taps inside the input, and those in the padding if they count; what a rounded-up size has added never does.
__device__ __forceinline__ int32_t nm_counted(const nm_taps &t, int32_t first, int32_t dilation, int32_t kernel, int32_t in, int32_t end, int32_t pad) {
    if (!pad) return t.hi - t.lo;
    return first >= in + end ? 0 : min(kernel, (in + end - 1 - first) / dilation + 1);
}

__device__ __forceinline__ float nm_divisor_of(const nm_window &w, const nm_span &s) {
    int32_t z = nm_counted(s.z, s.first.z, w.dilation.z, w.kernel.z, w.in.z, w.end.z, w.count_pad);
    int32_t y = nm_counted(s.y, s.first.y, w.dilation.y, w.kernel.y, w.in.y, w.end.y, w.count_pad);
    int32_t x = nm_counted(s.x, s.first.x, w.dilation.x, w.kernel.x, w.in.x, w.end.x, w.count_pad);
    return max(1.0f, (float)z * (float)y * (float)x);
}

#define NM_EACH_OUTPUT(p, i, row, place)                                                                                       \
    uint32_t all = (uint32_t)(p).w.n * (p).w.co * (p).w.out_plane.d;                                                           \
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, row, place; i < all; i += gridDim.x * blockDim.x)                 \
        if ((row = nm_div(i, (p).w.out_plane), place = i - row * (p).w.out_plane.d, true))

// max_pool: padding never wins, NaN does. Any grid and block of one dimension, as of all pools.
NM_KERNEL(max_pool, 256, const nm_pool p) {
    const nm_window &w = p.w;
    NM_EACH_OUTPUT(p, i, row, place) {
        nm_span s = nm_span_of(w, nm_place_in(place, w.out_yx, w.out_x));
        const float *x = p.x + (int64_t)row * w.in_plane.d;
        float best = -NM_INF;
        for (int z = s.z.lo; z < s.z.hi; z++)
            for (int y = s.y.lo; y < s.y.hi; y++) {
                const float *line = x + ((s.first.z + z * w.dilation.z) * w.in.y + s.first.y + y * w.dilation.y) * w.in.x + s.first.x;
                for (int k = s.x.lo; k < s.x.hi; k++) best = nm_max(best, line[k * w.dilation.x]);
            }
        p.out[i] = best;
    }
}

NM_KERNEL(avg_pool, 256, const nm_pool p) {
    const nm_window &w = p.w;
    NM_EACH_OUTPUT(p, i, row, place) {
        nm_span s = nm_span_of(w, nm_place_in(place, w.out_yx, w.out_x));
        const float *x = p.x + (int64_t)row * w.in_plane.d;
        double sum = 0;
        for (int z = s.z.lo; z < s.z.hi; z++)
            for (int y = s.y.lo; y < s.y.hi; y++) {
                const float *line = x + ((s.first.z + z * w.dilation.z) * w.in.y + s.first.y + y * w.dilation.y) * w.in.x + s.first.x;
                for (int k = s.x.lo; k < s.x.hi; k++) sum += line[k * w.dilation.x];
            }
        p.out[i] = (float)(sum / nm_divisor_of(w, s));
    }
}

// max_pool_picks finds the first element of every window that is its maximum.
NM_KERNEL(max_pool_picks, 256, const nm_pool p) {
    const nm_window &w = p.w;
    NM_EACH_OUTPUT(p, i, row, place) {
        nm_span s = nm_span_of(w, nm_place_in(place, w.out_yx, w.out_x));
        const float *x = p.x + (int64_t)row * w.in_plane.d;
        float best = p.y[i];
        int pick = -1;
        for (int z = s.z.lo; z < s.z.hi && pick < 0; z++)
            for (int y = s.y.lo; y < s.y.hi && pick < 0; y++) {
                int line = ((s.first.z + z * w.dilation.z) * w.in.y + s.first.y + y * w.dilation.y) * w.in.x + s.first.x;
                for (int k = s.x.lo; k < s.x.hi; k++) {
                    float v = x[line + k * w.dilation.x];
                    if (v == best || (v != v && best != best)) {
                        pick = line + k * w.dilation.x;
                        break;
                    }
                }
            }
        p.picks[i] = pick;
    }
}

// The outputs along one axis whose windows contain place i: [lo, hi).
__device__ __forceinline__ nm_taps nm_windows_of(int32_t i, int32_t kernel, int32_t dilation, int32_t begin, const nm_divisor &stride, int32_t out) {
    int32_t reach = i + begin, low = reach - (kernel - 1) * dilation;
    int32_t lo = low <= 0 ? 0 : (int32_t)nm_div(low + stride.d - 1, stride), hi = min(out, (int32_t)nm_div(reach, stride) + 1);
    return {lo, max(lo, hi)};
}

// nm_collect adds up v(output) over the windows that contain an element of the input.
template <class V> __device__ __forceinline__ float nm_collect(const nm_window &w, const nm_extent &at, V v) {
    nm_taps z = nm_windows_of(at.z, w.kernel.z, w.dilation.z, w.begin.z, w.stride_z, w.out.z);
    nm_taps y = nm_windows_of(at.y, w.kernel.y, w.dilation.y, w.begin.y, w.stride_y, w.out.y);
    nm_taps x = nm_windows_of(at.x, w.kernel.x, w.dilation.x, w.begin.x, w.stride_x, w.out.x);
    float sum = 0;
    for (int oz = z.lo; oz < z.hi; oz++)
        for (int oy = y.lo; oy < y.hi; oy++)
            for (int ox = x.lo; ox < x.hi; ox++) sum += v(nm_extent{oz, oy, ox}, (oz * w.out.y + oy) * w.out.x + ox);
    return sum;
}

#define NM_EACH_INPUT(p, i, row, place)                                                                                        \
    uint32_t all = (uint32_t)(p).w.n * (p).w.ci * (p).w.in_plane.d;                                                            \
    for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x, row, place; i < all; i += gridDim.x * blockDim.x)                 \
        if ((row = nm_div(i, (p).w.in_plane), place = i - row * (p).w.in_plane.d, true))

// max_pool_grad: an element gets the dy of the windows that it won.
NM_KERNEL(max_pool_grad, 256, const nm_pool p) {
    const nm_window &w = p.w;
    NM_EACH_INPUT(p, i, row, place) {
        const float *dy = p.dy + (int64_t)row * w.out_plane.d;
        const int32_t *picks = p.picks + (int64_t)row * w.out_plane.d;
        int32_t me = place;
        p.out[i] = nm_collect(w, nm_place_in(place, w.in_yx, w.in_x), [=](const nm_extent &, int o) { return picks[o] == me ? dy[o] : 0.0f; });
    }
}

// avg_pool_grad: with dilation a window that reaches over an element need not contain it.
NM_KERNEL(avg_pool_grad, 256, const nm_pool p) {
    const nm_window &w = p.w;
    NM_EACH_INPUT(p, i, row, place) {
        const float *dy = p.dy + (int64_t)row * w.out_plane.d;
        nm_extent at = nm_place_in(place, w.in_yx, w.in_x);
        p.out[i] = nm_collect(w, at, [&w, &at, dy](const nm_extent &o, int k) {
            nm_span s = nm_span_of(w, o);
            bool in = (at.z - s.first.z) % w.dilation.z == 0 && (at.y - s.first.y) % w.dilation.y == 0 && (at.x - s.first.x) % w.dilation.x == 0;
            return in ? dy[k] / nm_divisor_of(w, s) : 0.0f;
        });
    }
}
