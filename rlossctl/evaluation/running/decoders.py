"""Work done ahead of the model and handed out in order, and where pictures are decoded."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from rlossctl.errors import UsageError
from rlossctl.evaluation.running.workers import Workers

J = TypeVar("J")
R = TypeVar("R")

Decoders = Literal["threads", "processes"]
DECODERS = get_args(Decoders)
Call = Callable[..., Any]


@dataclass(frozen=True)
class Decoding:
    """Who decodes and prepares pictures beside the model.

    Attributes:
        workers: how many threads do; 2 by default, see benchmarks/evaluation.py.
        decoders: "processes" has as many processes decode for them; see `decoding`.
    """

    workers: int = 2
    decoders: Decoders = "threads"

    def started(self) -> contextlib.AbstractContextManager[Call]:
        """`decoding` of this many."""
        return decoding(self.decoders, self.workers)


def ahead(jobs: Iterable[J], work: Callable[[J], R], workers: int) -> Iterator[R]:
    """Yields `work(job)` of every job in order, while `workers` threads work on the next ones.

    What was begun is finished before an error leaves: files that `work` writes are not lost by a later job.

    Raises:
        Exception: whatever `work` or `jobs` raises, when its turn comes.
    """
    with ThreadPoolExecutor(workers, "rlossctl-ahead") as pool:
        waiting: deque[Future[R]] = deque()
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextlib.contextmanager
def decoding(decoders: Decoders, workers: int) -> Iterator[Call]:
    """Gives `call(function, *arguments)`, by which the threads of `ahead` have something decoded.

    Args:
        decoders: "threads" decodes in the calling thread: Pillow's decoders and numpy leave the interpreter
            lock, so that two threads read twice what one does, and nothing is copied. "processes" decodes in
            `workers` processes, which send the decoded bytes: for so many cores that the lock itself becomes
            the limit.

    Raises:
        UsageError: there are no such decoders.
        RlossError: a process has ended before its time.
    """
    if decoders not in DECODERS:
        raise UsageError("unknown decoders", found=decoders, expected=" or ".join(DECODERS))
    if decoders == "threads":
        yield lambda function, *arguments: function(*arguments)
        return
    with Workers(workers) as processes:
        yield processes.call
