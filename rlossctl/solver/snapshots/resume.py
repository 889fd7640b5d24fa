"""The resume file: what Caffe's snapshots lack for going on exactly as if training had not stopped.

JSON: whose snapshot it is and the digests of its files, the state of torch's generators, the position of
every data source, the window of the displayed loss.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

import torch
from torch import Tensor

from rlossctl.errors import WeightsError
from rlossctl.net import Net
from rlossctl.solver.machine.precision import ScaleState
from rlossctl.solver.scoring.best import Standing
from rlossctl.solver.telling.monitor import SmoothedLoss, Window
from rlossctl.solver.updating.schedules import Schedules, State

if TYPE_CHECKING:
    from typing_extensions import NotRequired

FORMAT = "rlossctl resume 1"
ADVICE = "delete it to resume as Caffe does, without data position and random state"
OWN = ("run", "number", "files", "check")  # not in the files of rlossctl's first snapshots


def file_name(state: str | Path) -> Path:
    """The resume file that belongs to a solver state (its path, with or without suffixes)."""
    return Path(re.sub(r"\.solverstate(\.h5)?$", "", str(state)) + ".resume.json")


class Digests(TypedDict):
    """SHA-256 of a snapshot's other files."""

    model: str
    state: str
    average: NotRequired[str]


class Content(TypedDict):
    """What a resume file holds; generators in base64, the sources of each net by layer.

    `run` is the run's id, `number` counts its snapshots, `best` says how its tests have gone, `check` is the
    SHA-256 of everything before it.
    """

    format: str
    iter: int
    seed: int
    torch_rng: str
    cuda_rng: str | None
    sources: list[dict[str, dict[str, Any]]]
    smoothed_loss: Window
    schedules: NotRequired[State]
    run: NotRequired[str]
    number: NotRequired[int]
    files: NotRequired[Digests]
    best: NotRequired[dict[str, Any]]
    loss_scale: NotRequired[ScaleState]
    check: NotRequired[str]


class Position(NamedTuple):
    """Where the random generators, the data sources of each net and the displayed loss stand.

    `schedules` holds loss weights that were chosen by measurement; empty without any.
    """

    torch_rng: Tensor
    cuda_rng: Tensor | None
    sources: list[dict[str, dict[str, Any]]]
    smoothed: Window
    schedules: State


class Tag(NamedTuple):
    """Whose snapshot it is: the run, its seed, the number of updates, how many snapshots came before, and how
    the run's tests have gone."""

    run: str
    seed: int
    iter: int
    number: int
    standing: Standing


def position(nets: Sequence[Net], smoothed: SmoothedLoss, schedules: Schedules) -> Position:
    """The position now; `nets` are the training net and the test nets."""
    device = nets[0].device
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    sources = [{name: source.state() for name, source in net.sources.items()} for net in nets]
    return Position(torch.get_rng_state(), cuda, sources, smoothed.state(), schedules.state())


def put_back(before: Position, nets: Sequence[Net], smoothed: SmoothedLoss, schedules: Schedules) -> None:
    """Returns to a position of the same run."""
    for net, known in zip(nets, before.sources, strict=True):
        for name, source in net.sources.items():
            source.restore(known[name])
    smoothed.restore(before.smoothed)
    schedules.restore(before.schedules)
    torch.set_rng_state(before.torch_rng)
    if before.cuda_rng is not None:
        torch.cuda.set_rng_state(before.cuda_rng, nets[0].device)


def content(at: Position, tag: Tag, files: Digests, scale: ScaleState | None = None) -> bytes:
    """The file's content; `scale` is that of a float16 run."""
    entries: Content = {
        "format": FORMAT,
        "iter": tag.iter,
        "seed": tag.seed,
        "torch_rng": _packed(at.torch_rng),
        "cuda_rng": None if at.cuda_rng is None else _packed(at.cuda_rng),
        "sources": at.sources,
        "smoothed_loss": at.smoothed,
        "run": tag.run,
        "number": tag.number,
        "files": files,
    }
    if at.schedules:
        entries["schedules"] = at.schedules
    if tag.standing.tested >= 0:
        entries["best"] = asdict(tag.standing)
    if scale is not None:
        entries["loss_scale"] = scale
    return json.dumps({**entries, "check": _check(entries)}).encode()


def read(path: Path) -> Content | None:
    """The content of a resume file; None if there is none.

    Raises:
        WeightsError: it is damaged or of another format.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _error(path, str(error)) from error
    kind = found.get("format") if isinstance(found, dict) else type(found).__name__
    if kind != FORMAT:
        raise _error(path, f"format {kind!r}")
    entries = cast(Content, found)  # entries that are missing or damaged are found where they are applied
    if any(name in entries for name in OWN):
        check = entries.pop("check", None)
        if check != _check(entries):
            raise _error(path, "content that does not fit its own SHA-256")
    return entries


def apply(
    entries: Content, path: Path, nets: Sequence[Net], smoothed: SmoothedLoss, schedules: Schedules
) -> int:
    """Puts generators, sources, displayed loss and measured loss weights where they were.

    Returns:
        The seed of that run.

    Raises:
        WeightsError: entries are missing or damaged.
        DataError: a source's list has another length now.
    """
    try:
        for net, known in zip(nets, entries["sources"], strict=False):
            for name, source in net.sources.items():
                if name in known:
                    source.restore(known[name])
        smoothed.restore(entries["smoothed_loss"])
        schedules.restore(entries.get("schedules", {}))
        torch.set_rng_state(_unpacked(entries["torch_rng"]))
        if entries["cuda_rng"] is not None and nets[0].device.type == "cuda":
            torch.cuda.set_rng_state(_unpacked(entries["cuda_rng"]), nets[0].device)
        return int(entries["seed"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _error(path, f"{type(error).__name__}: {error}") from error


def _check(entries: Content) -> str:
    return sha256(json.dumps(entries).encode()).hexdigest()


def _packed(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _unpacked(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _error(path: Path, found: str) -> WeightsError:
    return WeightsError(
        "is not a resume file of rlossctl, or is damaged",
        where=path,
        found=found,
        expected=f"JSON with format {FORMAT!r}, as written beside a snapshot",
        advice=ADVICE,
    )
