"""Weights and solver states in Caffe's files: read and written byte for byte, without copying values."""

from rlossctl.weights.blobfile import load_blob
from rlossctl.weights.blobs import Blob, LayerBlobs
from rlossctl.weights.caffemodel import CaffeModel, load_caffemodel
from rlossctl.weights.hdf5 import Hdf5Model
from rlossctl.weights.hdf5 import write_model as write_caffemodel_h5
from rlossctl.weights.opening import Weights, load_weights
from rlossctl.weights.solverstate import SolverState, load_solverstate, write_solverstate
from rlossctl.weights.tensors import TensorFile
from rlossctl.weights.writing import LayerRecord, write_caffemodel

__all__ = [
    "Blob",
    "CaffeModel",
    "Hdf5Model",
    "LayerBlobs",
    "LayerRecord",
    "SolverState",
    "TensorFile",
    "Weights",
    "load_blob",
    "load_caffemodel",
    "load_solverstate",
    "load_weights",
    "write_caffemodel",
    "write_caffemodel_h5",
    "write_solverstate",
]
