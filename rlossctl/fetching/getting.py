"""Fetching items: mirrors in turn, unfinished files kept, files named only after their check."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from rlossctl.data.sets.registry import Download
from rlossctl.errors import RlossError, UsageError
from rlossctl.fetching import checking, transfer
from rlossctl.fetching.items import Item
from rlossctl.files import make_folder
from rlossctl.words import counted

FOLDER = "downloads"


@dataclass(frozen=True)
class Request:
    """How to fetch.

    Attributes:
        out: the folder to work in; files go to its folder `downloads`.
        mirrors: folders or addresses with the files by their names, to try first, in this order.
        sums: SHA-256 by file name, instead of the published ones.
        accept: asks whether a file without a known checksum may be used.
        say: prints a line.
    """

    out: Path
    mirrors: Sequence[str] = ()
    sums: Mapping[str, str] = field(default_factory=dict)
    accept: Callable[[str], bool] = lambda _: False
    say: Callable[[str], None] = print

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.out / FOLDER

    def addresses(self, download: Download) -> Iterator[str]:
        """Where to look for a file, in this order."""
        for mirror in self.mirrors:
            yield f"{_mirror(mirror)}/{download.file}"
        yield from download.addresses


def _mirror(text: str) -> str:
    """A mirror as an address.

    Raises:
        UsageError: no such folder, or an address without https.
    """
    if "://" not in text:
        if Path(text).is_dir():
            return Path(text).resolve().as_uri()
        raise UsageError("there is no such mirror", found=text, expected="a folder or an https address")
    if not transfer.is_allowed(text):
        raise UsageError(
            "a mirror is not asked without https",
            found=transfer.shown(text),
            expected="https://..., or a folder",
        )
    return text.rstrip("/")


def check_mirrors(request: Request) -> None:
    """Raises the error now that a wrong mirror would cause later."""
    for mirror in request.mirrors:
        _mirror(mirror)


def fetch_all(items: Sequence[Item], request: Request) -> None:
    """Fetches items and checks them.

    Raises:
        RlossError: an item could not be fetched, was not the file, or was not accepted; all others are there.
    """
    make_folder(request.folder)
    missing = [item.download for item in items if not fetch(item.download, request)]
    if missing:
        raise RlossError(
            f"{counted(len(missing), 'file')} of {len(items)} could not be fetched and checked",
            where=request.folder,
            found=", ".join(one.item for one in missing),
            expected=", ".join(one.file for one in missing),
            advice="see the lines above; put the files into a folder and name it with --mirror",
        )


class Outcome(Enum):
    """How an attempt to get a file ended."""

    DONE = "it has its name"
    WAITS = "it waits for somebody's word"
    FAILED = "there is nothing, or another file"


def fetch(download: Download, request: Request) -> bool:
    """Fetches one file; False if it cannot be used, with the reasons printed."""
    target = request.folder / download.file
    waiting = _beside(target, "unchecked")
    request.say(f"{download.item}: {download.file}")
    wanted = checking.expected(download, request.sums, checking.accepted_sums(request.folder))
    if target.exists():
        return _is_there(target, wanted, request)
    outcome = _settle(waiting, target, wanted, request) if waiting.exists() else Outcome.FAILED
    if outcome is Outcome.FAILED and not (request.mirrors or download.addresses):
        request.say(f"  needs an account: fetch {download.file} from {download.terms}, then --mirror DIR")
    for address in request.addresses(download):
        if outcome is not Outcome.FAILED:
            break
        outcome = _from(address, target, wanted, request)
    return outcome is Outcome.DONE


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f"{target.name}.{what}")


def _is_there(target: Path, wanted: checking.Checksum | None, request: Request) -> bool:
    verdict = checking.judge(target, target.name, wanted)
    request.say(f"  is there: {verdict.words}")
    if verdict.right is False:
        request.say("  not the file: move it away and start again")
    return _accepted(target.name, verdict, request) if verdict.right is None else verdict.right


def _from(address: str, target: Path, wanted: checking.Checksum | None, request: Request) -> Outcome:
    """Fetches from one address. What comes is continued only from there: mirrors may differ."""
    request.say(f"  from {transfer.shown(address)}")
    mark = hashlib.sha256(transfer.without_secret(address).address.encode()).hexdigest()[:8]
    part = _beside(target, f"{mark}.part")
    try:
        transfer.receive(address, part)
    except transfer.NotFetched as error:
        came = f"; {part.stat().st_size:,} bytes are kept for the next time" if part.exists() else ""
        request.say(f"  {error}{came}")
        return Outcome.FAILED
    return _settle(part, target, wanted, request)


def _settle(path: Path, target: Path, wanted: checking.Checksum | None, request: Request) -> Outcome:
    """Gives a complete file its name, or one that says what it is."""
    verdict = checking.judge(path, target.name, wanted)
    request.say(f"  {verdict.words}")
    if verdict.right is False:
        path.replace(_beside(target, "rejected"))
        request.say(f"  not the file; kept as {target.name}.rejected")
        return Outcome.FAILED
    if verdict.right is None and not _accepted(target.name, verdict, request):
        path.replace(_beside(target, "unchecked"))
        request.say(
            f"  not used, but kept as {target.name}.unchecked: start again with --accept, "
            "or with its checksum in --sums"
        )
        return Outcome.WAITS
    path.replace(target)
    return Outcome.DONE


def _accepted(name: str, verdict: checking.Verdict, request: Request) -> bool:
    """Whether a file that nobody vouches for may be used; notes that it may."""
    if not request.accept(name):
        return False
    checking.accept(request.folder, name, verdict.sha256)
    return True
