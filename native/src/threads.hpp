// Parts of a job on several threads: OpenMP's, or plain ones where there is no OpenMP.
#pragma once

namespace rlossctl {

// Calls work(0) .. work(parts - 1), in no order, on at most `threads` threads, the caller's among them: each
// call's own affair, no setting of the process. Returns when all are done; rethrows the first exception. Within
// `work` it takes one thread. So it does in a forked process (a DataLoader's worker, say): OpenMP's threads do not
// survive a fork, and waiting for them would hang.
void run_parts(int parts, int threads, void (*work)(void* what, int part), void* what);

template <class Work>
void parallel(int parts, int threads, const Work& work) {
    run_parts(parts, threads, [](void* what, int part) { (*static_cast<const Work*>(what))(part); },
              const_cast<Work*>(&work));
}

} // namespace rlossctl
