// One source with the other files of this folder, compiled once with T = float and once with T = bf16, on the GPU's machine by NVRTC, and by a C++ compiler for tests.
//
// A kernel is `extern "C" __global__`. One that uses block_sum or __syncthreads says __launch_bounds__(BLOCK); the others treat
// each thread by itself. All are launched on a line of blocks of BLOCK threads.

#define BLOCK 256

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct bf16 {
    u16 bits;
};

__device__ inline float load(const float* at) { return *at; }
__device__ inline float load(const bf16* at) { return __int_as_float((int)((u32)at->bits << 16)); }
__device__ inline void store(float* at, float value) { *at = value; }
// To the nearest, ties to even; NaN stays NaN.
__device__ inline void store(bf16* at, float value) {
    u32 bits = (u32)__float_as_int(value);
    if (value != value)
        at->bits = (u16)(bits >> 16 | 0x40);
    else
        at->bits = (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// The index of this thread on the line.
__device__ inline u64 index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }

// The sum over a block, in an order of its own; every thread of the block must call it, and gets it.
template <class S>
__device__ inline S block_sum(S value) {
    __shared__ S shared[BLOCK];
    __syncthreads();
    shared[threadIdx.x] = value;
    for (u32 half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}
