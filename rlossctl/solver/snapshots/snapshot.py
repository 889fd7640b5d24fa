"""Snapshots: Caffe's two files, and beside them what an exact resume needs.

`<prefix>_iter_<N>.caffemodel` and `.solverstate` (or both with `.h5`) are what Caffe writes and reads.
`<prefix>_iter_<N>.resume.json` holds the rest: random state, data positions, the displayed loss's window.
With ema_decay, `<prefix>_iter_<N>.ema.caffemodel` holds the average of the weights.
The solver state gets its name last, so a snapshot that has one is complete. The resume file holds the id of
the run and the digests of the others, which are checked when training goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_path, atomic_write, make_folder, sha256_of
from rlossctl.net import Net
from rlossctl.net.saved import Values, hdf5_layers, layer_records
from rlossctl.solver.snapshots import resume
from rlossctl.weights import (
    SolverState,
    load_solverstate,
    load_weights,
    write_caffemodel,
    write_caffemodel_h5,
    write_solverstate,
)


class Files(NamedTuple):
    """The names of one snapshot's files."""

    model: Path
    state: Path
    resume: Path
    average: Path


def file_names(prefix: str, iteration: int, hdf5: bool = False) -> Files:
    """`<prefix>_iter_<N>` with Caffe's suffixes (Solver::SnapshotFilename)."""
    stem = f"{prefix}_iter_{iteration}"
    suffix = ".h5" if hdf5 else ""
    return Files(
        Path(f"{stem}.caffemodel{suffix}"),
        Path(f"{stem}.solverstate{suffix}"),
        resume.file_name(stem),
        Path(f"{stem}.ema.caffemodel{suffix}"),
    )


def best_name(prefix: str, hdf5: bool = False) -> Path:
    """`<prefix>_best.caffemodel`: the weights of the best test."""
    return Path(f"{prefix}_best.caffemodel{'.h5' if hdf5 else ''}")


def write_weights(path: Path, net: Net, values: Values | None = None) -> None:
    """A net's weights; the form is told by the suffix.

    Args:
        values: of the blobs; by default those that they have.

    Raises:
        WeightsError: the file passes 2 GiB (binary), or h5py is missing.
        RlossError: the folder cannot be written.
    """
    make_folder(path.parent)
    if path.suffix == ".h5":
        write_caffemodel_h5(path, hdf5_layers(net, values))
    else:
        write_caffemodel(path, net.name, layer_records(net, values), list(net.param.input))


def model_file(state: Path) -> Path:
    """The weights of a snapshot of ours."""
    return _beside(state, "caffemodel")


def average_file(state: Path) -> Path:
    """Where the average of a snapshot's weights is, if there is one."""
    return _beside(state, "ema.caffemodel")


def _beside(state: Path, suffix: str) -> Path:
    stem, _, hdf5 = str(state).rpartition(".solverstate")
    return Path(f"{stem or state}.{suffix}{hdf5 if stem else ''}")


class Kept(NamedTuple):
    """What a snapshot will hold, in copies: training may go on while it is written.

    Attributes:
        model: the weights.
        average: of the weights, if there is one.
        extras: makes the content of the resume file of the digests of the others.
    """

    model: Values
    state: SolverState
    extras: Callable[[resume.Digests], bytes]
    average: Values | None = None


def write(files: Files, net: Net, kept: Kept) -> None:
    """Writes one snapshot; the form is told by the suffix of `files`.

    Each file appears complete or not at all. An older solver state of the same name goes first, so that it
    never stands beside weights it does not belong to.

    Args:
        net: whose blobs `kept` has; their values are not looked at.

    Raises:
        WeightsError: the file passes 2 GiB (binary), or h5py is missing.
        RlossError: the folder cannot be written.
    """
    make_folder(files.model.parent)
    with contextlib.suppress(FileNotFoundError):
        files.state.unlink()
    write_weights(files.model, net, kept.model)
    if kept.average is not None:
        write_weights(files.average, net, kept.average)
    with atomic_path(files.state) as unnamed:
        write_solverstate(unnamed, kept.state)
        digests = resume.Digests(model=sha256_of(files.model), state=sha256_of(unnamed))
        if kept.average is not None:
            digests["average"] = sha256_of(files.average)
        with atomic_write(files.resume) as file:
            file.write(kept.extras(digests))


class Found(NamedTuple):
    """A complete snapshot in a folder.

    Attributes:
        run: the id of its run; None where it has no resume file, or one of old.
        number: how many snapshots of the run came before it; -1 where that is not known.
    """

    iter: int
    files: Files
    run: str | None
    number: int


def complete(prefix: str) -> Iterator[Found]:
    """The prefix's snapshots that have a solver state and weights, in no order."""
    folder, stem = os.path.split(prefix)
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)\.solverstate(\.h5)?")
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return
    for name in names:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        files = file_names(prefix, int(match.group(1)), bool(match.group(2)))
        if files.model.is_file():
            yield Found(int(match.group(1)), files, *_tag(files.resume))


def newest_first(prefix: str, run: str | None) -> list[Found]:
    """The complete snapshots of a run by age; without a run, all of them by iteration."""
    found = list(complete(prefix))
    if run is None:
        return sorted(found, key=lambda one: (one.iter, one.files), reverse=True)
    return sorted((one for one in found if one.run == run), key=lambda one: one.number, reverse=True)


def remove(files: Files) -> None:
    """Removes a snapshot; the solver state goes first, so that what is left never seems complete."""
    for path in (files.state, files.resume, files.average, files.model):
        path.unlink(missing_ok=True)


def check(state: Path) -> None:
    """Whether a snapshot can be gone on from: its files are whole, and those that were written together.

    Raises:
        WeightsError: one is missing or damaged, or belongs to another snapshot.
    """
    entries = resume.read(resume.file_name(state))
    model = check_digests(state, entries)
    if model is not None and not (entries and "files" in entries):
        load_weights(model)


def check_digests(state: Path, entries: resume.Content | None) -> Path | None:
    """Compares a snapshot's files with the digests in its resume file, where there are any.

    Returns:
        The weights' file, None where the state names none.

    Raises:
        WeightsError: one is missing or damaged, or belongs to another snapshot.
    """
    digests = entries.get("files") if entries else None
    if digests:
        _compare(state, digests["state"], resume.file_name(state))
    learned = load_solverstate(state).learned_net
    model = find_model(learned, state) if learned else None
    if digests and model is not None:
        _compare(model, digests["model"], resume.file_name(state))
    if digests and "average" in digests:
        _compare(average_file(state), digests["average"], resume.file_name(state))
    return model


def _compare(path: Path, expected: str, listed: Path) -> None:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise WeightsError("cannot be read", where=path, found=error.strerror or str(error)) from error
    if found != expected:
        raise WeightsError(
            "is not the file that was written with this snapshot, or is damaged",
            where=path,
            found=f"SHA-256 {found[:16]}...",
            expected=f"{expected[:16]}..., as {listed.name} says",
            advice="go on from another snapshot: --resume auto takes the newest one that is whole",
        )


def _tag(file: Path) -> tuple[str | None, int]:
    """Run and number of a resume file; a damaged one is found when its snapshot is checked."""
    try:
        entries = json.loads(file.read_text("utf-8"))
        return entries.get("run"), int(entries.get("number", -1))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None, -1


def find_model(learned_net: str, state: Path) -> Path:
    """The weights file that a solver state names: beside the state file, else as written.

    Caffe knows the name as written only. Looking beside the state first keeps moved folders together, and
    keeps a relative name from picking up another run's file in the working directory.

    Raises:
        WeightsError: it is in neither place.
    """
    beside = state.parent / re.split(r"[/\\]", learned_net)[-1]
    for path in (beside, Path(learned_net)):
        if path.is_file():
            return path
    raise WeightsError(
        f"the weights {learned_net!r} of this solver state are not there",
        where=state,
        found=f"no file {beside.absolute()} and no file {Path(learned_net).absolute()}",
        expected="the .caffemodel that was written with the state",
        advice="copy it beside the state file",
    )


def check_history(history: Sequence[np.ndarray], target: Sequence[Tensor], state: Path, rule: str) -> None:
    """Whether a state's history fits the solver.

    Raises:
        WeightsError: another number of blobs (another net or solver type), or shapes that differ.
    """
    if len(history) != len(target):
        raise WeightsError(
            "the history does not fit the solver",
            where=state,
            found=f"{len(history)} history blobs",
            expected=f"{len(target)} for type {rule} and this net",
            advice="resume with the net and the solver type that wrote the snapshot",
        )
    for index, (array, tensor) in enumerate(zip(history, target, strict=True)):
        if _plain(array.shape) != _plain(tensor.shape):
            raise WeightsError(
                f"history blob {index} does not fit the net",
                where=state,
                found=f"shape {tuple(array.shape)}",
                expected=f"shape {tuple(tensor.shape)}",
                advice="resume with the net that wrote the snapshot",
            )


def _plain(shape: Sequence[int]) -> tuple[int, ...]:
    """Without leading 1s: states older than Caffe's N-D blobs pad shapes to four axes."""
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)
