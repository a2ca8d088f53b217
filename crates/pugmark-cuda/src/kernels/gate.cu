// A factor for each channel of each image.

extern "C" __global__ void gate_forward(u64 images, u64 pixels, u32 channels, const T* x, const T* gate, T* y, int accumulate) {
    ImageStrip strip = image_strip_of(images, pixels, channels);
    if (strip.count == 0) return;
    Several factor = several_load(gate + strip.image * channels + strip.channel, strip.count);
    for (u64 p = strip.first; p < pixels; p += strip.step) {
        u64 at = (strip.image * pixels + p) * channels + strip.channel;
        Several in = several_load(x + at, strip.count);
        Floats out;
#pragma unroll
        for (u32 k = 0; k < SEVERAL; k++) out.of[k] = load(in.of + k) * load(factor.of + k);
        several_store(y + at, out, strip.count, accumulate);
    }
}

// The chunks of the share are images.
extern "C" __global__ void __launch_bounds__(BLOCK) gate_backward(u64 pixels, u32 channels, u32 wide, u32 tiles, u64 image, const T* dy, const T* x, T* dgate, int accumulate) {
    ChannelShare s = channel_share(pixels, channels, wide, tiles, image);
    Floats sum = {};
    if (s.count != 0) {
#pragma unroll 4
        for (u64 p = s.begin + s.row; p < s.end; p += s.rows) {
            u64 at = p * channels + s.channel;
            Several gradient = several_load(dy + at, s.count), in = several_load(x + at, s.count);
#pragma unroll
            for (u32 k = 0; k < SEVERAL; k++) sum.of[k] += load(gradient.of + k) * load(in.of + k);
        }
    }
    channel_rows_sum(&sum, wide);
    if (s.row == 0 && s.count != 0) several_store(dgate + s.part * channels + s.channel, sum, s.count, accumulate);
}
