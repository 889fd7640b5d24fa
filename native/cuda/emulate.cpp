#include "emulate.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#ifdef RLOSSCTL_EMULATE_THREADS
#include <pthread.h>

#include <thread>
#else
#include <ucontext.h>
#endif

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace rlossctl::cuda::emulation {

namespace {

std::mt19937_64 random_order; // NOLINT: one schedule for the process, as one device has one

std::vector<unsigned> shuffled(unsigned count) {
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random_order);
    return order;
}

struct alignas(64) Shared {
    unsigned char bytes[shared_bytes];
};

dim3 block_at(unsigned number, const dim3& grid) {
    return dim3(number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y);
}

void enter(const dim3& grid, const dim3& block, unsigned threads, unsigned thread) {
    gridDim = grid, blockIdx = block, blockDim = dim3(threads), threadIdx = dim3(thread);
}

} // namespace

void set_schedule(unsigned long seed) { random_order.seed(seed); }

#ifdef RLOSSCTL_EMULATE_THREADS

namespace {

struct Block {
    Shared shared;
    pthread_barrier_t barrier;
};

thread_local Block* own_block = nullptr;
constexpr unsigned blocks_at_once = 2;

} // namespace

void* shared_memory() { return own_block->shared.bytes; }

void run(dim3 blocks, unsigned threads, const std::function<void()>& kernel) {
    const std::vector<unsigned> order = shuffled(blocks.x * blocks.y * blocks.z);
    for (std::size_t first = 0; first < order.size(); first += blocks_at_once) {
        const std::size_t last = std::min<std::size_t>(first + blocks_at_once, order.size());
        std::vector<std::unique_ptr<Block>> running;
        std::vector<std::thread> workers;
        for (std::size_t i = first; i < last; ++i) {
            running.push_back(std::make_unique<Block>());
            Block* block = running.back().get();
            std::memset(block->shared.bytes, 0xA5, shared_bytes);
            pthread_barrier_init(&block->barrier, nullptr, threads);
            for (unsigned t = 0; t < threads; ++t)
                workers.emplace_back([=, &kernel, number = order[i]] {
                    own_block = block;
                    enter(blocks, block_at(number, blocks), threads, t);
                    kernel();
                });
        }
        for (std::thread& worker : workers) worker.join();
        for (const auto& block : running) pthread_barrier_destroy(&block->barrier);
    }
}

static void wait_for_block() { pthread_barrier_wait(&own_block->barrier); }

#else

namespace {

constexpr std::size_t stack_bytes = 256 * 1024; // sanitizers need more than kernels

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    bool done;
};

Shared shared;
std::vector<std::unique_ptr<Fiber>> fibers;
ucontext_t scheduler;
Fiber* current = nullptr;
const std::function<void()>* current_kernel = nullptr;

// A fiber runs one kernel after another and is never left, so its stack is made once.
void run_kernels() {
    for (;;) {
        (*current_kernel)();
        current->done = true;
        swapcontext(&current->context, &scheduler);
    }
}

void add_fiber() {
    auto fiber = std::make_unique<Fiber>();
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.get();
    fiber->context.uc_stack.ss_size = stack_bytes;
    fiber->context.uc_link = nullptr;
    makecontext(&fiber->context, run_kernels, 0);
    fibers.push_back(std::move(fiber));
}

void run_block(const dim3& grid, const dim3& block, unsigned threads) {
    std::memset(shared.bytes, 0xA5, shared_bytes);
    while (fibers.size() < threads) add_fiber();
    for (unsigned t = 0; t < threads; ++t) fibers[t]->done = false;
    for (unsigned finished = 0; finished == 0;) { // from barrier to barrier
        for (const unsigned t : shuffled(threads)) {
            enter(grid, block, threads, t);
            current = fibers[t].get();
            swapcontext(&scheduler, &current->context);
            finished += current->done;
        }
        if (finished != 0 && finished != threads) {
            std::fprintf(stderr, "%u of %u threads of a block left the kernel before a barrier\n", finished, threads);
            std::abort();
        }
    }
}

} // namespace

void* shared_memory() { return shared.bytes; }

void run(dim3 blocks, unsigned threads, const std::function<void()>& kernel) {
    current_kernel = &kernel;
    for (const unsigned number : shuffled(blocks.x * blocks.y * blocks.z))
        run_block(blocks, block_at(number, blocks), threads);
}

static void wait_for_block() { swapcontext(&current->context, &scheduler); }

#endif

} // namespace rlossctl::cuda::emulation

void __syncthreads() { rlossctl::cuda::emulation::wait_for_block(); }
