"""Processes that run functions of this package for others, over pipes.

Not multiprocessing: its fresh processes import from the working directory first, where anybody's files may
lie, run the caller's main module again, and outlive a caller that is killed.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any

from rlossctl.errors import RlossError

# Isolated (-I): no working directory and no PYTHONPATH among the folders that modules come from. What the
# caller imports from is handed over, so that an installation, a checkout and a zip are found alike.
_START = "import sys; sys.path[:] = {paths!r}; from rlossctl.evaluation.running.workers import serve; serve()"


class Workers:
    """A number of processes; `call` may be used from several threads. Close it, or use it as a context.

    Args:
        count: how many calls may run at a time.
    """

    def __init__(self, count: int) -> None:
        self._all = [_start() for _ in range(count)]
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._all:
            self._idle.put(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes: what they still work on is dropped."""
        for process in self._all:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """function(*arguments), computed by the next process that is free.

        Args:
            function: found by its name in a module that can be imported from the caller's folders.

        Raises:
            RlossError: the process has ended.
            Exception: whatever the function raises.
        """
        process = self._idle.get()
        try:
            assert process.stdin is not None and process.stdout is not None
            _send(process.stdin, (function, arguments))
            worked, result = pickle.load(process.stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise RlossError(
                "a process that decodes pictures has ended before its time",
                found=f"exit status {process.poll()}" if process.poll() is not None else str(error),
                expected="processes that run until the list is done",
                advice="look for lack of memory, or decode in threads",
            ) from error
        finally:
            self._idle.put(process)
        if worked:
            return result
        raise result


def _start() -> subprocess.Popen[bytes]:
    here = os.getcwd()
    paths = [path for path in sys.path if path and (path != here or _holds_this_package(path))]
    command = [sys.executable, "-I", "-c", _START.format(paths=paths)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _holds_this_package(folder: str) -> bool:
    return __file__.startswith(os.path.join(folder, "rlossctl", ""))


def _send(pipe: IO[bytes], message: object) -> None:
    pickle.dump(message, pipe, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def serve() -> None:
    """What such a process does: it answers calls until its caller closes the pipe, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends it; Ctrl-C reaches every process
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed meanwhile must not get among the answers
    while True:
        try:
            function, arguments = pickle.load(calls)
        except EOFError:
            return
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        sys.stdout.flush()
        _send(answers, answer)
