"""Layers that read databases and arrays: Data (LMDB), HDF5Data, MemoryData."""

from __future__ import annotations

from rlossctl.data.sources.database import DatabaseSource
from rlossctl.data.sources.hdf5 import Hdf5Source
from rlossctl.data.sources.memory import MemorySource
from rlossctl.net.layer import Setup, SourceLayer, read_options
from rlossctl.net.registry import register


@register("Data", bottoms=0, tops=(1, 2), role="data")
class Data(SourceLayer):
    """Datum messages of an LMDB in the order of its keys (data_layer.cpp): data (N, C, h, w), label (N,).

    LEVELDB is refused. Crop, mirror, mean (mean_file, mean_value) and scale of transform_param apply; the
    old fields with the same names in data_param do not, as in Caffe. rand_skip is used only in the dialect
    segnet; later Caffes ignore it.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = DatabaseSource(
            setup.message, setup.phase, honour_skip=setup.dialect == "segnet", **read_options(setup)
        )


@register("HDF5Data", bottoms=0, tops=(1, None), role="data")
class HDF5Data(SourceLayer):
    """Rows of the datasets named like the tops, from a list of HDF5 files (hdf5_data_layer.cpp)."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = Hdf5Source(setup.message, setup.phase, **read_options(setup))


@register("MemoryData", bottoms=0, tops=2, role="data")
class MemoryData(SourceLayer):
    """Arrays from the calling program (memory_data_layer.cpp): data (N, C, H, W), label (N,).

    `net.sources[name].feed(data, labels)` passes them in; or give the tops to the net as inputs.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = read_options(setup)
        self.source = MemorySource(setup.message, where=options["where"], seed=options["seed"])
