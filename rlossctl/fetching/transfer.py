"""One file from one address, continued where an earlier attempt broke off (HTTP range requests).

pooch, which also fetches files by checksum, starts anew after a break; these are files of many gigabytes.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from rlossctl import __version__
from rlossctl.errors import RlossError
from rlossctl.progress import track

_PIECE = 2**20  # bytes
_SILENCE = 60.0  # seconds without a byte after which a connection counts as broken
_ATTEMPTS = 3
_BETWEEN = 2.0  # seconds between attempts
_HERE = ("127.0.0.1", "localhost", "::1")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_HUB = "huggingface.co"


class NotFetched(Exception):
    """An address gave nothing, or broke off. What came stays in the unfinished file."""


class _Again(NotFetched):
    """The same address may give the rest."""


class Mirror(NamedTuple):
    """An address without the name and password that it may hold, and the header that has them."""

    address: str
    authorization: str


def is_allowed(address: str) -> bool:
    """Whether an address is a file, uses https, or is on this machine."""
    parts = urlsplit(address)
    return parts.scheme in ("https", "file") or (parts.scheme == "http" and parts.hostname in _HERE)


def without_secret(address: str) -> Mirror:
    """Takes name and password out of `https://name:password@host/...`.

    The token in HF_TOKEN is for Hugging Face's hub.
    """
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif parts.scheme == "https" and parts.hostname == _HUB and os.environ.get("HF_TOKEN"):
        authorization = f"Bearer {os.environ['HF_TOKEN']}"
    return Mirror(urlunsplit(parts._replace(netloc=host)), authorization)


def shown(address: str) -> str:
    """An address for a message: without name, password and query, which may be secret."""
    parts = urlsplit(without_secret(address).address)
    return urlunsplit(SplitResult(parts.scheme, parts.netloc, parts.path, "", ""))


def receive(address: str, part: Path) -> None:
    """Completes the unfinished file `part` from an address.

    A file beside it (`.tag`) keeps what the server calls this version, so that a file that has changed in the
    meantime is fetched anew. Proxies are those of the environment (https_proxy, no_proxy).

    Raises:
        NotFetched: the address gives nothing, or broke off three times.
        RlossError: the disk has too little room, or cannot be written.
    """
    for attempt in range(_ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            return _receive(address, part, before)
        except _Again as error:
            after = part.stat().st_size if part.exists() else 0
            if attempt + 1 == _ATTEMPTS or (after == before and attempt):
                raise NotFetched(str(error)) from error
            time.sleep(_BETWEEN)


@dataclass(frozen=True)
class _Answer:
    """A stream of bytes, the place of the first one in the file, and the file's size if it is known."""

    stream: BinaryIO | http.client.HTTPResponse
    start: int
    size: int | None
    tag: str = ""


def _receive(address: str, part: Path, have: int) -> None:
    answer = _local(address, have) if address.startswith("file:") else _asked(address, part, have)
    if answer is None:  # all of it is there
        return
    with answer.stream:
        _check_room(part, answer)
        _tag(part).write_text(answer.tag)
        with open(part, "r+b" if answer.start else "wb") as file:
            file.seek(answer.start)
            file.truncate()
            left = None if answer.size is None else answer.size - answer.start
            pieces = _pieces(answer.stream)
            for piece in track(pieces, -(-(left or 0) // _PIECE), "MiB"):
                file.write(piece)
            came = file.tell()
    if answer.size is not None and came != answer.size:
        raise _Again(f"broke off after {came:,} of {answer.size:,} bytes")
    _tag(part).unlink(missing_ok=True)


def _pieces(stream: BinaryIO | http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := stream.read(_PIECE):
            yield piece
    except http.client.IncompleteRead as error:
        yield error.partial
        raise _Again("broke off") from error
    except OSError as error:
        raise _Again(f"broke off ({error.strerror or error})") from error


def _check_room(part: Path, answer: _Answer) -> None:
    free = shutil.disk_usage(part.parent).free
    needed = (answer.size or 0) - answer.start
    if needed > free:
        raise RlossError(
            "there is too little room for the file",
            where=part,
            found=f"{free:,} bytes free",
            expected=f"{needed:,}",
            advice="make room, or name a folder on another disk with --to",
        )


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _local(address: str, have: int) -> _Answer | None:
    path = Path(urllib.request.url2pathname(urlsplit(address).path))
    try:
        size = path.stat().st_size
        if have == size:
            return None
        start = have if have < size else 0
        stream = open(path, "rb")  # closed by the caller  # noqa: SIM115
    except OSError as error:
        raise NotFetched(error.strerror or str(error)) from error
    stream.seek(start)
    return _Answer(stream, start, size)


def _asked(address: str, part: Path, have: int) -> _Answer | None:
    tag = _tag(part).read_text() if _tag(part).exists() else ""
    mirror = without_secret(address)
    request = urllib.request.Request(mirror.address, headers={"User-Agent": f"rlossctl/{__version__}"})
    if mirror.authorization:  # not for the host that a redirect leads to
        request.add_unredirected_header("Authorization", mirror.authorization)
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag:
            request.add_header("If-Range", tag)
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        _raise_refusal(error, part, have)
        return None
    except urllib.error.URLError as error:
        raise NotFetched(f"cannot be reached ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Again(f"broke off ({error})") from error
    return _answered(response, part, have)


def _answered(response: http.client.HTTPResponse, part: Path, have: int) -> _Answer:
    length = response.headers.get("Content-Length")
    version = response.headers.get("ETag", "")
    tag = version if version.startswith('"') else response.headers.get("Last-Modified", "")
    if response.status != http.client.PARTIAL_CONTENT:
        return _Answer(response, 0, int(length) if length else None, tag)
    found = _RANGE.match(response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        response.close()
        part.unlink()
        raise _Again("the server sent another part of the file than it was asked for")
    return _Answer(response, have, None if found[2] == "*" else int(found[2]), tag)


def _raise_refusal(error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """Raises what the status means, except if it means that the file is complete."""
    with error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range", "") == f"bytes */{have}":
                return
            part.unlink()
            raise _Again("the server cannot continue the file") from error
        text = f"status {error.code}, {error.reason}"
        raise (_Again if error.code in (429, 500, 502, 503, 504) else NotFetched)(text) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to addresses that are allowed."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request for the new address."""
        if not is_allowed(newurl) or newurl.startswith("file:"):
            raise urllib.error.URLError(f"redirected to {shown(newurl)}, which does not use https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
