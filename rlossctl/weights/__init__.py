"""Weights and solver states in Caffe's and other file formats, byte for byte and without copying values.

The names below are imported on first use, so a caffemodel's headers can be read without NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.weights.any_format import Weights as Weights
    from rlossctl.weights.any_format import load_weights as load_weights
    from rlossctl.weights.blobfile import load_blob as load_blob
    from rlossctl.weights.blobs import Blob as Blob
    from rlossctl.weights.blobs import LayerBlobs as LayerBlobs
    from rlossctl.weights.caffemodel import CaffeModel as CaffeModel
    from rlossctl.weights.caffemodel import load_caffemodel as load_caffemodel
    from rlossctl.weights.hdf5 import Hdf5Model as Hdf5Model
    from rlossctl.weights.hdf5 import write_caffemodel_h5 as write_caffemodel_h5
    from rlossctl.weights.solverstate import SolverState as SolverState
    from rlossctl.weights.solverstate import load_solverstate as load_solverstate
    from rlossctl.weights.solverstate import write_solverstate as write_solverstate
    from rlossctl.weights.tensors import TensorFile as TensorFile
    from rlossctl.weights.writing import LayerRecord as LayerRecord
    from rlossctl.weights.writing import write_caffemodel as write_caffemodel

_HOMES = {
    "Blob": ".blobs",
    "CaffeModel": ".caffemodel",
    "Hdf5Model": ".hdf5",
    "LayerBlobs": ".blobs",
    "LayerRecord": ".writing",
    "SolverState": ".solverstate",
    "TensorFile": ".tensors",
    "Weights": ".any_format",
    "load_blob": ".blobfile",
    "load_caffemodel": ".caffemodel",
    "load_solverstate": ".solverstate",
    "load_weights": ".any_format",
    "write_caffemodel": ".writing",
    "write_caffemodel_h5": ".hdf5",
    "write_solverstate": ".solverstate",
}

__all__ = [*_HOMES]
__getattr__ = lazy.exports(__name__, _HOMES)
