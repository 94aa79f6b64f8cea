// Convolution and its gradients as matrix products in tiles (implicit im2col). Padding is a zero that takes part in the product.
#pragma once

#include "gemm.cuh"
#include "window.cuh"

struct nm_conv {
    nm_window w;
    const float *x, *kernel, *dy;
    float *y, *db;  // y is dx or dw in gradients; db is the bias's gradient or null
    int32_t even;   // the result's rows begin at multiples of four elements
    nm_divisor tiles_n, tiles;
    nm_epilogue epilogue;
    nm_splits splits;
};

// A tile's group, first row and first column.
template <class T> struct nm_where {
    int group, m0, n0;
    __device__ __forceinline__ nm_where(const nm_conv &p) {
        uint32_t g = nm_div(blockIdx.x, p.tiles), tile = blockIdx.x - g * p.tiles.d, row = nm_div(tile, p.tiles_n);
        group = g, m0 = row * T::M, n0 = (tile - row * p.tiles_n.d) * T::N;
    }
};

// Columns that are places of all samples: every thread keeps four of them, R/4 apart so that neighbouring threads read neighbouring elements, and brings
// one term of each at a time.
template <int R, int BK> struct nm_places {
    int k0;
    __device__ __forceinline__ int column(int j) const { return threadIdx.x % (R / 4) + R / 4 * j; }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        for (int j = 0; j < 4; j++) s.put(k + k0, column(j), v[j]);
    }
};

// nm_forward_taps: term (channel, tap) of output place (sample, p) is x[sample, channel, p*stride + tap*dilation - begin].
template <int R, int BK> struct nm_forward_taps : nm_places<R, BK> {
    const nm_window &w;
    const float *x;
    int64_t first[4];
    nm_extent at[4];
    __device__ __forceinline__ nm_forward_taps(const nm_conv &p, int group, int n0) : w(p.w), x(p.x) {
        this->k0 = threadIdx.x / (R / 4);
        int plane = nm_volume(w.in);
        for (int j = 0; j < 4; j++) {
            uint32_t c = n0 + this->column(j), sample = nm_div(c, w.out_plane);
            nm_extent o = nm_place_in(c - sample * w.out_plane.d, w.out_yx, w.out_x);
            first[j] = ((int64_t)sample * w.ci + group * (w.ci / w.groups)) * plane;
            at[j] = {o.z * w.stride.z - w.begin.z, o.y * w.stride.y - w.begin.y, o.x * w.stride.x - w.begin.x};
            if (sample >= (uint32_t)w.n) at[j].z = -(1 << 30);  // no such column
        }
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        k += this->k0;
        uint32_t channel = nm_div(k, w.taps);
        nm_extent t = nm_place_in(k - channel * w.taps.d, w.taps_yx, w.taps_x);
        t = {t.z * w.dilation.z, t.y * w.dilation.y, t.x * w.dilation.x};
        const float *plane = x + (int64_t)channel * nm_volume(w.in);
        for (int j = 0; j < 4; j++) {
            int z = at[j].z + t.z, y = at[j].y + t.y, xx = at[j].x + t.x;
            bool there = k < end && (uint32_t)z < (uint32_t)w.in.z && (uint32_t)y < (uint32_t)w.in.y && (uint32_t)xx < (uint32_t)w.in.x;
            v[j] = there ? plane[first[j] + (z * w.in.y + y) * w.in.x + xx] : 0.0f;
        }
    }
};

// nm_backward_taps: term (channel, tap) of input place (sample, q) is dy[sample, channel, p] with p*stride + tap*dilation - begin = q.
template <int R, int BK> struct nm_backward_taps : nm_places<R, BK> {
    const nm_window &w;
    const float *dy;
    int64_t first[4];
    nm_extent at[4];
    __device__ __forceinline__ nm_backward_taps(const nm_conv &p, int group, int n0) : w(p.w), dy(p.dy) {
        this->k0 = threadIdx.x / (R / 4);
        int plane = nm_volume(w.out);
        for (int j = 0; j < 4; j++) {
            uint32_t c = n0 + this->column(j), sample = nm_div(c, w.in_plane);
            nm_extent q = nm_place_in(c - sample * w.in_plane.d, w.in_yx, w.in_x);
            first[j] = ((int64_t)sample * w.co + group * (w.co / w.groups)) * plane;
            at[j] = {q.z + w.begin.z, q.y + w.begin.y, q.x + w.begin.x};
            if (sample >= (uint32_t)w.n) at[j].z = -(1 << 30);
        }
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        k += this->k0;
        uint32_t channel = nm_div(k, w.taps);
        nm_extent t = nm_place_in(k - channel * w.taps.d, w.taps_yx, w.taps_x);
        t = {t.z * w.dilation.z, t.y * w.dilation.y, t.x * w.dilation.x};
        const float *plane = dy + (int64_t)channel * nm_volume(w.out);
        for (int j = 0; j < 4; j++) {
            int z = nm_behind(at[j].z - t.z, w.stride_z, w.out.z), y = nm_behind(at[j].y - t.y, w.stride_y, w.out.y);
            int xx = nm_behind(at[j].x - t.x, w.stride_x, w.out.x);
            bool there = k < end && z >= 0 && y >= 0 && xx >= 0;
            v[j] = there ? plane[first[j] + (z * w.out.y + y) * w.out.x + xx] : 0.0f;
        }
    }
};

// nm_turned_kernel: row (input channel), term (output channel, tap) of the weights.
template <int R, int BK> struct nm_turned_kernel {
    const nm_window &w;
    const float *at;
    int row, rows, k4;
    __device__ __forceinline__ nm_turned_kernel(const nm_conv &p, int group, int m0) : w(p.w) {
        rows = w.ci / w.groups;
        row = m0 + threadIdx.x / (BK / 4);
        k4 = threadIdx.x % (BK / 4) * 4;
        at = p.kernel + ((int64_t)group * (w.co / w.groups) * rows + row) * w.taps.d;
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        for (int j = 0; j < 4; j++) {
            int term = k + k4 + j;
            uint32_t o = nm_div(term, w.taps);
            v[j] = row < rows && term < end ? at[(int64_t)o * rows * w.taps.d + (term - o * w.taps.d)] : 0.0f;
        }
    }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        for (int j = 0; j < 4; j++) s.put(k + k4 + j, threadIdx.x / (BK / 4), v[j]);
    }
};

// nm_dy_rows: row (output channel), term (sample, place) of dy.
template <int R, int BK> struct nm_dy_rows {
    const nm_window &w;
    const float *at;
    int row, rows, k4;
    bool vector;
    __device__ __forceinline__ nm_dy_rows(const nm_conv &p, int group, int m0) : w(p.w) {
        rows = w.co / w.groups;
        row = m0 + threadIdx.x / (BK / 4);
        k4 = threadIdx.x % (BK / 4) * 4;
        at = p.dy + ((int64_t)group * rows + row) * w.out_plane.d;
        vector = w.out_plane.d % 4 == 0;
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        int64_t step = (int64_t)w.co * w.out_plane.d;
        k += k4;
        if (vector && row < rows && k < end) {  // end is a multiple of four too: four terms are of one sample
            uint32_t sample = nm_div(k, w.out_plane);
            float4 q = *reinterpret_cast<const float4 *>(at + sample * step + (k - sample * w.out_plane.d));
            v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
            return;
        }
        for (int j = 0; j < 4; j++) {
            uint32_t term = k + j, sample = nm_div(term, w.out_plane);
            v[j] = row < rows && (int)term < end ? at[sample * step + (term - sample * w.out_plane.d)] : 0.0f;
        }
    }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        for (int j = 0; j < 4; j++) s.put(k + k4 + j, threadIdx.x / (BK / 4), v[j]);
    }
};

// nm_x_columns: term (sample, place) of column (input channel, tap); behind the last one stands a column of ones, which makes the bias's gradient.
template <int R, int BK> struct nm_x_columns {
    const nm_window &w;
    const float *x;
    nm_extent tap;
    int column, columns, k4;
    __device__ __forceinline__ nm_x_columns(const nm_conv &p, int group, int n0) : w(p.w) {
        columns = w.ci / w.groups * w.taps.d;
        column = n0 + threadIdx.x / (BK / 4);
        k4 = threadIdx.x % (BK / 4) * 4;
        uint32_t channel = nm_div(column, w.taps);
        nm_extent t = nm_place_in(column - channel * w.taps.d, w.taps_yx, w.taps_x);
        tap = {t.z * w.dilation.z - w.begin.z, t.y * w.dilation.y - w.begin.y, t.x * w.dilation.x - w.begin.x};
        x = p.x + ((int64_t)group * (w.ci / w.groups) + channel) * w.in_plane.d;
    }
    __device__ __forceinline__ void fetch(int k, int end, float (&v)[4]) const {
        k += k4;
        uint32_t sample = nm_div(k, w.out_plane);
        nm_extent o = nm_place_in(k - sample * w.out_plane.d, w.out_yx, w.out_x);
        for (int j = 0; j < 4; j++) {
            int z = o.z * w.stride.z + tap.z, y = o.y * w.stride.y + tap.y, xx = o.x * w.stride.x + tap.x;
            bool there = k + j < end && column < columns && (uint32_t)z < (uint32_t)w.in.z && (uint32_t)y < (uint32_t)w.in.y &&
                         (uint32_t)xx < (uint32_t)w.in.x;
            v[j] = there ? x[(int64_t)sample * w.ci * w.in_plane.d + (z * w.in.y + y) * w.in.x + xx] : column == columns && k + j < end ? 1.0f : 0.0f;
            if (++o.x < w.out.x) continue;
            o.x = 0;
            if (++o.y < w.out.y) continue;
            o.y = 0;
            if (++o.z < w.out.z) continue;
            o.z = 0;
            sample++;
        }
    }
    template <class S> __device__ __forceinline__ void put(S &s, int k, const float (&v)[4]) const {
        for (int j = 0; j < 4; j++) s.put(k + k4 + j, threadIdx.x / (BK / 4), v[j]);
    }
};

// nm_plane_store: rows are channels of a group, columns places of all samples.
template <class T> struct nm_plane_store {
    const nm_conv &p;
    const nm_divisor &plane;
    int group, m0, n0, rows, channels;
    template <int G> __device__ __forceinline__ void store(int i, int l, const float *sum) const {
        int row = m0 + i, column = n0 + l;
        if (row >= rows) return;
        int channel = group * rows + row;
        const float *bias = p.epilogue.bias != nullptr ? p.epilogue.bias + channel : nullptr;
        if (p.even) {
            uint32_t sample = nm_div(column, plane);
            if (sample >= (uint32_t)p.w.n) return;
            int64_t at = ((int64_t)sample * channels + channel) * plane.d + (column - sample * plane.d);
            nm_store<G>(p.y, p.epilogue, sum, at, G, true, bias, 0);
            return;
        }
        for (int j = 0; j < G; j++) {
            uint32_t sample = nm_div(column + j, plane);
            if (sample >= (uint32_t)p.w.n) return;
            int64_t at = ((int64_t)sample * channels + channel) * plane.d + (column + j - sample * plane.d);
            nm_store<1>(p.y, p.epilogue, sum + j, at, 1, false, bias, 0);
        }
    }
};

// nm_kernel_store: rows are output channels, columns (input channel, tap), then the bias.
template <class T> struct nm_kernel_store {
    const nm_conv &p;
    int group, m0, n0;
    template <int G> __device__ __forceinline__ void store(int i, int l, const float *sum) const {
        int rows = p.w.co / p.w.groups, row = m0 + i, columns = p.w.ci / p.w.groups * p.w.taps.d;
        if (row >= rows) return;
        int64_t channel = (int64_t)group * rows + row;
        for (int j = 0; j < G; j++) {
            int column = n0 + l + j;
            if (column < columns) p.y[channel * columns + column] = sum[j];
            if (column == columns && p.db != nullptr) p.db[channel] = sum[j];
        }
    }
};

template <class T> __device__ __forceinline__ void nm_conv_fwd(const nm_conv &p) {
    nm_where<T> at(p);
    int cog = p.w.co / p.w.groups, terms = p.w.ci / p.w.groups * p.w.taps.d;
    nm_rows_k<T::M, T::Load> a;
    a.begin(p.kernel + (int64_t)at.group * cog * terms, terms, at.m0, cog, terms % 4 == 0, -1);
    nm_forward_taps<T::N, T::Load> b(p, at.group, at.n0);
    nm_plane_store<T> c = {p, p.w.out_plane, at.group, at.m0, at.n0, cog, p.w.co};
    nm_gemm<T>(a, b, c, terms, p.splits, blockIdx.x, gridDim.x);
}

template <class T> __device__ __forceinline__ void nm_conv_dx(const nm_conv &p) {
    nm_where<T> at(p);
    int cig = p.w.ci / p.w.groups;
    nm_turned_kernel<T::M, T::Load> a(p, at.group, at.m0);
    nm_backward_taps<T::N, T::Load> b(p, at.group, at.n0);
    nm_plane_store<T> c = {p, p.w.in_plane, at.group, at.m0, at.n0, cig, p.w.ci};
    nm_gemm<T>(a, b, c, p.w.co / p.w.groups * p.w.taps.d, p.splits, blockIdx.x, gridDim.x);
}

template <class T> __device__ __forceinline__ void nm_conv_dw(const nm_conv &p) {
    nm_where<T> at(p);
    nm_dy_rows<T::M, T::Load> a(p, at.group, at.m0);
    nm_x_columns<T::N, T::Load> b(p, at.group, at.n0);
    nm_kernel_store<T> c = {p, at.group, at.m0, at.n0};
    nm_gemm<T>(a, b, c, p.w.n * p.w.out_plane.d, p.splits, blockIdx.x, gridDim.x);
}

// conv_fwd, conv_dx, conv_dw: see engine.Conv, ConvDX, ConvDW; named by tile and precision. Grid (tiles of all groups, splits).
#define NM_CONV(name, ...)                                                                            \
    NM_KERNEL(conv_fwd_##name, NM_GEMM_BOUNDS, const nm_conv p) { nm_conv_fwd<__VA_ARGS__>(p); }      \
    NM_KERNEL(conv_dx_##name, NM_GEMM_BOUNDS, const nm_conv p) { nm_conv_dx<__VA_ARGS__>(p); }        \
    NM_KERNEL(conv_dw_##name, NM_GEMM_BOUNDS, const nm_conv p) { nm_conv_dw<__VA_ARGS__>(p); }
