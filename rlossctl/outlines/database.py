"""Layers that read databases and arrays: their sources."""

from __future__ import annotations

from rlossctl.data.sources.database import DatabaseSource
from rlossctl.data.sources.hdf5 import Hdf5Source
from rlossctl.data.sources.memory import MemorySource
from rlossctl.net.outline import Setup, SourceOutline, read_options
from rlossctl.net.registry import describe


@describe("Data", bottoms=0, tops=(1, 2), role="data")
class DatabaseOutline(SourceOutline):
    """See `rlossctl.layers.database.Data`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = DatabaseSource(
            setup.message, setup.phase, honour_skip=setup.dialect == "segnet", **read_options(setup)
        )


@describe("HDF5Data", bottoms=0, tops=(1, None), role="data")
class HDF5DataOutline(SourceOutline):
    """See `rlossctl.layers.database.HDF5Data`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source = Hdf5Source(setup.message, setup.phase, **read_options(setup))


@describe("MemoryData", bottoms=0, tops=2, role="data")
class MemoryDataOutline(SourceOutline):
    """See `rlossctl.layers.database.MemoryData`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        options = read_options(setup)
        self.source = MemorySource(setup.message, where=options["where"], seed=options["seed"])
