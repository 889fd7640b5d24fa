"""Worker processes that run this package's functions and answer over pipes.

Why not multiprocessing: its new processes import from the working directory first, where there may be
anybody's files. They also run the caller's main module again, and outlive a caller that is killed.
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

# Isolated (-I): modules come neither from the working directory nor from PYTHONPATH. The caller's own paths
# are handed over, so that an installation, a checkout and a zip all work.
_START = "import sys; sys.path[:] = {paths!r}; from rlossctl.evaluation.running.workers import serve; serve()"


class Workers:
    """A pool of processes; several threads may use `call`. Close it, or use it as a context manager.

    Args:
        count: how many calls may run at the same time.
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
        """Ends the processes and drops their unfinished work."""
        for process in self._all:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """function(*arguments), computed by the next free process.

        Args:
            function: must be importable by name from the caller's folders.

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
                "a process that decodes pictures ended unexpectedly",
                found=f"exit status {process.poll()}" if process.poll() is not None else str(error),
                expected="processes that run until the list is done",
                advice="check whether memory ran out, or decode in threads",
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
    """The loop of a worker process: answers calls until its caller closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the caller ends this one
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # anything printed meanwhile must not mix with the answers
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
