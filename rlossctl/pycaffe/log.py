"""Caffe's log, as scripts start it and write to it."""

from __future__ import annotations

import os
import sys

MINIMUM = "GLOG_minloglevel"  # environment variable: 1 leaves out information, 2 warnings, 3 errors
_LEVELS = "IWEF"


class _Started:
    """What init_log set.

    Attributes:
        level: the least severity that is written: 0 information, 1 warnings, 2 errors.
        stderr: whether anything is.
    """

    level = 0
    stderr = True


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Says what of the log is written to the standard error stream."""
    _Started.level, _Started.stderr = int(level), bool(stderr)


def log(text: str) -> None:
    """Writes a line of information."""
    from rlossctl.solver.telling.log import Log

    Log([to_stderr]).info(text)


def to_stderr(line: str) -> None:
    """Writes a finished line, if its severity is asked for."""
    least = max(_Started.level, int(os.environ.get(MINIMUM) or 0))
    if _Started.stderr and _LEVELS.find(line[:1]) >= least:
        print(line, file=sys.stderr, flush=True)
