// Curves and their slopes, as on the processor: see activation.rs of pugmark-kernels for why they err so little.

// The tail of the standard normal above a, and its density at a, for a in [0, 13].
__device__ inline void activation_normal(float a, float* tail, float* density) {
    float t = 1.0f / (1.0f + 0.3f * a);
    float ratio = 0.037124673f * t - 0.162962f;
    ratio = ratio * t + 0.21557357f;
    ratio = ratio * t - 0.061170515f;
    ratio = ratio * t + 0.13163652f;
    ratio = ratio * t + 0.099484353f;
    ratio = ratio * t + 0.12064256f;
    ratio = ratio * t + 0.11967532f;
    ratio = ratio * t - 4.459652e-6f;
    float bell = exp2f(a * a * -0.72134752f);
    *tail = ratio * bell;
    *density = bell * 0.3989423f;
}

__device__ inline float activation_gelu(float x) {
    float a = fminf(fabsf(x), 13.0f), tail, density;
    activation_normal(a, &tail, &density);
    return elementwise_relu(x) - a * tail;
}

__device__ inline float activation_gelu_slope(float x) {
    float a = fminf(fabsf(x), 13.0f), tail, density;
    activation_normal(a, &tail, &density);
    float below = tail - a * density;
    return x > 0.0f ? 1.0f - below : below;
}

// The logistic function of -|x|: nothing overflows or cancels.
__device__ inline float activation_smaller(float x) {
    float e = exp2f(fminf(fabsf(x), 86.0f) * -1.44269504f);
    return e / (1.0f + e);
}

__device__ inline float activation_sigmoid(float x) {
    float small = activation_smaller(x);
    return x != x ? x : x < 0.0f ? small : 1.0f - small;
}

__device__ inline float activation_sigmoid_slope(float x) {
    float small = activation_smaller(x);
    return small * (1.0f - small);
}

__device__ inline float activation_silu(float x) { return x * activation_sigmoid(x); }

__device__ inline float activation_silu_slope(float x) { return activation_sigmoid(x) + x * activation_sigmoid_slope(x); }

extern "C" __global__ void gelu_forward(u64 len, const T* x, T* y) {
    elementwise_one(len, x, y, 0, [](float x, u64) { return activation_gelu(x); });
}

extern "C" __global__ void gelu_backward(u64 len, const T* dy, const T* x, T* dx, int accumulate) {
    elementwise_two(len, dy, x, dx, accumulate, [](float dy, float x) { return dy * activation_gelu_slope(x); });
}

extern "C" __global__ void silu_forward(u64 len, const T* x, T* y) {
    elementwise_one(len, x, y, 0, [](float x, u64) { return activation_silu(x); });
}

extern "C" __global__ void silu_backward(u64 len, const T* dy, const T* x, T* dx, int accumulate) {
    elementwise_two(len, dy, x, dx, accumulate, [](float dy, float x) { return dy * activation_silu_slope(x); });
}

extern "C" __global__ void sigmoid_forward(u64 len, const T* x, T* y) {
    elementwise_one(len, x, y, 0, [](float x, u64) { return activation_sigmoid(x); });
}

extern "C" __global__ void sigmoid_backward(u64 len, const T* dy, const T* x, T* dx, int accumulate) {
    elementwise_two(len, dy, x, dx, accumulate, [](float dy, float x) { return dy * activation_sigmoid_slope(x); });
}
