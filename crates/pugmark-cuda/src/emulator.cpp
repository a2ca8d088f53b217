// What libraries compute on a GPU, as plain sums. Comes after kernels.

struct Shape {
    uint64_t images, height, width, in, out, rows, columns, stride, padding, out_height, out_width;
};

// Calls f(pixel of x, pixel of y, tap) for each pair that meets.
template <class F>
static void each_pair(const Shape& s, F f) {
    for (uint64_t image = 0; image < s.images; image++)
        for (uint64_t oy = 0; oy < s.out_height; oy++)
            for (uint64_t ox = 0; ox < s.out_width; ox++)
                for (uint64_t ky = 0; ky < s.rows; ky++)
                    for (uint64_t kx = 0; kx < s.columns; kx++) {
                        int64_t iy = (int64_t)(oy * s.stride + ky) - (int64_t)s.padding;
                        int64_t ix = (int64_t)(ox * s.stride + kx) - (int64_t)s.padding;
                        if (iy < 0 || ix < 0 || iy >= (int64_t)s.height || ix >= (int64_t)s.width) continue;
                        f((image * s.height + iy) * s.width + ix, (image * s.out_height + oy) * s.out_width + ox, ky * s.columns + kx);
                    }
}

static float* widened(const T* from, uint64_t len) {
    float* to = (float*)malloc(len * sizeof(float) + 1);
    for (uint64_t i = 0; i < len; i++) to[i] = load(from + i);
    return to;
}

template <class C>
static void finish(const float* sums, C* to, uint64_t len, int accumulate) {
    for (uint64_t i = 0; i < len; i++) store(to + i, accumulate ? load(to + i) + sums[i] : sums[i]);
}

extern "C" void emulated_convolution(const Shape* shape, int pass, T* x, T* w, T* y, int accumulate) {
    const Shape& s = *shape;
    uint64_t x_len = s.images * s.height * s.width * s.in, w_len = s.out * s.rows * s.columns * s.in;
    uint64_t y_len = s.images * s.out_height * s.out_width * s.out;
    uint64_t in = s.in, out = s.out, taps = s.rows * s.columns;
    float *fx = widened(x, x_len), *fw = widened(w, w_len), *fy = widened(y, y_len);
    if (pass == 0) {
        memset(fy, 0, y_len * sizeof(float));
        each_pair(s, [&](uint64_t at_x, uint64_t at_y, uint64_t tap) {
            for (uint64_t o = 0; o < out; o++) {
                const float *a = fx + at_x * in, *b = fw + (o * taps + tap) * in;
                float sum = 0;
#pragma omp simd reduction(+ : sum)
                for (uint64_t i = 0; i < in; i++) sum += a[i] * b[i];
                fy[at_y * out + o] += sum;
            }
        });
        finish(fy, y, y_len, accumulate);
    } else {
        float* target = pass == 1 ? fx : fw;
        memset(target, 0, (pass == 1 ? x_len : w_len) * sizeof(float));
        each_pair(s, [&](uint64_t at_x, uint64_t at_y, uint64_t tap) {
            for (uint64_t o = 0; o < out; o++) {
                float *a = fx + at_x * in, *b = fw + (o * taps + tap) * in, dy = fy[at_y * out + o];
                if (pass == 1)
                    for (uint64_t i = 0; i < in; i++) a[i] += b[i] * dy;
                else
                    for (uint64_t i = 0; i < in; i++) b[i] += a[i] * dy;
            }
        });
        if (pass == 1)
            finish(fx, x, x_len, accumulate);
        else
            finish(fw, w, w_len, accumulate);
    }
    free(fx), free(fw), free(fy);
}

// A matrix of rows x columns, from one that may be stored the other way round.
static float* in_rows(const T* from, uint64_t rows, uint64_t columns, int turned) {
    float* to = (float*)malloc(rows * columns * sizeof(float) + 1);
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t column = 0; column < columns; column++)
            to[row * columns + column] = load(from + (turned ? column * rows + row : row * columns + column));
    return to;
}

extern "C" void emulated_matmul(uint64_t m, uint64_t n, uint64_t k, int turn_a, int turn_b, T* a, T* b, int c_is_f32, void* c, int accumulate) {
    float *fa = in_rows(a, m, k, turn_a), *fb = in_rows(b, k, n, turn_b), *fc = (float*)calloc(m * n + 1, sizeof(float));
    for (uint64_t row = 0; row < m; row++)
        for (uint64_t i = 0; i < k; i++) {
            float factor = fa[row * k + i];
            for (uint64_t column = 0; column < n; column++) fc[row * n + column] += factor * fb[i * n + column];
        }
    if (c_is_f32)
        finish(fc, (float*)c, m * n, accumulate);
    else
        finish(fc, (T*)c, m * n, accumulate);
    free(fa), free(fb), free(fc);
}
