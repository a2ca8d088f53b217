// Convolution of each channel by itself, and its gradients. Weights are [kernel, kernel, channels].
//
// Arithmetic and the first cache bound it, not the memory: what is worth the effort (a stride of 1, the usual kernels, an even
// number of channels) goes by runs of neighbouring pixels of two channels, whose sums stay in registers and share what is
// read. Seven of them: sides of pictures are most often multiples.
#define DEPTHWISE_RUN 7

struct alignas(2 * sizeof(T)) DepthwisePair {
    T of[2];
};

struct alignas(8) DepthwiseSums {
    float of[2];
};

// Two channels, or with PAIRS not set `count` of them, which may lie anywhere; the others are 0.
template <bool PAIRS>
__device__ inline DepthwiseSums depthwise_load(const T* at, u32 count) {
    if (PAIRS) {
        DepthwisePair pair = *(const DepthwisePair*)at;
        return DepthwiseSums{load(pair.of), load(pair.of + 1)};
    }
    return DepthwiseSums{load(at), count > 1 ? load(at + 1) : 0.0f};
}

struct DepthwiseShape {
    u64 images;
    u32 height, width, channels, out_height, out_width, kernel, stride, padding;
};

// One run of the output for two channels. A block's threads stand in rows: `wide` side by side with neighbouring channels
// each, a row below the other, so that the first cache has what the rows under the kernel share.
template <int K>
__device__ inline void depthwise_run(const DepthwiseShape& s, u32 wide, u32 tiles, const T* x, const float* w, int flipped, const float* bias, T* y, int accumulate) {
    u32 strips = (s.out_width + DEPTHWISE_RUN - 1) / DEPTHWISE_RUN, rows = BLOCK / wide, row_of_block = threadIdx.x / wide;
    u32 block = blockIdx.x / tiles, channel = (blockIdx.x % tiles * wide + threadIdx.x % wide) * 2;
    u32 first = block % strips * DEPTHWISE_RUN;
    u64 row = (u64)(block / strips) * rows + row_of_block, image = picture_quotient(row, s.out_height);
    if (row_of_block >= rows || channel >= s.channels || image >= s.images) return;
    u32 top = (u32)(row - image * s.out_height);
    DepthwiseSums sums[DEPTHWISE_RUN] = {};
    if (bias) {
        DepthwiseSums added = *(const DepthwiseSums*)(bias + channel);
#pragma unroll
        for (int i = 0; i < DEPTHWISE_RUN; i++) sums[i] = added;
    }
#pragma unroll 1
    for (u32 ky = 0; ky < K; ky++) {
        // Wraps around above the picture, as columns do to the left of it.
        u32 iy = top + ky - s.padding;
        if (iy >= s.height) continue;
        DepthwiseSums weights[K];
#pragma unroll
        for (u32 kx = 0; kx < K; kx++) {
            u32 tap = ky * K + kx;
            weights[kx] = *(const DepthwiseSums*)(w + (u64)(flipped ? K * K - 1 - tap : tap) * s.channels + channel);
        }
        const T* from = x + (image * s.height + iy) * s.width * s.channels + channel;
#pragma unroll
        for (int j = 0; j < DEPTHWISE_RUN + K - 1; j++) {
            u32 ix = first + j - s.padding;
            DepthwiseSums in = {};
            if (ix < s.width) in = depthwise_load<true>(from + (u64)ix * s.channels, 2);
#pragma unroll
            for (int kx = 0; kx < K; kx++) {
                int i = j - kx;
                if (i < 0 || i >= DEPTHWISE_RUN) continue;
                sums[i].of[0] += in.of[0] * weights[kx].of[0];
                sums[i].of[1] += in.of[1] * weights[kx].of[1];
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < DEPTHWISE_RUN; i++) {
        if (first + i >= s.out_width) break;
        DepthwisePair* to = (DepthwisePair*)(y + (row * s.out_width + first + i) * s.channels + channel);
        DepthwisePair out = {};
        if (accumulate) out = *to;
        for (u32 k = 0; k < 2; k++) store(out.of + k, accumulate ? load(out.of + k) + sums[i].of[k] : sums[i].of[k]);
        *to = out;
    }
}

// The output of a stride of 1; or, as a convolution of the output's gradient with the flipped kernel, the input's gradient.
extern "C" __global__ void depthwise_runs(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, u32 wide, u32 tiles, const T* x, const float* w, int flipped, const float* bias, T* y, int accumulate) {
    DepthwiseShape s = {images, height, width, channels, out_height, out_width, kernel, stride, padding};
    if (kernel == 3) depthwise_run<3>(s, wide, tiles, x, w, flipped, bias, y, accumulate);
    if (kernel == 5) depthwise_run<5>(s, wide, tiles, x, w, flipped, bias, y, accumulate);
    if (kernel == 7) depthwise_run<7>(s, wide, tiles, x, w, flipped, bias, y, accumulate);
}

__device__ inline void depthwise_add(Floats* sums, const T* from, const float* w, u32 count) {
    Several in = several_load(from, count);
    Floats weights = channel_values(w, count);
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) sums->of[k] += load(in.of + k) * weights.of[k];
}

// Any stride, kernel and channels, pixel by pixel.
extern "C" __global__ void depthwise_forward(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, const T* x, const float* w, const float* bias, T* y) {
    Spot to = spot_of(images, out_height, out_width, channels);
    if (to.count == 0) return;
    Floats sums = {};
    if (bias) sums = channel_values(bias + to.channel, to.count);
    for (u32 ky = 0; ky < kernel; ky++) {
        u32 iy = to.y * stride + ky - padding;
        if (iy >= height) continue;
        const T* row = x + (to.image * height + iy) * width * channels + to.channel;
        for (u32 kx = 0; kx < kernel; kx++) {
            u32 ix = to.x * stride + kx - padding;
            if (ix >= width) continue;
            depthwise_add(&sums, row + (u64)ix * channels, w + (u64)(ky * kernel + kx) * channels + to.channel, to.count);
        }
    }
    several_store(y + ((to.image * out_height + to.y) * out_width + to.x) * channels + to.channel, sums, to.count, 0);
}

// Each input pixel adds up what the outputs over it give it: those whose tap leaves no rest of the stride.
extern "C" __global__ void depthwise_backward_data(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, const T* dy, const float* w, T* dx, int accumulate) {
    Spot to = spot_of(images, height, width, channels);
    if (to.count == 0) return;
    u32 y = to.y + padding, x = to.x + padding;
    Floats sums = {};
    for (u32 ky = y % stride; ky < kernel && ky <= y; ky += stride) {
        u32 oy = (y - ky) / stride;
        if (oy >= out_height) continue;
        const T* row = dy + (to.image * out_height + oy) * out_width * channels + to.channel;
        for (u32 kx = x % stride; kx < kernel && kx <= x; kx += stride) {
            u32 ox = (x - kx) / stride;
            if (ox >= out_width) continue;
            depthwise_add(&sums, row + (u64)ox * channels, w + (u64)(ky * kernel + kx) * channels + to.channel, to.count);
        }
    }
    several_store(dx + ((to.image * height + to.y) * width + to.x) * channels + to.channel, sums, to.count, accumulate);
}

// Which part of the sums of the weights' gradients a thread has: two channels, a row of the kernel's taps, and every `step`th
// row of the outputs, counted over all images, from `begin` on.
struct DepthwiseRows {
    u32 channel, count, ky, step;
    u64 begin, end;
};

// The sums for K neighbouring taps of the kernel's row. Those of an output row are added up by themselves, so that no sum is
// of many values.
template <int K, bool PAIRS>
__device__ inline void depthwise_taps(const DepthwiseShape& s, const DepthwiseRows& r, u32 kx, const T* x, const T* dy, float* partial) {
    const int columns = DEPTHWISE_RUN + K - 1;
    DepthwiseSums totals[K] = {};
    for (u64 row = r.begin; row < r.end; row += r.step) {
        u64 image = picture_quotient(row, s.out_height);
        u32 iy = (u32)(row - image * s.out_height) * s.stride + r.ky - s.padding;
        if (iy >= s.height) continue;
        const T* from = x + (image * s.height + iy) * s.width * s.channels + r.channel;
        const T* gradients = dy + row * s.out_width * s.channels + r.channel;
        DepthwiseSums sums[K] = {};
        for (u32 first = 0; first < s.out_width; first += DEPTHWISE_RUN) {
            DepthwiseSums gradient[DEPTHWISE_RUN] = {};
#pragma unroll
            for (u32 i = 0; i < DEPTHWISE_RUN; i++)
                if (first + i < s.out_width) gradient[i] = depthwise_load<PAIRS>(gradients + (u64)(first + i) * s.channels, r.count);
#pragma unroll
            for (int j = 0; j < columns; j++) {
                // More than one tap only with a stride of 1.
                u32 ix = (K == 1 ? (first + j) * s.stride : first + j) + kx - s.padding;
                DepthwiseSums in = {};
                if (ix < s.width) in = depthwise_load<PAIRS>(from + (u64)ix * s.channels, r.count);
#pragma unroll
                for (int k = 0; k < K; k++) {
                    int i = j - k;
                    if (i < 0 || i >= DEPTHWISE_RUN) continue;
                    sums[k].of[0] += gradient[i].of[0] * in.of[0];
                    sums[k].of[1] += gradient[i].of[1] * in.of[1];
                }
            }
        }
#pragma unroll
        for (int k = 0; k < K; k++) {
            totals[k].of[0] += sums[k].of[0];
            totals[k].of[1] += sums[k].of[1];
        }
    }
#pragma unroll
    for (int k = 0; k < K; k++) {
        float* to = partial + (u64)(r.ky * s.kernel + kx + k) * s.channels + r.channel;
        to[0] = totals[k].of[0];
        if (r.count > 1) to[1] = totals[k].of[1];
    }
}

template <bool PAIRS>
__device__ inline void depthwise_row_of_taps(const DepthwiseShape& s, const DepthwiseRows& r, const T* x, const T* dy, float* partial) {
    u32 together = s.stride == 1 ? s.kernel : 1;
    if (together == 7)
        depthwise_taps<7, PAIRS>(s, r, 0, x, dy, partial);
    else if (together == 5)
        depthwise_taps<5, PAIRS>(s, r, 0, x, dy, partial);
    else if (together == 3)
        depthwise_taps<3, PAIRS>(s, r, 0, x, dy, partial);
    else
        for (u32 kx = 0; kx < s.kernel; kx++) depthwise_taps<1, PAIRS>(s, r, kx, x, dy, partial);
}

// Sums over chunks of the output rows: a block has one for a tile of the channels. Its threads stand side by side with
// neighbouring channels, then by the kernel's rows, then by those of the chunk that are summed at the same time. What they
// read of the input is the same but for some rows, so that the first cache has it.
extern "C" __global__ void depthwise_weight_part(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, u32 wide, u32 tiles, u32 slots, u64 chunk, int pairs, const T* x, const T* dy, float* partial) {
    DepthwiseShape s = {images, height, width, channels, out_height, out_width, kernel, stride, padding};
    u32 tile = blockIdx.x % tiles, part = blockIdx.x / tiles, line = threadIdx.x / wide, slot = line / kernel;
    u32 channel = (tile * wide + threadIdx.x % wide) * 2;
    if (slot >= slots || channel >= channels) return;
    u64 begin = part * chunk, rows = images * out_height, end = begin + chunk < rows ? begin + chunk : rows;
    DepthwiseRows r = {channel, channel + 1 < channels ? 2u : 1u, line % kernel, slots, begin + slot, end};
    partial += ((u64)part * slots + slot) * kernel * kernel * channels;
    if (pairs)
        depthwise_row_of_taps<true>(s, r, x, dy, partial);
    else
        depthwise_row_of_taps<false>(s, r, x, dy, partial);
}
