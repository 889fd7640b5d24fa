"""Caffe's log lines, and the same figures as JSON lines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rlossctl.errors import RlossError
from rlossctl.files import cannot_write

_ALWAYS = contextlib.nullcontext()


class Log:
    """Writes lines as glog does, so that Caffe's log parsers read them, and records as JSON lines.

    A line is `I1120 10:29:50.553644 20527 solver.py:280] Solving tinylog`: severity, month and day, time,
    process, place in the source. Caffe's parse_log.py reads the month from characters 2 and 3, hence no year
    (newer glogs write one). It also reads a time from every line, hence every line of a longer text has the
    prefix.

    Args:
        lines: functions that take one finished line.
        metrics: the JSON lines file (appended to), or None.
    """

    def __init__(
        self, lines: Sequence[Callable[[str], None]] = (), metrics: str | os.PathLike[str] | None = None
    ) -> None:
        self._lines = list(lines)
        self._metrics = None if metrics is None else _append(metrics)
        self._files: list[TextIO] = [] if self._metrics is None else [self._metrics]
        self._best_effort = False

    def add_file(self, path: str | os.PathLike[str]) -> None:
        """Appends all further lines to a file too."""
        file = _append(path)
        self._files.append(file)
        self._lines.append(lambda line: self._write(file, line))

    def info(self, text: str) -> None:
        """One message; the place in the prefix is the caller's."""
        self._emit("I", text)

    def warning(self, text: str) -> None:
        """A message that somebody should read."""
        self._emit("W", text)

    def error(self, text: str) -> None:
        """A message that Caffe logs as an error."""
        self._emit("E", text)

    def record(self, kind: str, **figures: object) -> None:
        """One JSON line: `kind`, then the figures; numbers that are not finite are written as strings."""
        if self._metrics is not None:
            self._write(self._metrics, json.dumps(_finite({"kind": kind, **figures}), allow_nan=False))

    @contextlib.contextmanager
    def best_effort(self) -> Iterator[None]:
        """What cannot be written inside the block is lost without an error: something else comes first."""
        before, self._best_effort = self._best_effort, True
        try:
            yield
        finally:
            self._best_effort = before

    def close(self) -> None:
        """Closes the files; the log is silent from then on."""
        for file in self._files:
            with contextlib.suppress(OSError):  # what could not be written was told when it was tried
                file.close()
        self._files, self._lines, self._metrics = [], [], None

    def _emit(self, severity: str, text: str) -> None:
        frame = sys._getframe(2)
        place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        now = datetime.now()
        prefix = f"{severity}{now:%m%d %H:%M:%S.%f} {_thread()} {place}] "
        for part in text.split("\n"):
            for write in self._lines:
                with contextlib.suppress(OSError, RlossError) if self._best_effort else _ALWAYS:
                    write(prefix + part)

    def _write(self, file: TextIO, line: str) -> None:
        try:
            file.write(line + "\n")
            file.flush()
        except OSError as error:
            if not self._best_effort:
                raise cannot_write(Path(file.name), error) from error


class Stopwatch:
    """Seconds since the last `lap`, on a clock that never jumps."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def lap(self) -> float:
        """Seconds since the start or the last call."""
        now = time.monotonic()
        seconds, self._start = now - self._start, now
        return seconds


class Pace:
    """What newer BVLC versions tell in a display line: iterations per second, and the time since the last."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, iteration: int) -> None:
        """Counts from here on."""
        self._watch, self._iteration = Stopwatch(), iteration

    def lap(self, iteration: int, display: int) -> str:
        """` (1.23 iter/s, 16.2s/20 iters)`, since the last call; `display` is the solver's."""
        seconds = self._watch.lap()
        rate = (iteration - self._iteration) / (seconds or 1.0)
        self._iteration = iteration
        return f" ({number(rate)} iter/s, {number(seconds)}s/{display} iters)"


def to_stderr(line: str) -> None:
    """Writes a line to the standard error stream."""
    print(line, file=sys.stderr, flush=True)


def to_stdout(line: str) -> None:
    """Writes a line to the standard output stream."""
    print(line, flush=True)


def warnings_to_stderr(line: str) -> None:
    """Writes a line to the standard error stream if it is a warning."""
    if line.startswith("W"):
        to_stderr(line)


def number(value: float) -> str:
    """A number as a C++ stream prints it by default: six significant digits."""
    return f"{value:g}"


def output_lines(
    net: str, outputs: Iterable[tuple[str, Sequence[float]]], weights: Mapping[str, float]
) -> list[str]:
    """`    Train net output #0: loss = 0.69 (* 1 = 0.69 loss)`, one line per element of every output blob.

    Args:
        net: "Train" or "Test".
        outputs: (blob, its values) in Caffe's order.
        weights: blob -> loss weight, where it is not zero.
    """
    lines: list[str] = []
    for name, values in outputs:
        weight = weights.get(name, 0.0)
        for value in values:
            lines.append(f"    {net} net output #{len(lines)}: {name} = {weighted(value, weight)}")
    return lines


def weighted(value: float, weight: float) -> str:
    """`0.69`, and ` (* 1 = 0.69 loss)` behind it where the blob has a loss weight."""
    loss = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
    return number(value) + loss


def _thread() -> int:
    return threading.get_native_id()


def _append(path: str | os.PathLike[str]) -> TextIO:
    try:
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise cannot_write(Path(path), error) from error


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)
    return value
