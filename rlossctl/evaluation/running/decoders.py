"""Runs work ahead of the model and hands it out in order; decides where pictures are decoded."""

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
    """Who decodes and prepares pictures while the model runs.

    Attributes:
        workers: how many threads; 2 by default, see benchmarks/evaluation.py.
        decoders: "processes" adds as many processes, which decode for the threads; see `decoding`.
    """

    workers: int = 2
    decoders: Decoders = "threads"

    def started(self) -> contextlib.AbstractContextManager[Call]:
        """Starts `decoding` with these settings."""
        return decoding(self.decoders, self.workers)


def ahead(jobs: Iterable[J], work: Callable[[J], R], workers: int) -> Iterator[R]:
    """Yields `work(job)` for every job in order, while `workers` threads work on the next ones.

    Work that has begun is finished before an error is raised, so a failing job never costs the files that
    `work` writes for earlier ones.

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
    """Gives `call(function, *arguments)`, which the threads of `ahead` use to decode.

    Args:
        decoders: "threads" decodes in the calling thread. Pillow's decoders and numpy release the interpreter
            lock, so two threads read twice as much as one, and nothing is copied. "processes" decodes in
            `workers` processes, which send the decoded bytes. It is for machines with so many cores that the
            lock becomes the limit.

    Raises:
        UsageError: `decoders` is unknown.
        RlossError: a process ended unexpectedly.
    """
    if decoders not in DECODERS:
        raise UsageError("unknown decoders", found=decoders, expected=" or ".join(DECODERS))
    if decoders == "threads":
        yield lambda function, *arguments: function(*arguments)
        return
    with Workers(workers) as processes:
        yield processes.call
