"""Damaged weights of other programs: checkpoints, safetensors, HDF5, ONNX; means and resume files."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlossctl.errors import WeightsError
from rlossctl.inspection import inspect
from rlossctl.net.origin import NetOrigin
from rlossctl.solver.snapshots import resume
from rlossctl.weights import encode, load_solverstate, load_weights
from rlossctl.weights.mean import load_mean
from rlossctl.weights.onnxfile import load_onnx, tensor_values

from . import seeds
from .bounds import bounded, fresh, fuzz
from .mutation import damaged_bytes, damaged_text, damaged_zips


def read(path: Path, kind: str) -> None:
    """Opens the file and reads every value, then reports on it."""
    model = load_weights(path, kind)
    entries = getattr(model, "tensors", None)
    if entries is not None:
        arrays = [entry.read() for entry in entries.values()]
    else:
        arrays = [blob.array() for layer in model.layers for blob in layer.blobs if blob]
    assert sum(array.nbytes for array in arrays) <= 64 * path.stat().st_size
    inspect(NetOrigin(path))


@pytest.mark.slow
@fuzz
@given(data=damaged_bytes(seeds.checkpoints(zipped=True)) | damaged_zips(seeds.checkpoints(zipped=True)))
def test_checkpoints(file, data):
    with bounded(), contextlib.suppress(WeightsError):
        read(fresh(file.with_suffix(".pt"), data), "checkpoint")


@pytest.mark.slow
@fuzz
@given(data=damaged_bytes(seeds.checkpoints(zipped=False)))
def test_old_checkpoints(file, data):
    with bounded(), contextlib.suppress(WeightsError):
        read(fresh(file.with_suffix(".pth"), data), "checkpoint")


@fuzz
@given(data=damaged_bytes(seeds.safetensors()))
def test_safetensors(file, data):
    with bounded(), contextlib.suppress(WeightsError):
        read(fresh(file.with_suffix(".safetensors"), data), "safetensors")


@fuzz
@given(data=damaged_bytes(seeds.hdf5_models()))
def test_hdf5_models(file, data):
    pytest.importorskip("h5py")
    with bounded(), contextlib.suppress(WeightsError):
        read(fresh(file.with_suffix(".caffemodel.h5"), data), "caffemodel-h5")


@fuzz
@given(data=damaged_bytes(seeds.hdf5_states()))
def test_hdf5_states(file, data):
    pytest.importorskip("h5py")
    with bounded(), contextlib.suppress(WeightsError):
        state = load_solverstate(fresh(file.with_suffix(".solverstate.h5"), data))
        assert sum(array.nbytes for array in state.history) <= 64 * len(data)


@fuzz
@given(data=damaged_bytes(seeds.onnx_models()))
def test_onnx_models(file, data):
    (file.parent / "values.bin").write_bytes(bytes(8))
    path = fresh(file.with_suffix(".onnx"), data)
    with bounded(), contextlib.suppress(WeightsError):
        inspect(NetOrigin(path))
        for tensor in load_onnx(path).graph.initializer:
            tensor_values(path, tensor)


MEANS = [b"".join(map(bytes, encode.blob_pieces(np.zeros((1, 3, 4, 5), "<f4"), legacy=True)))]


@pytest.mark.slow
@fuzz
@given(data=damaged_bytes(MEANS))
def test_means(file, data):
    path = fresh(file.with_suffix(".binaryproto"), data)
    with bounded(), contextlib.suppress(WeightsError):
        load_mean(path)
    with bounded(), contextlib.suppress(WeightsError):
        inspect(NetOrigin(path))


RESUMES = [
    '{"format": "rlossctl resume 1", "iter": 3, "seed": 1, "torch_rng": "AA==", "cuda_rng": null,'
    ' "sources": []}'
]


@fuzz
@given(text=damaged_text(RESUMES) | st.sampled_from(["", "[" * 100_000, "null", "1"]))
def test_resume_files(file, text):
    path = fresh(file.with_suffix(".resume.json"), text.encode())
    with bounded(), contextlib.suppress(WeightsError):
        resume.read(path)
