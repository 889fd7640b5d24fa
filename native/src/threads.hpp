// Runs the parts of a job on several threads: OpenMP's, or plain ones without OpenMP.
#pragma once

#include <cstdint>

namespace rlossctl {

// Calls work(0) .. work(parts - 1), in any order, on at most `threads` threads, including the caller's. The number
// applies to this call only; it changes no setting of the process. Returns when all are done; rethrows the first
// exception. Within `work` it uses one thread. It also does so in a forked process (such as a DataLoader's worker):
// OpenMP's threads do not survive a fork, and waiting for them would hang.
void run_parts(int parts, int threads, void (*work)(void* what, int part), void* what);

template <class Work>
void parallel(int parts, int threads, const Work& work) {
    run_parts(parts, threads, [](void* what, int part) { (*static_cast<const Work*>(what))(part); },
              const_cast<Work*>(&work));
}

// Calls work(n, threads) for each image. Sharing out whole images is better, as some steps within one are serial.
template <class Work>
void for_images(std::int64_t images, int threads, const Work& work) {
    if (2 * images > threads) parallel(static_cast<int>(images), threads, [&](int n) { work(n, 1); });
    else
        for (std::int64_t n = 0; n < images; ++n) work(n, threads);
}

} // namespace rlossctl
