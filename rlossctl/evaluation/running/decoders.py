"""Work done ahead of the model and handed out in order, and where pictures are decoded."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Literal, TypeVar, get_args

from rlossctl.errors import RlossError, UsageError

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
            `workers` fresh processes, which send the decoded bytes: for so many cores that the lock itself
            becomes the limit. They import the caller's main module, as multiprocessing does.

    Raises:
        UsageError: there are no such decoders.
        RlossError: a process has ended before its time.
    """
    if decoders not in DECODERS:
        raise UsageError("unknown decoders", found=decoders, expected=" or ".join(DECODERS))
    if decoders == "threads":
        yield lambda function, *arguments: function(*arguments)
        return
    # Fresh ones: a fork would copy locks that threads of ONNX Runtime or torch hold.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_interrupts) as pool:

        def call(function: Callable[..., Any], *arguments: object) -> Any:
            try:
                return pool.submit(function, *arguments).result()
            except BrokenProcessPool as error:
                raise RlossError(
                    "a process that decodes pictures has ended before its time",
                    found=str(error),
                    expected="processes that can import the program that started them",
                    advice="look for lack of memory; guard a script's own code by "
                    'if __name__ == "__main__"; or decode in threads',
                ) from error

        yield call


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the one that started these ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
