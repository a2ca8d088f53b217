// Four neighbouring pixels become one: the upper left, the lower left, the upper right, the lower right.

// A thread treats neighbouring channels of a quarter of a merged pixel.
extern "C" __global__ void merge_patches_forward(u64 images, u32 height, u32 width, u32 channels, const T* x, T* y) {
    u32 rows = (height + 1) / 2, columns = (width + 1) / 2, quarter_len = (channels + SEVERAL - 1) / SEVERAL * SEVERAL;
    Spot to = spot_of(images, rows, columns, 4 * quarter_len);
    if (to.count == 0) return;
    u32 quarter = to.channel / quarter_len, channel = to.channel - quarter * quarter_len, count = several_of(channels - channel);
    u32 from_y = 2 * to.y + quarter % 2, from_x = 2 * to.x + quarter / 2;
    Several in = {};
    if (from_y < height && from_x < width) in = several_load(x + ((to.image * height + from_y) * width + from_x) * channels + channel, count);
    Floats out;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) out.of[k] = load(in.of + k);
    u64 pixel = (to.image * rows + to.y) * columns + to.x;
    several_store(y + (4 * pixel + quarter) * channels + channel, out, count, 0);
}

extern "C" __global__ void merge_patches_backward(u64 images, u32 height, u32 width, u32 channels, const T* dy, T* dx, int accumulate) {
    Spot to = spot_of(images, height, width, channels);
    if (to.count == 0) return;
    u32 rows = (height + 1) / 2, columns = (width + 1) / 2, quarter = to.x % 2 * 2 + to.y % 2;
    u64 pixel = (to.image * rows + to.y / 2) * columns + to.x / 2;
    Several gradient = several_load(dy + (4 * pixel + quarter) * channels + to.channel, to.count);
    Floats out;
#pragma unroll
    for (u32 k = 0; k < SEVERAL; k++) out.of[k] = load(gradient.of + k);
    several_store(dx + ((to.image * height + to.y) * width + to.x) * channels + to.channel, out, to.count, accumulate);
}
