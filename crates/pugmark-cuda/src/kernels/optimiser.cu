// Parameters lie in one place, each from a multiple of GRANULE values on; owner says whose the values of a granule are.

#define GRANULE 64

// As torch.optim.AdamW: rates of each parameter are 1 - lr * weight decay, lr / (1 - beta1^t), sqrt(1 - beta2^t).
extern "C" __global__ void adamw(u64 len, const u32* owner, const float* rates, float beta1, float beta2, float eps, float* p, const float* g, float* m, float* v) {
    u64 i = index();
    if (i >= len) return;
    const float* rate = rates + 3 * owner[i / GRANULE];
    float grad = g[i];
    float mean = m[i] + (grad - m[i]) * (1.0f - beta1);
    float square = v[i] * beta2 + grad * grad * (1.0f - beta2);
    m[i] = mean;
    v[i] = square;
    p[i] = p[i] * rate[0] - rate[1] * mean / (sqrtf(square) / rate[2] + eps);
}

// As torch.optim.SGD: rates of each parameter are lr, weight decay, and 1 in its first step.
extern "C" __global__ void sgd(u64 len, const u32* owner, const float* rates, float momentum, int nesterov, float* p, const float* g, float* buffer) {
    u64 i = index();
    if (i >= len) return;
    const float* rate = rates + 3 * owner[i / GRANULE];
    float grad = g[i] + rate[1] * p[i];
    float next = rate[2] != 0.0f ? grad : momentum * buffer[i] + grad;
    buffer[i] = next;
    p[i] -= rate[0] * (nesterov ? grad + momentum * next : next);
}

extern "C" __global__ void scale_values(u64 len, float factor, float* values) {
    u64 i = index();
    if (i < len) values[i] *= factor;
}

// NaN stays, as in torch.clamp.
extern "C" __global__ void clip_values(u64 len, float limit, float* values) {
    u64 i = index();
    if (i >= len) return;
    float value = values[i];
    values[i] = value > limit ? limit : value < -limit ? -limit : value;
}

extern "C" __global__ void move_average(u64 len, float share, float* average, const float* values) {
    u64 i = index();
    if (i < len) average[i] += (values[i] - average[i]) * share;
}

// One sum a block; blocks take turns, so that none sums more than another.
extern "C" __global__ void __launch_bounds__(BLOCK) sum_of_squares(u64 len, const float* values, double* partial) {
    double sum = 0.0;
    for (u64 i = index(); i < len; i += (u64)gridDim.x * BLOCK) sum += (double)values[i] * values[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// A block a unit, the values of an output: `per` of them, `step` apart, from `first` times its number on (arXiv 2102.06171).
extern "C" __global__ void __launch_bounds__(BLOCK) clip_adaptive(u64 per, u64 step, u64 first, float share, const float* p, float* g) {
    u64 begin = blockIdx.x * first;
    double of_p = 0.0, of_g = 0.0;
    for (u64 i = threadIdx.x; i < per; i += BLOCK) {
        u64 at = begin + i * step;
        of_p += (double)p[at] * p[at];
        of_g += (double)g[at] * g[at];
    }
    of_p = sqrt(block_sum(of_p));
    of_g = sqrt(block_sum(of_g));
    double most = (of_p > 1e-3 ? of_p : 1e-3) * share;
    if (of_g > most) {
        float factor = (float)(most / of_g);
        for (u64 i = threadIdx.x; i < per; i += BLOCK) g[begin + i * step] *= factor;
    }
}
