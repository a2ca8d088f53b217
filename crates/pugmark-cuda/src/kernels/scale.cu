// Factors of channels and of images, either of which may be absent.

extern "C" __global__ void scale_forward(u64 images, u64 pixels, u32 channels, const T* x, const float* channel_factors, const float* image_factors, const T* residual, T* y, int accumulate) {
    ImageStrip strip = image_strip_of(images, pixels, channels);
    if (strip.count == 0) return;
    Floats scale;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) scale.of[k] = 1.0f;
    if (channel_factors) scale = channel_values(channel_factors + strip.channel, strip.count);
    float factor = image_factors ? image_factors[strip.image] : 1.0f;
    for (u64 p = strip.first; p < pixels; p += strip.step) {
        u64 at = (strip.image * pixels + p) * channels + strip.channel;
        Several in = several_load(x + at, strip.count), other = {};
        if (residual) other = several_load(residual + at, strip.count);
        Floats out;
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k++) {
            out.of[k] = load(in.of + k) * scale.of[k] * factor;
            if (residual) out.of[k] += load(other.of + k);
        }
        several_store(y + at, out, strip.count, accumulate);
    }
}

// Sums of dy * x times the images' factors; `image` is the pixels of one.
extern "C" __global__ void __launch_bounds__(BLOCK) scale_channels_part(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 chunk, u32 image, const T* dy, const T* x, const float* image_factors, float* partial) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, chunk);
    Floats sum = {};
    if (s.count != 0) {
#pragma unroll 2
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            u64 at = p * channels + s.channel;
            Several gradient = several_load(dy + at, s.count), in = several_load(x + at, s.count);
            float factor = image_factors ? image_factors[picture_quotient(p, image)] : 1.0f;
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) sum.of[k] += load(gradient.of + k) * load(in.of + k) * factor;
        }
    }
    channel_rows_sum(&sum, wide);
    channel_part(s, channels, 0, 1, sum, partial);
}
