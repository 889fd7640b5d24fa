"""Fetching items: mirrors in turn, unfinished files kept, files named only after their check."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
            f"{counted(len(missing), 'item')} could not be fetched",
            where=request.folder,
            found=", ".join(one.item for one in missing),
            expected=", ".join(one.file for one in missing),
            advice="see the lines above; put the files into a folder and name it with --mirror",
        )


def fetch(download: Download, request: Request) -> bool:
    """Fetches one file; False if that failed, with the reasons printed."""
    target = request.folder / download.file
    waiting = target.with_name(f"{target.name}.unchecked")
    request.say(f"{download.item}: {download.file}")
    wanted = checking.expected(download, request.sums, checking.accepted_sums(request.folder))
    if target.exists():
        return _is_there(target, wanted, request)
    if waiting.exists():
        settled = _settle(waiting, target, wanted, request)
        if settled is not False:
            return settled or False
    if not (request.mirrors or download.addresses):
        request.say(f"  needs an account: fetch {download.file} from {download.terms}, then --mirror DIR")
        return False
    return any(_from(address, target, wanted, request) for address in request.addresses(download))


def _is_there(target: Path, wanted: checking.Checksum | None, request: Request) -> bool:
    verdict = checking.judge(target, target.name, wanted)
    request.say(f"  is there: {verdict.words}")
    if verdict.right is None:
        return _accepted(target.name, verdict, request)
    if not verdict.right:
        request.say("  not the file: move it away and start again")
    return verdict.right


def _from(address: str, target: Path, wanted: checking.Checksum | None, request: Request) -> bool:
    """Fetches from one address. What comes is continued only from there: mirrors may differ."""
    request.say(f"  from {transfer.shown(address)}")
    mark = hashlib.sha256(transfer.without_secret(address).address.encode()).hexdigest()[:8]
    part = target.with_name(f"{target.name}.{mark}.part")
    try:
        transfer.receive(address, part)
    except transfer.NotFetched as error:
        came = f"; {part.stat().st_size:,} bytes are kept for the next time" if part.exists() else ""
        request.say(f"  {error}{came}")
        return False
    return _settle(part, target, wanted, request) or False


def _settle(path: Path, target: Path, wanted: checking.Checksum | None, request: Request) -> bool | None:
    """Gives a complete file its name, or one that says what it is. None: it waits for somebody's word."""
    verdict = checking.judge(path, target.name, wanted)
    request.say(f"  {verdict.words}")
    if verdict.right is None and not _accepted(target.name, verdict, request):
        path.replace(target.with_name(f"{target.name}.unchecked"))
        request.say(
            f"  not used, but kept as {target.name}.unchecked: start again with --accept, "
            "or with its checksum in --sums"
        )
        return None
    if verdict.right is False:
        path.replace(target.with_name(f"{target.name}.rejected"))
        request.say(f"  not the file; kept as {target.name}.rejected")
        return False
    path.replace(target)
    return True


def _accepted(name: str, verdict: checking.Verdict, request: Request) -> bool:
    """Whether a file that nobody vouches for may be used; notes that it may."""
    if not request.accept(name):
        return False
    checking.accept(request.folder, name, verdict.sha256)
    return True
