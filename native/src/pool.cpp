#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define RLOSSCTL_FORKS
#endif

namespace rlossctl {
namespace {

// One call of run_parts; lives on its caller's stack.
struct Job {
    void (*work)(void*, int);
    void* what;
    int parts;
    int seats;      // how many workers may still join
    int active = 0; // workers that have joined and not left
    std::exception_ptr error{};
    std::atomic<int> next{0};

    bool open() const { return seats > 0 && next.load(std::memory_order_relaxed) < parts; }

    // Takes parts until none is left. After an exception the others are not begun.
    std::exception_ptr take_parts() {
        try {
            for (int part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) work(what, part);
            return nullptr;
        } catch (...) {
            next.store(parts, std::memory_order_relaxed);
            return std::current_exception();
        }
    }
};

class Pool {
public:
    void run(Job& job) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            hire(job.seats);
            jobs_.push_back(&job);
        }
        work_.notify_all();
        const std::exception_ptr error = job.take_parts();
        std::unique_lock<std::mutex> lock(mutex_);
        jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
        left_.wait(lock, [&job] { return job.active == 0; });
        if (error && !job.error) job.error = error;
    }

private:
    // With fewer threads than wished, because the system gives no more, the caller does the rest itself.
    void hire(int count) {
        try {
            for (; workers_ < count; ++workers_) std::thread([this] { serve(); }).detach();
        } catch (const std::system_error&) {
        }
    }

    [[noreturn]] void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            const auto found = std::find_if(jobs_.begin(), jobs_.end(), [](const Job* job) { return job->open(); });
            if (found == jobs_.end()) {
                work_.wait(lock);
                continue;
            }
            Job& job = **found;
            --job.seats;
            ++job.active;
            lock.unlock();
            const std::exception_ptr error = job.take_parts();
            lock.lock();
            if (error && !job.error) job.error = error;
            if (--job.active == 0) left_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, left_;
    std::vector<Job*> jobs_;
    int workers_ = 0;
};

// Never destroyed, since its threads wait for ever. A forked child has none of them, and locks in whatever
// state they were: it leaves the parent's pool alone and makes its own.
std::atomic<Pool*> the_pool{nullptr};

Pool& pool() {
    Pool* found = the_pool.load(std::memory_order_acquire);
    if (found != nullptr) return *found;
    auto* made = new Pool;
    if (!the_pool.compare_exchange_strong(found, made)) {
        delete made;
        return *found;
    }
    return *made;
}

#ifdef RLOSSCTL_FORKS
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
#endif

} // namespace

void run_parts(int parts, int threads, void (*work)(void*, int), void* what) {
    const int seats = std::min(parts, threads) - 1;
    if (seats <= 0) {
        for (int part = 0; part < parts; ++part) work(what, part);
        return;
    }
    Job job{work, what, parts, seats};
    pool().run(job);
    if (job.error) std::rethrow_exception(job.error);
}

} // namespace rlossctl
