// The beginning and the end of a step: what the host has uploaded for many steps at once is laid where the step's kernels read it, what the host wants
// to see is laid where it is fetched from for many steps at once. Both find their place by the step's number, which lies in device memory.
#include "walk.cuh"

// nm_segment is one tensor to copy. A record of the uploads is the step's rows of the data set, then its feeds; one of the outputs is all outputs.
struct nm_segment {
    const float *from;   // the data set; null: the record
    float *to;           // a tensor; null: the record
    int32_t words, rows; // rows of so many words
    int32_t offset;      // in the record
    int32_t first_block;
};

// NM_SPAN is the number of words that a block copies.
#define NM_SPAN 1024

// begin_step: grid of as many blocks as block_segment has entries. rows[i] of a segment is copied from row number record[i] of the data set.
NM_KERNEL(begin_step, 256, const nm_position *position, const float *records, int32_t record_words, const nm_segment *segments,
          const int32_t *block_segment) {
    const nm_segment s = segments[block_segment[blockIdx.x]];
    const float *record = records + (int64_t)position->index * record_words;
    int64_t first = (int64_t)(blockIdx.x - s.first_block) * NM_SPAN, n = (int64_t)s.rows * s.words;
    if (s.from == nullptr) {
        for (int64_t i = first + threadIdx.x; i < min(first + NM_SPAN, n); i += blockDim.x) s.to[i] = record[s.offset + i];
        return;
    }
    const int32_t *rows = reinterpret_cast<const int32_t *>(record);
    if (s.words % 4 == 0) {
        int64_t i = first + threadIdx.x * 4;
        if (i >= n) return;
        int64_t row = i / s.words;
        *reinterpret_cast<float4 *>(s.to + i) = *reinterpret_cast<const float4 *>(s.from + (int64_t)rows[row] * s.words + (i - row * s.words));
        return;
    }
    for (int64_t i = first + threadIdx.x; i < min(first + NM_SPAN, n); i += blockDim.x) {
        int64_t row = i / s.words;
        s.to[i] = s.from[(int64_t)rows[row] * s.words + (i - row * s.words)];
    }
}

// end_step copies the outputs and, once all its blocks have read where the step stands, goes on to the next one. Grid as begin_step's; one block where
// there is no output (segments is null).
NM_KERNEL(end_step, 256, nm_position *position, float *records, int32_t record_words, const nm_segment *segments, const int32_t *block_segment) {
    if (segments != nullptr) {
        const nm_segment s = segments[block_segment[blockIdx.x]];
        float *record = records + (int64_t)position->index * record_words + s.offset;
        int64_t first = (int64_t)(blockIdx.x - s.first_block) * NM_SPAN, n = (int64_t)s.rows * s.words;
        for (int64_t i = first + threadIdx.x; i < min(first + NM_SPAN, n); i += blockDim.x) record[i] = s.from[i];
    }
    if (nm_last(&position->done, gridDim.x) && threadIdx.x == 0) {
        position->index++;
        position->step++;
    }
}
