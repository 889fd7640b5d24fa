"""Reading and writing .solverstate: the iteration, the weights file's name and the solver's history."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlossctl.files import atomic_write
from rlossctl.weights import encode, hdf5, wire
from rlossctl.weights.blobs import Blob
from rlossctl.weights.magic import is_hdf5, refuse_foreign
from rlossctl.weights.parse import parse_blob
from rlossctl.weights.wire import LENGTH, VARINT, Source

EXPECTED = "a binary .solverstate (SolverState) or an HDF5 .solverstate.h5"
ITER, LEARNED_NET, HISTORY, CURRENT_STEP = 1, 2, 3, 4
MEANINGS = {
    ITER: (VARINT, "the iteration of a SolverState"),
    LEARNED_NET: (LENGTH, "the weights file's name"),
    HISTORY: (LENGTH, "a blob"),
    CURRENT_STEP: (VARINT, "the learning-rate step"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class SolverState:
    """The state that Caffe's solver keeps between runs.

    Attributes:
        iter: number of finished iterations.
        learned_net: path of the weights file as written; bytes that are not UTF-8 appear as Python
            spells them in paths (surrogateescape).
        history: float32 arrays in the order of the learnable parameters; AdaDelta and Adam have twice
            as many, first all of one kind, then all of the other. Read-only after loading.
        current_step: steps taken by lr_policy step and multistep.
        legacy_shapes: whether shapes are written as four old integers (Caffe before 2015).
        has_current_step: False for files older than that field.
    """

    iter: int
    learned_net: str
    history: Sequence[np.ndarray]
    current_step: int = 0
    legacy_shapes: bool = False
    has_current_step: bool = True


def load_solverstate(path: str | os.PathLike[str]) -> SolverState:
    """Reads a solver state; the content decides between binary and HDF5.

    Raises:
        WeightsError: the file is missing, truncated, damaged or of another kind.
    """
    source = wire.open_source(path)
    if is_hdf5(source):
        return SolverState(**hdf5.load_state(path))
    refuse_foreign(source, EXPECTED)
    return _parse(source)


def write_solverstate(path: str | os.PathLike[str], state: SolverState) -> None:
    """Writes a state atomically: HDF5 if `path` ends in .h5 (Caffe's own rule for reading), otherwise binary.

    A state read from a binary file that Caffe wrote gives back the same bytes.
    """
    if Path(path).suffix == ".h5":
        hdf5.write_state(path, state.iter, state.learned_net, state.current_step, state.history)
        return
    with atomic_write(path) as file:
        file.write(wire.encode_int(ITER, state.iter))
        file.write(wire.encode_bytes(LEARNED_NET, state.learned_net.encode("utf-8", "surrogateescape")))
        for array in state.history:
            for piece in encode.framed(HISTORY, encode.blob_pieces(array, legacy=state.legacy_shapes)):
                file.write(piece)
        if state.has_current_step:
            file.write(wire.encode_int(CURRENT_STEP, state.current_step))


def _parse(source: Source) -> SolverState:
    numbers: dict[int, int] = {}
    learned_net = ""
    history: list[Blob] = []
    for field in wire.walk(source, 0, len(source.view)):
        if field.number not in MEANINGS:
            continue
        wire_type, meaning = MEANINGS[field.number]
        wire.expect_wire(source, field, wire_type, "", meaning)
        if field.number == LEARNED_NET:
            raw = bytes(source.view[field.start : field.end])
            learned_net = raw.decode("utf-8", "surrogateescape")
        elif field.number == HISTORY:
            history.append(parse_blob(source, field.start, field.end, f"history blob {len(history)}"))
        else:
            numbers[field.number] = wire.int32(field.value)
    return SolverState(
        iter=numbers.get(ITER, 0),
        learned_net=learned_net,
        history=[blob.array() for blob in history],
        current_step=numbers.get(CURRENT_STEP, 0),
        legacy_shapes=any(blob.legacy for blob in history),
        has_current_step=CURRENT_STEP in numbers,
    )
