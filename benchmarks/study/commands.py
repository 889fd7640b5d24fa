"""Runs rlossctl as a user would, and measures what a run needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def rlossctl(*arguments: object, log: Path | None = None) -> int:
    """Runs one command; its output goes to `log`, or to this program's.

    Returns:
        The most memory that it held, in bytes.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, "-m", "rlossctl", *map(str, arguments)]
    output = subprocess.DEVNULL if log is None else log.open("a")
    process = subprocess.Popen(command, stdout=output, stderr=None if log is None else subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)}\nended with {code}" + (f"; see {log}" if log else ""))
    return usage.ru_maxrss * 1024
