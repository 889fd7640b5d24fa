"""A finished or running training, read from its folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

from rlossctl.errors import RlossError, UsageError
from rlossctl.solver.snapshots import manifest
from rlossctl.solver.snapshots.manifest import Manifest
from rlossctl.solver.telling.history import History


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: what to call it: its folder, without what all folders share.
        manifest: what it was started from.
        history: its figures.
    """

    name: str
    manifest: Manifest
    history: History

    @property
    def iter(self) -> int:
        """Updates made."""
        return self.history.loss.iters[-1] + 1 if self.history.loss.iters else 0

    def settings(self) -> dict[str, str]:
        """Setting -> value: the solver's fields, then seed, nets, lists and starting weights."""
        known = self.manifest.settings
        return {
            **manifest.fields_of(known.solver),
            "seed": str(known.seed),
            **{f"{name} net": digest[:8] for name, digest in known.nets.items()},
            "weights": ", ".join(known.weights) or "random",
            **{f"list {name}": digest[:8] for name, digest in known.lists.items()},
        }

    def origin(self) -> dict[str, str]:
        """Where its figures come from, by what the page calls it: command, date, versions, hashes."""
        known, digests = self.manifest, self.manifest.settings
        files = {**known.prototxts, **digests.lists, **digests.weights}
        return {
            "command": known.command,
            "started": known.started,
            "versions": ", ".join(f"{name} {version}" for name, version in known.versions.items()),
            "seed": str(digests.seed),
            **{f"{name} net": f"SHA-256 {digest}" for name, digest in digests.nets.items()},
            **{file: f"SHA-256 {digest}" for file, digest in files.items()},
        }


class BestScore(NamedTuple):
    """The greatest value of an output over a run's tests, and the last one."""

    value: float
    iter: int
    last: float


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders, in order.

    Raises:
        UsageError: a folder is named twice.
        RlossError: a folder holds no run, or its files are damaged.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a folder is named twice", found=", ".join(map(str, folders)))
    found = [(file, folder) for folder in folders for file in _manifests(folder)]
    names = _names([file.parent / file.name.removesuffix("run.json").rstrip("_") for file, _ in found])
    runs = []
    for name, (file, _) in zip(names, found, strict=True):
        known = manifest.read(file)
        assert known is not None
        metrics = file.with_name(file.name.removesuffix("run.json") + "metrics.jsonl")
        runs.append(Run(name, known, History.read(metrics)))
    return runs


def best_scores(run: Run) -> dict[str, BestScore]:
    """Output that counts over the whole list -> its greatest value; NaN never is."""
    found = {}
    for name in run.history.counted:
        series = run.history.tests[name]
        pairs = zip(series.values, series.iters, strict=True)
        value, at = max(
            ((value, at) for value, at in pairs if value == value),
            key=lambda pair: (pair[0], -pair[1]),
            default=(math.nan, 0),
        )
        found[name] = BestScore(value, at, series.values[-1])
    return found


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Setting -> its value in each run, where they differ; "-" where it is not set."""
    settings = [run.settings() for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    rows = {name: [each.get(name, "-") for each in settings] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _manifests(folder: Path) -> list[Path]:
    files = sorted([*folder.glob("run.json"), *folder.glob("*_run.json")])
    if not files:
        raise RlossError(
            "holds no run",
            where=folder,
            found="no run.json" if folder.is_dir() else "no such folder",
            expected="a folder that rlossctl train wrote (--out)",
            advice="name the folder itself: runs/a, or several: runs/*",
        )
    return files


def _names(paths: Sequence[Path]) -> list[str]:
    """The paths without the folders that they share."""
    if len(paths) == 1:
        return [paths[0].name or str(paths[0])]
    shared = commonpath([str(path.absolute()) for path in paths])
    return [str(path.absolute().relative_to(shared)) for path in paths]
