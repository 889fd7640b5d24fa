// Threads that wait for work. Not OpenMP: its threads do not survive a fork, and a child of a process that has
// used them hangs; and the number of threads is each call's own affair, no setting of the process.
#pragma once

namespace rlossctl {

// Calls work(0) .. work(parts - 1), in no order, on at most `threads` threads, the caller's among them.
// Returns when all are done; rethrows the first exception. May be called from within `work`.
void run_parts(int parts, int threads, void (*work)(void* what, int part), void* what);

template <class Work>
void parallel(int parts, int threads, const Work& work) {
    run_parts(parts, threads, [](void* what, int part) { (*static_cast<const Work*>(what))(part); },
              const_cast<Work*>(&work));
}

} // namespace rlossctl
