"""Reading ahead in threads, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
J = TypeVar("J")
R = TypeVar("R")


class ReadAhead(Generic[T]):
    """Calls `work(number)` for every `step`-th number, at most `depth` of them ahead of the reader.

    Threads are enough: pillow and numpy release the interpreter lock for most of the work.

    Args:
        work: a function of the number alone, so its result does not depend on the thread or the time.
        workers: number of threads; 0 calls `work` only when its result is needed.
        depth: how many results may wait.
        step: from one number to the next.
    """

    def __init__(self, work: Callable[[int], T], workers: int, depth: int, step: int = 1) -> None:
        self._work = work
        self._workers = workers
        self._depth = depth
        self._step = step
        self._next = 0
        self._waiting: deque[Future[T]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def take(self, start: int, count: int) -> list[T]:
        """The next `count` results from start on. An error in `work` drops what waits and is raised here."""
        if self._workers <= 0:
            return [self._work(number) for number in range(start, start + count * self._step, self._step)]
        if start != self._next - len(self._waiting) * self._step:
            self.drop()
            self._next = start
        try:
            self._fill(count)
            results = [self._waiting.popleft().result() for _ in range(count)]
            self._fill(self._depth)
        except BaseException:
            self.drop()
            raise
        return results

    def drop(self) -> None:
        """Drops waiting results."""
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """Drops waiting results and ends the threads; a later `take` starts new ones."""
        self.drop()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _fill(self, count: int) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="rlossctl-decode")
        while len(self._waiting) < count:
            self._waiting.append(self._pool.submit(self._work, self._next))
            self._next += self._step


def ahead(jobs: Iterable[J], work: Callable[[J], R], workers: int) -> Iterator[R]:
    """Yields `work(job)` for every job in order, while `workers` threads work on the next ones.

    Work that has begun is finished before an error is raised, so a failing job never costs the files that
    `work` writes for earlier ones. If the iterator is closed or forgotten, the threads end after the jobs
    that they have been given, and nobody waits for them.

    Raises:
        Exception: whatever `work` or `jobs` raises, when its turn comes.
    """
    pool, wait = ThreadPoolExecutor(workers, "rlossctl-ahead"), True
    try:
        waiting: deque[Future[R]] = deque()
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:
        # The garbage collector closes a forgotten iterator in any thread, even in one that holds the lock of
        # threading which a join needs: it would wait for itself.
        wait = False
        raise
    finally:
        pool.shutdown(wait)
