"""Decides where pictures are decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rlossctl.errors import UsageError
from rlossctl.evaluation.running.workers import Workers

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
