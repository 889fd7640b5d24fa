"""Opening a weights file of any format."""

from __future__ import annotations

import os

from rlossctl.errors import WeightsError
from rlossctl.weights import kinds
from rlossctl.weights.caffemodel import CaffeModel, load_caffemodel
from rlossctl.weights.hdf5 import Hdf5Model
from rlossctl.weights.tensors import TensorFile

Weights = CaffeModel | Hdf5Model | TensorFile


def load_weights(path: str | os.PathLike[str], kind: str | None = None) -> Weights:
    """Opens a caffemodel (binary or HDF5), safetensors or PyTorch file; values are read when needed.

    Args:
        kind: one of `kinds.WEIGHTS`; if None, suffix and content decide.

    Raises:
        WeightsError: the file is missing, damaged or of another kind.
    """
    kind = kind or kinds.kind_of(path)
    if kind == kinds.SAFETENSORS:
        from rlossctl.weights.safetensors import load_safetensors

        return load_safetensors(path)
    if kind == kinds.CHECKPOINT:
        from rlossctl.weights.checkpoint import load_checkpoint

        return load_checkpoint(path)
    if kind == kinds.ONNX:
        raise WeightsError(
            "an ONNX model does not have blobs by layer",
            where=path,
            found="an .onnx file",
            expected="a caffemodel, safetensors file or PyTorch checkpoint",
            advice="give the weights from which the ONNX file was made; `rlossctl eval` runs ONNX files",
        )
    return load_caffemodel(path)
