// What CUDA C has, for a C++ compiler: a block's threads take turns on one of the processor's.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline float __int_as_float(int bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline int __float_as_int(float value) {
    int bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

namespace emulator {

// As a compiler's own setjmp keeps it: the frame alone, at a fraction of the library's time.
typedef void* Place[5];

struct Thread {
    ucontext_t first;
    Place here;
    bool begun, done;
};

static Thread threads[1024];
static Place scheduler;
// The thread that runs; none while a kernel treats each by itself.
static int current = -1;
static void (*body)(void*);
static void* body_of;

[[noreturn]] static void fail(const char* why) {
    fprintf(stderr, "emulator: %s\n", why);
    abort();
}

__attribute__((noinline)) static void yield() {
    if (current < 0) fail("a kernel without __launch_bounds__ waits for other threads");
    if (!__builtin_setjmp(threads[current].here)) __builtin_longjmp(scheduler, 1);
    asm volatile("" ::: "memory");
}

static void entry() {
    for (;;) {
        body(body_of);
        threads[current].done = true;
        yield();
    }
}

__attribute__((noinline)) static void resume(int thread) {
    current = thread;
    threadIdx.x = thread;
    if (__builtin_setjmp(scheduler)) return;
    Thread& next = threads[thread];
    if (next.begun) __builtin_longjmp(next.here, 1);
    const size_t stack = 1 << 16;
    getcontext(&next.first);
    next.first.uc_stack.ss_sp = malloc(stack);
    next.first.uc_stack.ss_size = stack;
    next.begun = true;
    makecontext(&next.first, entry, 0);
    setcontext(&next.first);
}

static void run_block(int count) {
    for (int i = 0; i < count; i++) threads[i].done = false;
    for (int done = 0; done < count;) {
        done = 0;
        for (int i = 0; i < count; i++) {
            resume(i);
            done += threads[i].done;
        }
        if (done != 0 && done != count) fail("some threads of a block are done while others wait for them");
    }
    current = -1;
}

template <class A>
A read(uint64_t slot) {
    A value;
    memcpy(&value, &slot, sizeof(A));
    return value;
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    const uint64_t* args;

    template <size_t... I>
    void with(std::index_sequence<I...>) {
        kernel(read<A>(args[I])...);
    }
    static void run(void* self) { ((Call*)self)->with(std::index_sequence_for<A...>()); }
};

template <class... A>
void run(void (*kernel)(A...), const char* name, bool together, const uint64_t* args, size_t count, size_t blocks, size_t in_block) {
    if (sizeof...(A) != count) {
        fprintf(stderr, "%s has %zu arguments and was given %zu\n", name, sizeof...(A), count);
        abort();
    }
    Call<A...> call = {kernel, args};
    blockDim.x = in_block;
    gridDim.x = blocks;
    body = Call<A...>::run;
    body_of = &call;
    for (size_t block = 0; block < blocks; block++) {
        blockIdx.x = block;
        if (together) {
            run_block(in_block);
        } else {
            for (size_t i = 0; i < in_block; i++) {
                threadIdx.x = i;
                call.with(std::index_sequence_for<A...>());
            }
        }
    }
}

}  // namespace emulator

#define __syncthreads() emulator::yield()
