// A thread treats 16 bytes of activations at once: with fewer under way, the memory idles.
#define SEVERAL (16 / (u32)sizeof(T))

// For one access of 16 bytes. GCC 12 merges such an access with the single ones of the branch beside it and then takes
// those for aligned as well, so the emulator goes without.
#ifdef __CUDACC__
#define SEVERAL_ALIGNED alignas(16)
#else
#define SEVERAL_ALIGNED
#endif

struct SEVERAL_ALIGNED Several {
    T of[SEVERAL];
};

// The same number of f32.
struct Floats {
    float of[SEVERAL];
};

struct SEVERAL_ALIGNED Quad {
    float of[4];
};

__device__ inline bool several_aligned(const void* at) { return ((u64)at & 15) == 0; }

// The first `count` values; the others are 0.
__device__ inline Several several_load(const T* at, u32 count) {
    if (count == SEVERAL && several_aligned(at)) return *(const Several*)at;
    Several values;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) values.of[k] = k < count ? at[k] : T{};
    return values;
}

// Writes the first `count` values, or adds them to what is there.
__device__ inline void several_store(T* at, const Floats& values, u32 count, int accumulate) {
    Several out = {};
    if (accumulate) out = several_load(at, count);
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) store(out.of + k, accumulate ? load(out.of + k) + values.of[k] : values.of[k]);
    if (count == SEVERAL && several_aligned(at)) {
        *(Several*)at = out;
        return;
    }
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++)
        if (k < count) at[k] = out.of[k];
}

// How many of `left` values a thread takes.
__device__ inline u32 several_of(u64 left) { return left < SEVERAL ? (u32)left : SEVERAL; }

// The f32 of the first `count` channels; the others are 0.
__device__ inline Floats channel_values(const float* at, u32 count) {
    Floats values;
    if (count == SEVERAL && several_aligned(at)) {
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k += 4) {
            Quad quad = *(const Quad*)(at + k);
            for (u32 j = 0; j < 4; j++) values.of[k + j] = quad.of[j];
        }
        return values;
    }
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) values.of[k] = k < count ? at[k] : 0.0f;
    return values;
}

// Pixels that a thread treats, so that it reads the values of its channels once for all of them.
#define STRIP 4

// The work of a thread on [pixels, channels]: neighbouring channels of every `step`th pixel from `first` on. A thread
// beyond the last has a count of 0.
struct Strip {
    u32 channel, count;
    u64 first, step;
};

__device__ inline Strip strip_of(u64 pixels, u32 channels) {
    u32 groups = (channels + SEVERAL - 1) / SEVERAL;
    u64 i = index();
    u64 first = i >> 32 ? i / groups : (u32)i / groups;
    u32 channel = (u32)(i - first * groups) * SEVERAL;
    u64 step = (pixels + STRIP - 1) / STRIP;
    return Strip{channel, first < step ? several_of(channels - channel) : 0, first, step};
}

// Negative values become zero, NaN stays.
__device__ inline float elementwise_relu(float value) { return value < 0.0f ? 0.0f : value; }

// The gradient behind a ReLU whose output is y.
__device__ inline float elementwise_masked(float dy, float y) { return y <= 0.0f ? 0.0f : dy; }

// y := f(x, index), or += with accumulate; x and y may be one place.
template <class F>
__device__ inline void elementwise_one(u64 len, const T* x, T* y, int accumulate, F f) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    u32 count = several_of(len - i);
    Several in = several_load(x + i, count);
    Floats out;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) out.of[k] = f(load(in.of + k), i + k);
    several_store(y + i, out, count, accumulate);
}

// y := f(a, b), or += with accumulate; any of them may be one place.
template <class F>
__device__ inline void elementwise_two(u64 len, const T* a, const T* b, T* y, int accumulate, F f) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    u32 count = several_of(len - i);
    Several first = several_load(a + i, count), second = several_load(b + i, count);
    Floats out;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) out.of[k] = f(load(first.of + k), load(second.of + k));
    several_store(y + i, out, count, accumulate);
}

extern "C" __global__ void from_f32(u64 len, const float* from, T* to) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    u32 count = several_of(len - i);
    several_store(to + i, channel_values(from + i, count), count, 0);
}

extern "C" __global__ void to_f32(u64 len, const T* from, float* to) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    u32 count = several_of(len - i);
    Several values = several_load(from + i, count);
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++)
        if (k < count) to[i + k] = load(values.of + k);
}

extern "C" __global__ void copy_values(u64 len, const T* from, T* to, int accumulate) {
    elementwise_one(len, from, to, accumulate, [](float x, u64) { return x; });
}

extern "C" __global__ void fill_values(u64 len, float value, T* to) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    Floats values;
    for (u32 k = 0; k < SEVERAL; k++) values.of[k] = value;
    several_store(to + i, values, several_of(len - i), 0);
}

extern "C" __global__ void input_from_u8(u64 len, const u8* pixels, float mean0, float mean1, float mean2, float std0, float std1, float std2, T* y) {
    u64 i = index() * SEVERAL;
    if (i >= len) return;
    u32 count = several_of(len - i), channel = (u32)(i % 3);
    Floats out;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) {
        float mean = channel == 0 ? mean0 : channel == 1 ? mean1 : mean2;
        float std = channel == 0 ? std0 : channel == 1 ? std1 : std2;
        out.of[k] = k < count ? ((float)pixels[i + k] / 255.0f - mean) / std : 0.0f;
        channel = channel == 2 ? 0 : channel + 1;
    }
    several_store(y + i, out, count, 0);
}

extern "C" __global__ void add_forward(u64 len, const T* x, const T* other, int relu, T* y) {
    elementwise_two(len, x, other, y, 0, [=](float a, float b) { return relu ? elementwise_relu(a + b) : a + b; });
}

extern "C" __global__ void relu_forward(u64 len, const T* x, T* y) {
    elementwise_one(len, x, y, 0, [](float x, u64) { return elementwise_relu(x); });
}

extern "C" __global__ void relu_backward(u64 len, const T* dy, const T* y, T* dx, int accumulate) {
    elementwise_two(len, dy, y, dx, accumulate, [](float dy, float y) { return elementwise_masked(dy, y); });
}

// A value is kept where its draw of 32 bits reaches the threshold: SplitMix64 at the value's position of the seed's stream.
extern "C" __global__ void dropout(u64 len, u64 seed, u64 threshold, float scale, const T* x, T* y, int accumulate) {
    elementwise_one(len, x, y, accumulate, [=](float x, u64 i) {
        u64 z = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return (z ^ (z >> 31)) >> 32 >= threshold ? x * scale : 0.0f;
    });
}

extern "C" __global__ void add_bias(u64 pixels, u32 channels, const T* x, const float* bias, T* y) {
    Strip strip = strip_of(pixels, channels);
    if (strip.count == 0) return;
    Floats added = channel_values(bias + strip.channel, strip.count);
    for (u64 p = strip.first; p < pixels; p += strip.step) {
        u64 at = p * channels + strip.channel;
        Several in = several_load(x + at, strip.count);
        Floats out;
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k++) out.of[k] = load(in.of + k) + added.of[k];
        several_store(y + at, out, strip.count, 0);
    }
}
