#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define RLOSSCTL_FORKS
#endif

namespace rlossctl {
namespace {

std::atomic<bool> forked{false};
#ifdef RLOSSCTL_FORKS
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
#endif

thread_local bool inside = false; // a part of run_parts runs on this thread

// One call of run_parts. An exception must not leave a helper's thread: the first one is kept.
struct Job {
    void (*work)(void*, int);
    void* what;
    int parts;
    int places; // helpers that may still join
    int helpers = 0; // now at work; like `places` and `error`, under the crew's mutex
    std::atomic<int> next{0};
    std::exception_ptr error{};

    // Runs parts until none is left; gives the first exception.
    std::exception_ptr take_parts() noexcept {
        std::exception_ptr first;
        inside = true;
        for (int part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) try {
                work(what, part);
            } catch (...) {
                if (!first) first = std::current_exception();
            }
        inside = false;
        return first;
    }
};

// The threads that help those who call run_parts: as many as any call has asked for, asleep in between. They stay,
// as each keeps working memory (filter.cpp), and there is one crew however many threads call.
class Crew {
public:
    void run(Job& job) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            grow(job.places);
            jobs_.push_back(&job);
        }
        work_.notify_all();
        const std::exception_ptr own = job.take_parts();
        std::unique_lock<std::mutex> lock(mutex_);
        jobs_.erase(std::remove(jobs_.begin(), jobs_.end(), &job), jobs_.end());
        done_.wait(lock, [&] { return job.helpers == 0; });
        if (own && !job.error) job.error = own;
    }

private:
    // If the system gives fewer threads than requested, those that there are do the rest.
    void grow(int helpers) {
        try {
            for (; size_ < helpers; ++size_) std::thread([this] { help(); }).detach();
        } catch (const std::system_error&) {
        }
    }

    [[noreturn]] void help() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            work_.wait(lock, [&] { return !jobs_.empty(); });
            Job& job = *jobs_.front();
            if (--job.places == 0) jobs_.pop_front();
            ++job.helpers;
            lock.unlock();
            const std::exception_ptr error = job.take_parts();
            lock.lock();
            if (error && !job.error) job.error = error;
            if (--job.helpers == 0) done_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable work_, done_;
    std::deque<Job*> jobs_; // those with places
    int size_ = 0;
};

} // namespace

void run_parts(int parts, int threads, void (*work)(void*, int), void* what) {
    const int team = std::min(parts, threads);
    if (team <= 1 || inside || forked.load()) {
        for (int part = 0; part < parts; ++part) work(what, part);
        return;
    }
    static Crew& crew = *new Crew; // never destroyed: its threads wait in it until the process ends
    Job job{work, what, parts, team - 1};
    crew.run(job);
    if (job.error) std::rethrow_exception(job.error);
}

} // namespace rlossctl
