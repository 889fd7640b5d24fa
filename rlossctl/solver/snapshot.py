"""Snapshots: Caffe's two files, and beside them what an exact resume needs.

`<prefix>_iter_<N>.caffemodel` and `.solverstate` (or both with `.h5`) are what Caffe writes and reads.
`<prefix>_iter_<N>.resume.json` holds the rest: random state, data positions, the displayed loss's window.
The solver state is written last, so a snapshot that has one is complete.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rlossctl.errors import WeightsError
from rlossctl.files import atomic_write, make_folder
from rlossctl.net import Net
from rlossctl.net.saved import hdf5_layers, layer_records
from rlossctl.solver import resume
from rlossctl.weights import (
    SolverState,
    write_caffemodel,
    write_caffemodel_h5,
    write_solverstate,
)


class Files(NamedTuple):
    """The names of one snapshot's files."""

    model: Path
    state: Path
    resume: Path


def file_names(prefix: str, iteration: int, hdf5: bool = False) -> Files:
    """`<prefix>_iter_<N>` with Caffe's suffixes (Solver::SnapshotFilename)."""
    stem = f"{prefix}_iter_{iteration}"
    suffix = ".h5" if hdf5 else ""
    return Files(
        Path(f"{stem}.caffemodel{suffix}"), Path(f"{stem}.solverstate{suffix}"), resume.file_name(stem)
    )


def write(
    files: Files, net: Net, state: SolverState, extras: bytes, diffs: Sequence[Tensor] | None = None
) -> None:
    """Writes one snapshot; the form is told by the suffix of `files`.

    Each file appears complete or not at all. An older solver state of the same name goes first, so that it
    never stands beside weights it does not belong to.

    Args:
        extras: content of the resume file.
        diffs: for snapshot_diff, what the last update subtracted from each learnable blob.

    Raises:
        WeightsError: the file passes 2 GiB (binary), or h5py is missing.
        RlossError: the folder cannot be written.
    """
    make_folder(files.model.parent)
    with contextlib.suppress(FileNotFoundError):
        files.state.unlink()
    by_blob = (
        None
        if diffs is None
        else {id(entry.tensor): diff for entry, diff in zip(net.learnable, diffs, strict=True)}
    )
    if files.model.suffix == ".h5":
        write_caffemodel_h5(files.model, hdf5_layers(net, by_blob))
    else:
        write_caffemodel(files.model, net.name, layer_records(net, by_blob), list(net.param.input))
    with atomic_write(files.resume) as file:
        file.write(extras)
    write_solverstate(files.state, state)


def latest(prefix: str) -> Path | None:
    """The solver state of the highest iteration among the prefix's complete snapshots."""
    folder, stem = os.path.split(prefix)
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)\.solverstate(\.h5)?")
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return None
    found = []
    for name in names:
        match = pattern.fullmatch(name)
        if match and file_names(prefix, int(match.group(1)), bool(match.group(2))).model.is_file():
            found.append((int(match.group(1)), name))
    return Path(folder) / max(found)[1] if found else None


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
