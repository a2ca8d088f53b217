// Layer normalisation over the channels of each pixel. `wide` threads, a power of two, share a pixel; they keep its values in
// registers, so that the statistics are computed in two passes, the exact way, and the memory is read once.

// Times SEVERAL values of a pixel that a thread keeps.
#define LAYER_NORM_KEPT 4

struct LayerNormPixel {
    u64 pixel;
    u32 lane, channels;
    bool inside;

    __device__ u32 channel(u32 k, u32 wide) const { return (k * wide + lane) * SEVERAL; }
    __device__ u32 count(u32 channel) const { return inside && channel < channels ? several_of(channels - channel) : 0; }
};

__device__ inline LayerNormPixel layer_norm_pixel(u64 pixels, u32 channels, u32 wide) {
    u64 pixel = (u64)blockIdx.x * (BLOCK / wide) + threadIdx.x / wide;
    return LayerNormPixel{pixel, threadIdx.x & (wide - 1), channels, pixel < pixels};
}

// The sum over a pixel's threads. Every thread of the block must call it.
__device__ inline float layer_norm_sum(float value, u32 wide) {
    __shared__ float shared[BLOCK];
    u32 lane = threadIdx.x & (wide - 1);
    __syncthreads();
    shared[threadIdx.x] = value;
    for (u32 half = wide / 2; half > 0; half /= 2) {
        __syncthreads();
        if (lane < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[threadIdx.x - lane];
}

__device__ inline void layer_norm_load(const LayerNormPixel& at, u32 wide, const T* values, Several* kept) {
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++) {
        u32 c = at.channel(k, wide);
        kept[k] = several_load(values + at.pixel * at.channels + c, at.count(c));
    }
}

// Mean and inverse standard deviation.
__device__ inline void layer_norm_statistics(const LayerNormPixel& at, u32 wide, const Several* x, float eps, float* mean, float* inverse) {
    float sum = 0.0f, square = 0.0f;
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++)
#pragma unroll
        for (u32 j = 0; j < SEVERAL; j++) sum += load(x[k].of + j);
    *mean = layer_norm_sum(sum, wide) / (float)at.channels;
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++) {
        u32 count = at.count(at.channel(k, wide));
#pragma unroll
        for (u32 j = 0; j < SEVERAL; j++) {
            float d = j < count ? load(x[k].of + j) - *mean : 0.0f;
            square += d * d;
        }
    }
    *inverse = 1.0f / sqrtf(layer_norm_sum(square, wide) / (float)at.channels + eps);
}

extern "C" __global__ void __launch_bounds__(BLOCK) layer_norm_forward(u64 pixels, u32 channels, u32 wide, const T* x, const float* gamma, const float* beta, float eps, T* y) {
    LayerNormPixel at = layer_norm_pixel(pixels, channels, wide);
    Several kept[LAYER_NORM_KEPT];
    layer_norm_load(at, wide, x, kept);
    float mean, inverse;
    layer_norm_statistics(at, wide, kept, eps, &mean, &inverse);
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++) {
        u32 c = at.channel(k, wide), count = at.count(c);
        if (count == 0) continue;
        Floats scale = channel_values(gamma + c, count), out = channel_values(beta + c, count);
#pragma unroll
        for (u32 j = 0; j < SEVERAL; j++) out.of[j] = (load(kept[k].of + j) - mean) * inverse * scale.of[j] + out.of[j];
        several_store(y + at.pixel * channels + c, out, count, 0);
    }
}

// dx = inverse * (g - mean of g - xhat * mean of g * xhat) with g = dy * gamma, where dx is given; and what the sums over
// pixels need: each pixel's mean and inverse.
extern "C" __global__ void __launch_bounds__(BLOCK) layer_norm_backward_pixels(u64 pixels, u32 channels, u32 wide, const T* dy, const T* x, const float* gamma, float eps, T* dx, int accumulate, float* means, float* inverses) {
    LayerNormPixel at = layer_norm_pixel(pixels, channels, wide);
    Several kept[LAYER_NORM_KEPT], gradient[LAYER_NORM_KEPT];
    layer_norm_load(at, wide, x, kept);
    float mean, inverse;
    layer_norm_statistics(at, wide, kept, eps, &mean, &inverse);
    if (at.inside && at.lane == 0) {
        means[at.pixel] = mean;
        inverses[at.pixel] = inverse;
    }
    // The same for all threads.
    if (!dx) return;
    layer_norm_load(at, wide, dy, gradient);
    float sum = 0.0f, product = 0.0f;
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++) {
        u32 c = at.channel(k, wide);
        Floats scale = channel_values(gamma + c, at.count(c));
#pragma unroll
        for (u32 j = 0; j < SEVERAL; j++) {
            float g = load(gradient[k].of + j) * scale.of[j];
            sum += g;
            product += g * ((load(kept[k].of + j) - mean) * inverse);
        }
    }
    float offset = layer_norm_sum(sum, wide) / (float)channels;
    float slope = layer_norm_sum(product, wide) / (float)channels * inverse;
#pragma unroll
    for (u32 k = 0; k < LAYER_NORM_KEPT; k++) {
        u32 c = at.channel(k, wide), count = at.count(c);
        if (count == 0) continue;
        Floats out = channel_values(gamma + c, count);
#pragma unroll
        for (u32 j = 0; j < SEVERAL; j++)
            out.of[j] = (load(gradient[k].of + j) * out.of[j] - offset - (load(kept[k].of + j) - mean) * slope) * inverse;
        several_store(dx + at.pixel * channels + c, out, count, accumulate);
    }
}

// Sums of dy * xhat and of dy over the pixels of a chunk.
extern "C" __global__ void __launch_bounds__(BLOCK) layer_norm_backward_part(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk, const T* dy, const T* x, const float* means, const float* inverses, float* partial) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, chunk);
    Floats product = {}, sum = {};
    if (s.count != 0) {
#pragma unroll 2
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            u64 at = p * channels + s.channel;
            Several gradient = several_load(dy + at, s.count), in = several_load(x + at, s.count);
            float mean = means[p], inverse = inverses[p];
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) {
                float g = load(gradient.of + k);
                product.of[k] += g * ((load(in.of + k) - mean) * inverse);
                sum.of[k] += g;
            }
        }
    }
    channel_rows_sum(&product, wide);
    channel_rows_sum(&sum, wide);
    channel_part(s, channels, 0, 2, product, partial);
    channel_part(s, channels, 1, 2, sum, partial);
}
