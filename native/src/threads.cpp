#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

#ifndef _OPENMP
#include <system_error>
#include <thread>
#include <vector>
#endif

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

// One call of run_parts. An exception must not leave a parallel region: the first one is kept.
struct Job {
    void (*work)(void*, int);
    void* what;
    std::exception_ptr error{};
    std::mutex mutex{};

    void run(int part) noexcept {
        const bool before = inside;
        inside = true;
        try {
            work(what, part);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex);
            if (!error) error = std::current_exception();
        }
        inside = before;
    }
};

#ifdef _OPENMP

void run_team(Job& job, int parts, int team) {
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
    for (int part = 0; part < parts; ++part) job.run(part);
}

#else

// If the system gives fewer threads than requested, the caller does the rest itself.
void run_team(Job& job, int parts, int team) {
    std::atomic<int> next{0};
    const auto take_parts = [&] {
        for (int part; (part = next.fetch_add(1)) < parts;) job.run(part);
    };
    std::vector<std::thread> others;
    try {
        for (int t = 1; t < team; ++t) others.emplace_back(take_parts);
    } catch (const std::system_error&) {
    }
    take_parts();
    for (std::thread& other : others) other.join();
}

#endif

} // namespace

void run_parts(int parts, int threads, void (*work)(void*, int), void* what) {
    const int team = std::min(parts, threads);
    Job job{work, what};
    if (team <= 1 || inside || forked.load()) {
        for (int part = 0; part < parts; ++part) work(what, part);
        return;
    }
    run_team(job, parts, team);
    if (job.error) std::rethrow_exception(job.error);
}

} // namespace rlossctl
