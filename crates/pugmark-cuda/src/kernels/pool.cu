// Pooling, and how the threads share out pictures: [images, height, width, channels].

// A division of 64 bits costs many times one of 32.
__device__ inline u64 picture_quotient(u64 a, u32 b) { return a >> 32 ? a / b : (u32)a / b; }

// Neighbouring channels of a pixel. A thread beyond the last has a count of 0.
struct Spot {
    u32 channel, count, x, y;
    u64 image;
};

__device__ inline Spot spot_of(u64 images, u32 height, u32 width, u32 channels) {
    u32 groups = (channels + SEVERAL - 1) / SEVERAL;
    u64 i = index();
    u64 pixel = picture_quotient(i, groups), row = picture_quotient(pixel, width), image = picture_quotient(row, height);
    u32 channel = (u32)(i - pixel * groups) * SEVERAL;
    u32 count = image < images ? several_of(channels - channel) : 0;
    return Spot{channel, count, (u32)(pixel - row * width), (u32)(row - image * height), image};
}

// Neighbouring channels of every `step`th pixel of an image from `first` on. A thread beyond the last has a count of 0.
struct ImageStrip {
    u32 channel, count;
    u64 image, first, step;
};

__device__ inline ImageStrip image_strip_of(u64 images, u64 pixels, u32 channels) {
    u32 groups = (channels + SEVERAL - 1) / SEVERAL;
    u64 step = (pixels + STRIP - 1) / STRIP;
    u64 i = index();
    u64 strip = picture_quotient(i, groups), image = picture_quotient(strip, (u32)step);
    u32 channel = (u32)(i - strip * groups) * SEVERAL;
    return ImageStrip{channel, image < images ? several_of(channels - channel) : 0, image, strip - image * step, step};
}

// Positions within a window, one for each of a thread's channels. See SEVERAL_ALIGNED.
#ifdef __CUDACC__
#define POOL_ALIGNED alignas(SEVERAL)
#else
#define POOL_ALIGNED
#endif

struct POOL_ALIGNED PoolTaps {
    u8 of[SEVERAL];
};

__device__ inline bool pool_aligned(const u8* at) { return ((u64)at & (SEVERAL - 1)) == 0; }

// The first maximum wins, and the last NaN over all.
extern "C" __global__ void max_pool_forward(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, const T* x, T* y, u8* argmax) {
    Spot to = spot_of(images, out_height, out_width, channels);
    if (to.count == 0) return;
    u32 top = to.y * stride, left = to.x * stride;
    // The taps inside the picture.
    u32 ky0 = padding > top ? padding - top : 0, kx0 = padding > left ? padding - left : 0;
    u32 ky1 = height + padding - top < kernel ? height + padding - top : kernel;
    u32 kx1 = width + padding - left < kernel ? width + padding - left : kernel;
    Floats best;
    PoolTaps winner;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) {
        best.of[k] = __int_as_float((int)0xff800000);
        winner.of[k] = (u8)(ky0 * kernel + kx0);
    }
    for (u32 ky = ky0; ky < ky1; ky++) {
        const T* row = x + ((to.image * height + top + ky - padding) * width + left) * channels + to.channel;
        for (u32 kx = kx0; kx < kx1; kx++) {
            Several in = several_load(row + ((long long)kx - padding) * channels, to.count);
            u8 tap = (u8)(ky * kernel + kx);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) {
                float value = load(in.of + k);
                bool wins = value > best.of[k] || value != value;
                best.of[k] = wins ? value : best.of[k];
                winner.of[k] = wins ? tap : winner.of[k];
            }
        }
    }
    u64 at = ((to.image * out_height + to.y) * out_width + to.x) * channels + to.channel;
    several_store(y + at, best, to.count, 0);
    if (!argmax) return;
    if (to.count == SEVERAL && pool_aligned(argmax + at)) {
        *(PoolTaps*)(argmax + at) = winner;
        return;
    }
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++)
        if (k < to.count) argmax[at + k] = winner.of[k];
}

__device__ inline PoolTaps pool_taps(const u8* at, u32 count) {
    if (count == SEVERAL && pool_aligned(at)) return *(const PoolTaps*)at;
    PoolTaps taps;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) taps.of[k] = k < count ? at[k] : 0;
    return taps;
}

// Each input pixel adds up what it won, so that no two threads write to one place.
extern "C" __global__ void max_pool_backward(u64 images, u32 height, u32 width, u32 channels, u32 out_height, u32 out_width, u32 kernel, u32 stride, u32 padding, const T* dy, const u8* argmax, T* dx, int accumulate) {
    Spot to = spot_of(images, height, width, channels);
    if (to.count == 0) return;
    u32 y = to.y + padding, x = to.x + padding;
    // The windows over the pixel.
    u32 oy0 = y >= kernel ? (y - kernel) / stride + 1 : 0, ox0 = x >= kernel ? (x - kernel) / stride + 1 : 0;
    u32 oy1 = y / stride < out_height ? y / stride + 1 : out_height;
    u32 ox1 = x / stride < out_width ? x / stride + 1 : out_width;
    Floats sum = {};
    for (u32 oy = oy0; oy < oy1; oy++) {
        for (u32 ox = ox0; ox < ox1; ox++) {
            u32 tap = (y - oy * stride) * kernel + x - ox * stride;
            u64 at = ((to.image * out_height + oy) * out_width + ox) * channels + to.channel;
            PoolTaps winner = pool_taps(argmax + at, to.count);
            Several gradient = several_load(dy + at, to.count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) sum.of[k] += winner.of[k] == tap ? load(gradient.of + k) : 0.0f;
        }
    }
    several_store(dx + ((to.image * height + to.y) * width + to.x) * channels + to.channel, sum, to.count, accumulate);
}

// The chunks of the share are images.
extern "C" __global__ void __launch_bounds__(BLOCK) global_avg_pool_forward(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 image, const T* x, T* y) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, image);
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
    if (s.row != 0 || s.count == 0) return;
    float n = (float)image;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) sum.of[k] /= n;
    several_store(y + s.part * channels + s.channel, sum, s.count, 0);
}

extern "C" __global__ void global_avg_pool_backward(u64 images, u64 pixels, u32 channels, const T* dy, T* dx, int accumulate) {
    ImageStrip strip = image_strip_of(images, pixels, channels);
    if (strip.count == 0) return;
    Several gradient = several_load(dy + strip.image * channels + strip.channel, strip.count);
    Floats share;
    float n = (float)pixels;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) share.of[k] = load(gradient.of + k) / n;
    for (u64 p = strip.first; p < pixels; p += strip.step)
        several_store(dx + (strip.image * pixels + p) * channels + strip.channel, share, strip.count, accumulate);
}
