"""What the user is told about an exception that is not a RlossError."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

import rlossctl
from rlossctl.errors import RlossError

TRACEBACK = "RLOSSCTL_TRACEBACK"  # environment variable: also print the traceback

_PACKAGE = Path(rlossctl.__file__).parent
# How torch, numpy and the allocator say that there is not enough memory, in exceptions of several types.
_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "unable to allocate",
    "cannot allocate",
)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explained(error: BaseException) -> RlossError:
    """The paragraph for an exception: lack of memory, a full disk, a file, or a bug in rlossctl."""
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _MEMORY):
        return _memory(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _file(error)
    if isinstance(error, UnicodeError):
        return _text(error)
    return RlossError(
        "rlossctl met an error that it does not know",
        where=_place(error),
        found=f"{type(error).__name__}: {_first_line(error)}",
        expected="no error, or one that says what to do",
        advice=f"please report it with the command and its traceback, which {TRACEBACK}=1 prints",
    )


def _memory(error: BaseException) -> RlossError:
    return RlossError(
        "there is not enough memory",
        where=_place(error),
        found=_first_line(error) or "no memory left",
        expected="images, batches and nets that fit",
        advice="close other programs, or use smaller images, a smaller batch or a smaller net",
    )


def _file(error: OSError) -> RlossError:
    full = error.errno in _FULL
    return RlossError(
        "the disk is full" if full else "a file cannot be used",
        where=error.filename or "standard output or a temporary file",
        found=error.strerror or str(error),
        expected="free space" if full else "a file or folder that may be read or written",
        advice="free some space, or write elsewhere" if full else "check the name and its permissions",
    )


def _text(error: UnicodeError) -> RlossError:
    return RlossError(
        "a name or text contains characters that cannot be written",
        where=_place(error),
        found=ascii(_first_line(error)),
        expected="text in UTF-8",
        advice="rename the file, or correct the text",
    )


def _place(error: BaseException) -> str | None:
    """The innermost line of this package in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).resolve().parents]
    ours = ours or [frame for frame in frames if "rlossctl" in frame.filename]
    if not ours:
        return None
    return f"rlossctl {rlossctl.__version__}, {os.path.basename(ours[-1].filename)}:{ours[-1].lineno}"


def _first_line(error: BaseException) -> str:
    """The first line of the exception's text: the advice that other packages add does not apply here."""
    return str(error).strip().partition("\n")[0][:300]
