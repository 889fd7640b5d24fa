"""A thread beside a training, which writes its snapshots."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Does one job at a time. The end of the program waits for it.

    A job is open until its result was fetched; there is no other one meanwhile.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._job: Future[T] | None = None

    def start(self, job: Callable[[], T]) -> None:
        """Begins a job; the one before must have been fetched."""
        if self._job is not None:
            raise RuntimeError("the job before was not fetched")
        self._job = self._thread.submit(job)

    def fetch(self, *, wait: bool) -> T | None:
        """The result of the open job, once; None if there is none, or if it goes on and nobody waits.

        Raises:
            Exception: the job's own error, once.
        """
        if self._job is None or not (wait or self._job.done()):
            return None
        job, self._job = self._job, None
        return job.result()
