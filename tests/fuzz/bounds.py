"""How deep the fuzzing goes, and what one damaged file may cost."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, settings

ROUNDS = int(os.environ.get("RLOSSCTL_FUZZ", "150"))
SECONDS = 5  # of the processor for one file of some kilobytes
MEMORY = 64 << 20  # bytes that one of them may add to the process' peak
GOLDEN = Path(__file__).resolve().parents[1] / "golden"

fuzz = settings(
    max_examples=ROUNDS,
    deadline=None,
    derandomize="RLOSSCTL_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises an error in a reader that hangs, and after one that took much memory."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took longer than {SECONDS} s")

    before = peak()
    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    assert peak() - before < MEMORY


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fresh(path: Path, data: bytes) -> Path:
    """The file with new content; a mapped file must not be changed in place."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path
