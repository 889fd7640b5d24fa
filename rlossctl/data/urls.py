"""Reading a file from a web server or an object store into memory, within a limit of size and time."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from rlossctl import remote
from rlossctl.errors import DataError

_PIECE = 1 << 16
_SCHEMES = ("http", "https")
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)


class Limits(NamedTuple):
    """The most bytes that a file may have, and the most seconds that its transfer may take."""

    size: int = 200 << 20
    seconds: float = 60.0


LIMITS = Limits()


def is_url(text: str) -> bool:
    """Whether this is the address of a file, on a web server or an object store."""
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)) or remote.is_remote(text)


def file_name(url: str) -> str:
    """The file's name in a URL, without what follows a question mark; the server's if there is none."""
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path)).name or parts.hostname or "download"


def read(url: str, limits: Limits = LIMITS) -> bytes:
    """The file's bytes.

    Raises:
        DataError: it cannot be fetched, is too large, or takes too long (from a web server).
    """
    try:
        if remote.is_remote(url):
            return remote.read(url, limits.size)
        with urllib.request.urlopen(url, timeout=limits.seconds) as answer:
            return _within(answer, limits)
    except _BROKEN as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the server's answer
        raise DataError(
            "the file cannot be fetched",
            where=url,
            found=_reason(error),
            expected=f"at most {limits.size:,} bytes, within {limits.seconds:g} s",
            advice="check the address, or fetch the file by other means and name it",
        ) from error


def _within(answer: http.client.HTTPResponse, limits: Limits) -> bytes:
    data, end = bytearray(), time.monotonic() + limits.seconds
    while piece := answer.read1(_PIECE):
        data += piece
        if len(data) > limits.size:
            raise ValueError(f"more than {limits.size:,} bytes")
        if time.monotonic() > end:
            raise TimeoutError
    if answer.length:  # what the server announced and did not send
        raise ValueError(f"{answer.length:,} bytes less than the server announced")
    return bytes(data)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code} ({error.reason})"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return "too slow an answer" if isinstance(cause, TimeoutError) else str(cause) or type(error).__name__
