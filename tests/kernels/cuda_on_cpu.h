// Just enough CUDA to run a kernel on the CPU: one thread after the other, each a fiber where threads wait for another.
//
// A thread that waits gives the processor to the next one, and looks again when all others had a turn. If in one whole
// turn no thread gets on, they wait for each other, as they would for ever on a device: the program says so and ends.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __shared__ static  // one block runs at a time

using std::max;
using std::min;

struct Place {
    unsigned x = 0, y = 0, z = 0;
};
static Place threadIdx, blockIdx, blockDim, gridDim;

struct Barrier {
    unsigned waiting = 0, opened = 0;
};

static constexpr int STACK = 1 << 16;
static std::vector<ucontext_t> fibers;
static std::vector<char> stacks, done;
static std::vector<Barrier> warps;
static Barrier block;
static ucontext_t scheduler;
static std::function<void()> body;
static bool got_on, in_fibers;

static void stop(const char* why) {
    fprintf(stderr, "CUDA on the CPU: %s\n", why);
    abort();
}

static void wait_at(Barrier& barrier, unsigned count) {
    if (!in_fibers) stop("a kernel waits that tests/kernels/emulation.py takes for one that does not");
    unsigned opened = barrier.opened, me = threadIdx.x;
    got_on = true;
    if (++barrier.waiting == count) {
        barrier.waiting = 0;
        barrier.opened++;
        return;
    }
    while (barrier.opened == opened) {
        swapcontext(&fibers[me], &scheduler);
        threadIdx.x = me;
    }
    got_on = true;
}

static void run_fiber() {
    unsigned me = threadIdx.x;
    body();
    threadIdx.x = me;
    done[me] = true;
    got_on = true;
    swapcontext(&fibers[me], &scheduler);
}

static void run_block(bool waits) {
    unsigned count = blockDim.x;
    in_fibers = waits;
    if (!waits) {
        for (threadIdx.x = 0; threadIdx.x < count; threadIdx.x++) body();
        return;
    }
    fibers.resize(count);
    stacks.resize((size_t)count * STACK);
    done.assign(count, false);
    warps.assign((count + 31) / 32, Barrier());
    block = Barrier();
    for (unsigned t = 0; t < count; t++) {
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = &stacks[(size_t)t * STACK];
        fibers[t].uc_stack.ss_size = STACK;
        fibers[t].uc_link = nullptr;
        makecontext(&fibers[t], run_fiber, 0);
    }
    for (unsigned left = count; left > 0;) {
        got_on = false;
        for (unsigned t = 0; t < count; t++) {
            if (done[t]) continue;
            threadIdx.x = t;
            swapcontext(&scheduler, &fibers[t]);
            left -= done[t];
        }
        if (!got_on) stop("the threads of a block wait for each other for ever");
    }
}

static void run_grid(const unsigned* shape, bool waits, std::function<void()> kernel) {
    body = kernel;
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], 1, 1};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) run_block(waits);
}

static void __syncthreads() { wait_at(block, blockDim.x); }
static void __threadfence() {}

template <typename V> V __shfl_xor_sync(unsigned, V v, int step) {
    static V brought[1024];
    Barrier& warp = warps[threadIdx.x / 32];
    unsigned count = min(32u, blockDim.x - threadIdx.x / 32 * 32);
    brought[threadIdx.x] = v;
    wait_at(warp, count);
    v = brought[threadIdx.x ^ step];
    wait_at(warp, count);
    return v;
}

template <typename V> V atomicAdd(V* at, V v) {
    V before = *at;
    *at += v;
    return before;
}

static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
