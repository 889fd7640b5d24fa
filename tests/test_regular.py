"""What has no end is refused by every reader: devices, and pipes that nobody writes to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlossctl.data.lists import read_list
from rlossctl.data.sets.names import class_names
from rlossctl.data.sources.windows import read_windows
from rlossctl.errors import RlossError
from rlossctl.prototxt.text import read_text
from rlossctl.weights import load_solverstate, load_weights
from rlossctl.weights.mean import load_mean
from rlossctl.weights.onnxfile import load_onnx

READERS: dict[str, Callable[[Path], object]] = {
    "caffemodel": lambda path: load_weights(path, "caffemodel"),
    "HDF5": lambda path: load_weights(path, "caffemodel-h5"),
    "checkpoint": lambda path: load_weights(path, "checkpoint"),
    "safetensors": lambda path: load_weights(path, "safetensors"),
    "solverstate": load_solverstate,
    "mean": load_mean,
    "ONNX": load_onnx,
    "list": read_list,
    "windows": read_windows,
    "class names": lambda path: class_names(str(path)),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices(name, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(RlossError, match="not a regular file"):
            READERS[name](path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_a_prototxt_may_come_from_a_pipe_but_has_an_end(tmp_path):
    """The original scripts fill their templates with sed: `train --prototxt <(sed ... solver.prototxt)`."""
    with pytest.raises(RlossError, match="is not prototxt text"):
        read_text("/dev/zero")
    ours, theirs = os.pipe()
    os.write(theirs, b'name: "n"\n')
    os.close(theirs)
    assert read_text(f"/dev/fd/{ours}") == 'name: "n"\n'
    os.close(ours)
