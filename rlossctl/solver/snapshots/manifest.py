"""The manifest: which run a folder holds, and from what it was started."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import rlossctl
from rlossctl.errors import RlossError
from rlossctl.files import atomic_write, sha256_of
from rlossctl.net import Net
from rlossctl.prototxt.text import read_text, to_text
from rlossctl.resources import is_named
from rlossctl.solver.reading.files import SolverFile

if TYPE_CHECKING:
    from rlossctl.solver.solver import Solver

FORMAT = "rlossctl run 1"


@dataclass(frozen=True)
class Settings:
    """What the figures of a run follow from.

    Attributes:
        solver: the solver's text with its placeholders filled, as in force.
        nets: training net and test nets in order -> SHA-256 of the text that is built.
        lists: list of a data layer -> SHA-256.
        weights: file that training started from -> SHA-256.
        seed: of all random draws.
    """

    solver: str
    nets: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def changes(self, now: Settings) -> Iterator[str]:
        """What differs in `now`, where it makes a resumed run another one; max_iter may grow."""
        before, after = (fields_of(settings.solver) for settings in (self, now))
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name) and name not in _MAY_CHANGE:
                yield f"{name}: {after.get(name, 'unset')} in the solver, {before.get(name, 'unset')} before"
        for name in dict.fromkeys([*self.nets, *now.nets]):
            if self.nets.get(name) != now.nets.get(name):
                yield f"the {name} net is another one"
        for name, digest in now.lists.items():
            if name not in self.lists:
                yield f"the list {name} is another one"
            elif self.lists[name] != digest:
                yield f"the list {name} has changed"


# What changes no figure of an iteration.
_MAY_CHANGE = {
    "max_iter", "snapshot", "snapshot_prefix", "snapshot_after_train", "snapshot_format", "snapshot_diff",
    "display", "debug_info", "device_id", "solver_mode", "random_seed", "test_iter", "test_interval",
    "test_whole_list", "test_compute_loss", "monitor", "patience", "snapshot_best",
}  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """One run.

    Attributes:
        run: its id, random, also in every snapshot.
        started: when, ISO 8601.
        command: the command line.
        prefix: the last part of the snapshots' path.
        settings: see there.
        prototxts: file -> SHA-256, as it lay on the disk.
        versions: of rlossctl, Python and torch.
    """

    run: str
    started: str
    command: str
    prefix: str
    settings: Settings
    prototxts: Mapping[str, str]
    versions: Mapping[str, str]

    def write(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        with atomic_write(path) as file:
            file.write(json.dumps({"format": FORMAT, **asdict(self)}, indent=1).encode() + b"\n")


def read(path: Path) -> Manifest | None:
    """The manifest of a folder; None if there is none.

    Raises:
        RlossError: it is damaged.
    """
    try:
        entries: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if entries["format"] != FORMAT:
            raise ValueError(f"format {entries['format']!r}")
        settings = Settings(**{each.name: entries["settings"][each.name] for each in fields(Settings)})
        known = {each.name: entries[each.name] for each in fields(Manifest)}
        return Manifest(**{**known, "settings": settings})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RlossError(
            "is not the manifest of a run, or is damaged",
            where=path,
            found=f"{type(error).__name__}: {error}",
            expected=f"JSON with format {FORMAT!r}, as train writes it",
            advice="train into another folder, start anew with --overwrite, or delete this file to take the "
            "snapshots beside it by their number",
        ) from error


def manifest_of(solver: Solver, file: SolverFile, weights: Sequence[str | Path]) -> Manifest:
    """The manifest of a run that is about to start.

    Args:
        file: what the solver was built of.
        weights: the files that it started from.
    """
    settings = replace(settings_of(solver), weights=_digests(weights))
    prototxts = [str(file.path), *(net.file.path for net in _nets(solver))]
    return Manifest(
        run=solver.progress.run,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=shlex.join(sys.argv),
        prefix=Path(solver.saving.prefix).name,
        settings=settings,
        prototxts=_text_digests(prototxts),
        versions={
            "rlossctl": rlossctl.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )


def settings_of(solver: Solver) -> Settings:
    """The settings of a run as it is now; what it started from is not among them."""
    names = ["training", *(f"test (#{index})" for index in range(len(solver.test_nets)))]
    texts = [to_text(net.param) for net in _nets(solver)]
    nets = {name: sha256(text.encode()).hexdigest() for name, text in zip(names, texts, strict=True)}
    return Settings(to_text(solver.param), nets, _digests(_lists(solver)), {}, solver.progress.seed)


def _nets(solver: Solver) -> list[Net]:
    return [solver.net, *solver.test_nets]


def _lists(solver: Solver) -> list[str]:
    sources = [source for net in _nets(solver) for source in net.sources.values()]
    named = [(getattr(each, "source", None), *getattr(each, "annotation", ())) for each in sources]
    return [str(name) for names in named for name in names if name]


def _digests(paths: Sequence[str | Path]) -> dict[str, str]:
    """Of the regular files among them: a database is a folder."""
    return {str(path): sha256_of(path) for path in paths if Path(path).is_file()}


def _text_digests(paths: Sequence[str]) -> dict[str, str]:
    """Of prototxts, also of those that come with rlossctl; nets inside a solver have no file of their own."""
    found = _digests(paths)
    for path in dict.fromkeys(paths):
        if path not in found and is_named(path):
            found[path] = sha256(read_text(path).encode()).hexdigest()
    return found


def fields_of(text: str) -> dict[str, str]:
    """Field -> its values, of a message's text; inline nets are compared as nets."""
    found: dict[str, str] = {}
    inside = ""
    for line in text.split("\n"):
        if line.endswith(" {") and not line.startswith(" "):
            inside = line.removesuffix(" {")
        name, colon, value = line.strip().partition(": ")
        if line.startswith("  "):
            name = f"{inside}.{name}" if inside == "onecycle" else ""
        if colon and name:
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
