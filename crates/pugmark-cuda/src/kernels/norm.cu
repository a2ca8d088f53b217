// Batch normalisation, and sums over the pixels of [pixels, channels] for each channel.
//
// Such a sum is shared out twice: a block sums a chunk of the pixels for a tile of the channels, then a second kernel adds up
// the chunks. A block's threads stand in rows, `wide` side by side with neighbouring channels each, a row a pixel.

struct ChannelShare {
    u32 row, rows, channel, count;
    u64 part, begin, end;
};

__device__ inline ChannelShare channel_share(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk) {
    ChannelShare s;
    u32 tile = blockIdx.x % tiles;
    s.row = threadIdx.x / wide;
    s.rows = BLOCK / wide;
    s.channel = (tile * wide + threadIdx.x % wide) * SEVERAL;
    s.count = s.row < s.rows && s.channel < channels ? several_of(channels - s.channel) : 0;
    s.part = blockIdx.x / tiles;
    s.begin = s.part * chunk;
    s.end = s.begin + chunk < pixels ? s.begin + chunk : pixels;
    return s;
}

// Adds up the rows of a block; the sums end up in row 0. Every thread must call it. Static, for a linker makes one of what
// inline functions of the emulator's two libraries share, and it is larger in one of them.
__device__ static inline void channel_rows_sum(Floats* sums, u32 wide) {
    __shared__ float shared[SEVERAL][BLOCK];
    u32 row = threadIdx.x / wide;
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) shared[k][threadIdx.x] = sums->of[k];
    for (u32 rows = BLOCK / wide; rows > 1;) {
        u32 half = (rows + 1) / 2;
        __syncthreads();
        if (row + half < rows) {
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) shared[k][threadIdx.x] += shared[k][threadIdx.x + half * wide];
        }
        rows = half;
    }
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) sums->of[k] = shared[k][threadIdx.x];
}

// Writes sum `which` of `of` of a chunk.
__device__ inline void channel_part(const ChannelShare& s, u32 channels, u32 which, u32 of, const Floats& sums, float* partial) {
    float* to = partial + (s.part * of + which) * channels + s.channel;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++)
        if (s.row == 0 && k < s.count) to[k] = sums.of[k];
}

// Channels of a block that adds up chunks: a few, so that many threads share the chunks of one.
#define FINISHED 8

__device__ inline double channel_finish_sum(double value) {
    __shared__ double shared[BLOCK];
    __syncthreads();
    shared[threadIdx.x] = value;
    for (u32 half = BLOCK / 2; half >= FINISHED; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return shared[threadIdx.x];
}

// Mean and sum of squares around it of each chunk. The values are taken from the chunk's first one, so that little cancels
// even where they are far from zero, and an outlier there spoils no other chunk.
extern "C" __global__ void __launch_bounds__(BLOCK) channel_stats_part(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk, const T* x, float* partial) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, chunk);
    Several first = several_load(x + s.begin * channels + s.channel, s.count);
    Floats sum = {}, square = {};
    if (s.count != 0) {
#pragma unroll 4
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            Several in = several_load(x + p * channels + s.channel, s.count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) {
                float d = load(in.of + k) - load(first.of + k);
                sum.of[k] += d;
                square.of[k] += d * d;
            }
        }
    }
    channel_rows_sum(&sum, wide);
    channel_rows_sum(&square, wide);
    float n = (float)(s.end - s.begin);
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) {
        float d = sum.of[k] / n;
        square.of[k] -= sum.of[k] * d;
        sum.of[k] = load(first.of + k) + d;
    }
    channel_part(s, channels, 0, 2, sum, partial);
    channel_part(s, channels, 1, 2, square, partial);
}

extern "C" __global__ void __launch_bounds__(BLOCK) channel_stats_finish(u64 parts, u32 channels, u64 pixels, u64 chunk, const float* partial, float* mean, float* var) {
    u64 c = (u64)blockIdx.x * FINISHED + threadIdx.x % FINISHED;
    double sum = 0.0, square = 0.0;
    for (u64 part = threadIdx.x / FINISHED; part < parts && c < channels; part += BLOCK / FINISHED) {
        u64 left = pixels - part * chunk;
        double n = (double)(left < chunk ? left : chunk);
        double m = partial[2 * part * channels + c];
        sum += n * m;
        square += n * m * m + partial[(2 * part + 1) * channels + c];
    }
    sum = channel_finish_sum(sum) / (double)pixels;
    square = channel_finish_sum(square) / (double)pixels - sum * sum;
    if (threadIdx.x < FINISHED && c < channels) {
        mean[c] = (float)sum;
        // NaN stays.
        var[c] = square < 0.0 ? 0.0f : (float)square;
    }
}

// Adds up one or two sums of each chunk, the second times a factor where there is one.
extern "C" __global__ void __launch_bounds__(BLOCK) channel_sums_finish(u64 parts, u32 channels, const float* partial, const float* factor, float* first, float* second) {
    u64 c = (u64)blockIdx.x * FINISHED + threadIdx.x % FINISHED;
    u32 of = second ? 2 : 1;
    double sums[2] = {0.0, 0.0};
    for (u64 part = threadIdx.x / FINISHED; part < parts && c < channels; part += BLOCK / FINISHED) {
        sums[0] += partial[part * of * channels + c];
        if (second) sums[1] += partial[(part * of + 1) * channels + c];
    }
    sums[0] = channel_finish_sum(sums[0]);
    sums[1] = channel_finish_sum(sums[1]);
    if (threadIdx.x < FINISHED && c < channels) {
        first[c] = (float)sums[0];
        if (second) second[c] = (float)(factor ? sums[1] * factor[c] : sums[1]);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) channel_sum_part(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk, const T* x, float* partial) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, chunk);
    Floats sum = {};
    if (s.count != 0) {
#pragma unroll 4
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            Several in = several_load(x + p * channels + s.channel, s.count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) sum.of[k] += load(in.of + k);
        }
    }
    channel_rows_sum(&sum, wide);
    channel_part(s, channels, 0, 1, sum, partial);
}

extern "C" __global__ void batch_norm_prepare(u64 channels, const float* mean, const float* var, const float* gamma, const float* beta, float eps, const float* bias, float* inverse_std, float* scale, float* shift) {
    u64 c = index();
    if (c >= channels) return;
    float inverse = 1.0f / sqrtf(var[c] + eps);
    float factor = gamma[c] * inverse;
    inverse_std[c] = inverse;
    scale[c] = factor;
    shift[c] = beta[c] - (mean[c] - (bias ? bias[c] : 0.0f)) * factor;
}

extern "C" __global__ void move_running(u64 channels, const float* mean, const float* var, float momentum, float unbiased, float* running_mean, float* running_var) {
    u64 c = index();
    if (c >= channels) return;
    running_mean[c] += momentum * (mean[c] - running_mean[c]);
    running_var[c] += momentum * (var[c] * unbiased - running_var[c]);
}

extern "C" __global__ void scale_shift(u64 pixels, u32 channels, const T* x, const float* scale, const float* shift, const T* residual, int relu, T* y) {
    Strip strip = strip_of(pixels, channels);
    if (strip.count == 0) return;
    Floats factor = channel_values(scale + strip.channel, strip.count);
    Floats added = channel_values(shift + strip.channel, strip.count);
    for (u64 p = strip.first; p < pixels; p += strip.step) {
        u64 at = p * channels + strip.channel;
        Several in = several_load(x + at, strip.count), other = {};
        if (residual) other = several_load(residual + at, strip.count);
        Floats out;
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k++) {
            float value = load(in.of + k) * factor.of[k] + added.of[k];
            if (residual) value += load(other.of + k);
            out.of[k] = relu ? elementwise_relu(value) : value;
        }
        several_store(y + at, out, strip.count, 0);
    }
}

// The gradient g behind the normalisation's ReLU, where there is one: dy, masked by its output y.
__device__ inline Floats batch_norm_gradient(const T* dy, const T* y, u32 count) {
    Several gradient = several_load(dy, count), output = {};
    if (y) output = several_load(y, count);
    Floats g;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) {
        float value = load(gradient.of + k);
        g.of[k] = y ? elementwise_masked(value, load(output.of + k)) : value;
    }
    return g;
}

// Sums of g and of g * (x - mean).
extern "C" __global__ void __launch_bounds__(BLOCK) batch_norm_backward_part(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk, const T* dy, const T* y, const T* x, const float* mean, float* partial) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, chunk);
    Floats sum = {}, product = {};
    if (s.count != 0) {
        Floats centre = channel_values(mean + s.channel, s.count);
#pragma unroll 2
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            u64 at = p * channels + s.channel;
            Floats g = batch_norm_gradient(dy + at, y ? y + at : y, s.count);
            Several in = several_load(x + at, s.count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) {
                sum.of[k] += g.of[k];
                product.of[k] += g.of[k] * (load(in.of + k) - centre.of[k]);
            }
        }
    }
    channel_rows_sum(&sum, wide);
    channel_rows_sum(&product, wide);
    channel_part(s, channels, 0, 2, sum, partial);
    channel_part(s, channels, 1, 2, product, partial);
}

// dx = scale * g - (slope * (x - mean) + offset), or scale * g where the statistics were running ones; dr = g. Both are
// written or added to in one pass, and either may be absent.
extern "C" __global__ void batch_norm_backward_apply(u64 pixels, u32 channels, const T* dy, const T* y, const T* x, const float* mean, const float* inverse_std, const float* gamma, const float* sum_gradient, const float* sum_gradient_x, int running, T* dx, int dx_accumulate, T* dr, int dr_accumulate) {
    Strip strip = strip_of(pixels, channels);
    if (strip.count == 0) return;
    u32 c = strip.channel, count = strip.count;
    Floats inverse = channel_values(inverse_std + c, count), scale = channel_values(gamma + c, count);
    Floats centre = {}, slope = {}, offset = {};
    if (!running) {
        centre = channel_values(mean + c, count);
        slope = channel_values(sum_gradient_x + c, count);
        offset = channel_values(sum_gradient + c, count);
    }
    float n = (float)pixels;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) {
        scale.of[k] *= inverse.of[k];
        slope.of[k] = scale.of[k] * inverse.of[k] * slope.of[k] / n;
        offset.of[k] = scale.of[k] * offset.of[k] / n;
    }
    for (u64 p = strip.first; p < pixels; p += strip.step) {
        u64 at = p * channels + c;
        Floats g = batch_norm_gradient(dy + at, y ? y + at : y, count);
        if (dx) {
            Several in = {};
            if (!running) in = several_load(x + at, count);
            Floats out;
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) {
                float taken = running ? 0.0f : slope.of[k] * (load(in.of + k) - centre.of[k]) + offset.of[k];
                out.of[k] = scale.of[k] * g.of[k] - taken;
            }
            several_store(dx + at, out, count, dx_accumulate);
        }
        if (dr) several_store(dr + at, g, count, dr_accumulate);
    }
}
