"""Layers that read databases and arrays: Data (LMDB), HDF5Data, MemoryData."""

from __future__ import annotations

from rlossctl.net.layer import SourceLayer
from rlossctl.net.registry import computes
from rlossctl.outlines.database import DatabaseOutline, HDF5DataOutline, MemoryDataOutline


@computes("Data")
class Data(DatabaseOutline, SourceLayer):
    """Datum messages of an LMDB in the order of its keys (data_layer.cpp): data (N, C, h, w), label (N,).

    LEVELDB is refused. Crop, mirror, mean (mean_file, mean_value) and scale of transform_param apply; the
    old fields with the same names in data_param do not, as in Caffe. rand_skip is used only in the dialect
    segnet; later Caffes ignore it.
    """


@computes("HDF5Data")
class HDF5Data(HDF5DataOutline, SourceLayer):
    """Rows of the datasets named like the tops, from a list of HDF5 files (hdf5_data_layer.cpp)."""


@computes("MemoryData")
class MemoryData(MemoryDataOutline, SourceLayer):
    """Arrays from the calling program (memory_data_layer.cpp): data (N, C, H, W), label (N,).

    `net.sources[name].feed(data, labels)` passes them in; or give the tops to the net as inputs.
    """
