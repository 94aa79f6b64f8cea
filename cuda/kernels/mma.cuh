// Tiles whose products tensor cores make: factors rounded to TF32 or bfloat16, sums in float32. mma.sync as PTX ISA 8.0, "Warp Level Matrix
// Multiply-Accumulate Instructions", describes it; it needs compute capability 8.0. The emulator takes the fragments from the lanes that the
// same tables name, so that a kernel which lays them out wrongly fails there too. The order in which a tensor core adds up is its own, the
// same every time.
#pragma once

#include "gemm.cuh"

// nm_tf32 rounds to 10 bits of mantissa, ties away from zero; nm_bf16 to 7 bits, ties to even.
__device__ __forceinline__ float nm_tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;
    return __uint_as_float((bits + 0x1000u) & 0xffffe000u);
}

__device__ __forceinline__ uint16_t nm_bf16(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

#ifdef NM_EMULATED
// The fragments of all lanes: element (row, k) of A is a[k][row], (k, column) of B b[k][column].
__device__ __forceinline__ void nm_add_products(float (&c)[4], const float (*a)[16], const float (*b)[8], int terms) {
    int g = threadIdx.x % NM_WARP / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        float sum = 0;
        for (int k = 0; k < terms; k++) sum = fmaf(a[k][g + i / 2 * 8], b[k][2 * t + i % 2], sum);
        c[i] += sum;
    }
}

// Figures of m16n8k8, .tf32: a0..a3 of lane (g, t) are (g, t), (g+8, t), (g, t+4), (g+8, t+4), b0 and b1 (t, g), (t+4, g).
__device__ __forceinline__ void nm_mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    float fa[8][16], fb[8][8];
    for (int i = 0; i < 4; i++) {
        const uint64_t *all = nm::exchange(NM_FULL_MASK, a[i]);
        for (int lane = 0; lane < NM_WARP; lane++) fa[lane % 4 + i / 2 * 4][lane / 4 + i % 2 * 8] = __uint_as_float((uint32_t)all[lane]);
    }
    for (int i = 0; i < 2; i++) {
        const uint64_t *all = nm::exchange(NM_FULL_MASK, b[i]);
        for (int lane = 0; lane < NM_WARP; lane++) fb[lane % 4 + i * 4][lane / 4] = __uint_as_float((uint32_t)all[lane]);
    }
    nm_add_products(c, fa, fb, 8);
}

// Figures of m16n8k16, .bf16: registers hold two terms, the first in the lower half; a0..a3 begin at (g, 2t), (g+8, 2t), (g, 2t+8), (g+8, 2t+8), b0 and b1
// at (2t, g), (2t+8, g).
__device__ __forceinline__ void nm_mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    float fa[16][16], fb[16][8];
    for (int i = 0; i < 4; i++) {
        const uint64_t *all = nm::exchange(NM_FULL_MASK, a[i]);
        for (int lane = 0; lane < NM_WARP; lane++)
            for (int h = 0; h < 2; h++)
                fa[lane % 4 * 2 + i / 2 * 8 + h][lane / 4 + i % 2 * 8] = __uint_as_float((uint32_t)(all[lane] >> 16 * h) << 16);
    }
    for (int i = 0; i < 2; i++) {
        const uint64_t *all = nm::exchange(NM_FULL_MASK, b[i]);
        for (int lane = 0; lane < NM_WARP; lane++)
            for (int h = 0; h < 2; h++) fb[lane % 4 * 2 + i * 8 + h][lane / 4] = __uint_as_float((uint32_t)(all[lane] >> 16 * h) << 16);
    }
    nm_add_products(c, fa, fb, 16);
}
#elif __CUDA_ARCH__ >= 800
__device__ __forceinline__ void nm_mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void nm_mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
// The device refuses these precisions where there are no such instructions: nobody launches what this is compiled into.
__device__ __forceinline__ void nm_mma_tf32(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]) {}
__device__ __forceinline__ void nm_mma_bf16(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]) {}
#endif

// nm_warps: eight warps, two along the rows and four along the columns, have the tile in pieces of 16 x 8. Lane (g, t) of a warp, g = lane/4 and
// t = lane%4, has elements (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1) of each.
template <int BM, int BN, int BK> struct nm_warps {
    static const int M = BM, N = BN, K = BK, Load = 1024 / BM;
    static const int WM = BM / 2, WN = BN / 4, MI = WM / 16, NI = WN / 8, Each = MI * NI * 4, Side = 2;
    static __device__ __forceinline__ int g() { return threadIdx.x % NM_WARP / 4; }
    static __device__ __forceinline__ int t() { return threadIdx.x % 4; }
    static __device__ __forceinline__ int row0() { return threadIdx.x / (4 * NM_WARP) * WM; }
    static __device__ __forceinline__ int column0() { return threadIdx.x / NM_WARP % 4 * WN; }
    static __device__ __forceinline__ int row(int e) { return row0() + e / 4 / NI * 16 + g() + e % 4 / 2 * 8; }
    static __device__ __forceinline__ int column(int e) { return column0() + e / 4 % NI * 8 + 2 * t() + e % 2; }
};

// nm_fragment reads the registers of pieces that lie behind each other along the rows: A's have four, two of rows 8 apart, then two of words FAR behind; B's
// the two.
template <int PIECES, int REGISTERS, int FAR, class S>
__device__ __forceinline__ void nm_fragment(uint32_t (&f)[PIECES][REGISTERS], const S &s, int k, int r) {
    const int rows = REGISTERS / 2 * 8;  // A's pieces have 16, B's 8
#pragma unroll
    for (int i = 0; i < PIECES; i++)
#pragma unroll
        for (int j = 0; j < REGISTERS; j++) f[i][j] = s.word(k + (REGISTERS == 4 ? j / 2 : j) * FAR, r + i * rows + (REGISTERS == 4 ? j % 2 * 8 : 0));
}

template <int R, int BK> struct nm_panel_tf32 : nm_panel<R, BK, 8> {
    __device__ __forceinline__ uint32_t word(int k, int r) const { return __float_as_uint(this->e[k][r]); }
};

template <int BM, int BN, int BK> struct nm_tile_tf32 : nm_warps<BM, BN, BK> {
    typedef nm_warps<BM, BN, BK> W;
    typedef nm_panel_tf32<BM, BK> A;
    typedef nm_panel_tf32<BN, BK> B;
    static __device__ __forceinline__ float factor(float v) { return nm_tf32(v); }
    static __device__ __forceinline__ void multiply(const A &sa, const B &sb, float (&acc)[W::Each]) {
#pragma unroll
        for (int k = 0; k < BK; k += 8) {
            uint32_t a[W::MI][4], b[W::NI][2];
            nm_fragment<W::MI, 4, 4>(a, sa, k + W::t(), W::row0() + W::g());
            nm_fragment<W::NI, 2, 4>(b, sb, k + W::t(), W::column0() + W::g());
#pragma unroll
            for (int i = 0; i < W::MI; i++)
#pragma unroll
                for (int j = 0; j < W::NI; j++) nm_mma_tf32(*reinterpret_cast<float(*)[4]>(&acc[(i * W::NI + j) * 4]), a[i], b[j]);
        }
    }
};

// nm_panel_bf16 keeps two terms of a row in a word, the first in the lower half.
template <int R, int BK> struct __align__(16) nm_panel_bf16 {
    uint16_t e[BK / 2][R + 8][2];
    __device__ __forceinline__ void put(int k, int r, float v) { e[k / 2][r][k % 2] = nm_bf16(v); }
    __device__ __forceinline__ void put4(int k, int r, const float (&v)[4]) {
        for (int j = 0; j < 4; j++) put(k, r + j, v[j]);
    }
    __device__ __forceinline__ uint32_t word(int k, int r) const { return *reinterpret_cast<const uint32_t *>(e[k][r]); }
};

template <int BM, int BN, int BK> struct nm_tile_bf16 : nm_warps<BM, BN, BK> {
    typedef nm_warps<BM, BN, BK> W;
    typedef nm_panel_bf16<BM, BK> A;
    typedef nm_panel_bf16<BN, BK> B;
    static __device__ __forceinline__ float factor(float v) { return v; }
    static __device__ __forceinline__ void multiply(const A &sa, const B &sb, float (&acc)[W::Each]) {
#pragma unroll
        for (int k = 0; k < BK / 2; k += 8) {
            uint32_t a[W::MI][4], b[W::NI][2];
            nm_fragment<W::MI, 4, 4>(a, sa, k + W::t(), W::row0() + W::g());
            nm_fragment<W::NI, 2, 4>(b, sb, k + W::t(), W::column0() + W::g());
#pragma unroll
            for (int i = 0; i < W::MI; i++)
#pragma unroll
                for (int j = 0; j < W::NI; j++) nm_mma_bf16(*reinterpret_cast<float(*)[4]>(&acc[(i * W::NI + j) * 4]), a[i], b[j]);
        }
    }
};
