"""HDF5Output: two blobs as the datasets of an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from rlossctl.errors import DataError, NetError
from rlossctl.files import atomic_path
from rlossctl.layers.matfile import check_rank, legacy_shape
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.optional import needed


@register("HDF5Output", bottoms=2, tops=0)
class HDF5Output(Layer):
    """Writes its bottoms as the datasets `data` and `label` of file_name (hdf5_output_layer.cpp).

    float32, four axes, one row per sample. The first pass replaces the file; later passes add rows, where
    Caffe aborts. Needs h5py (the extra hdf5).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.path = setup.message.hdf5_output_param.file_name
        self.started = False
        if not self.path:
            raise setup.error("names no file", found="file_name: ''", expected="hdf5_output_param.file_name")
        check_rank(setup)
        data, label = setup.bottoms
        if data[:1] != label[:1] or not data:
            raise setup.error("its bottoms must have the same batch size", found=f"{data} and {label}")

    def forward(self, data: Tensor, label: Tensor) -> tuple[Tensor, ...]:
        if data.is_meta:
            return ()
        h5py = self._h5py()
        blobs = {"data": data, "label": label}
        arrays = {name: x.detach().float().cpu().numpy() for name, x in blobs.items()}
        arrays = {name: array.reshape(legacy_shape(array.shape)) for name, array in arrays.items()}
        if self.started:
            self._append(h5py, arrays)
        else:
            self._begin(h5py, arrays)
        self.started = True
        return ()

    def _begin(self, h5py: ModuleType, arrays: dict[str, np.ndarray]) -> None:
        with atomic_path(Path(self.path)) as path, h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, maxshape=(None, *array.shape[1:]))

    def _append(self, h5py: ModuleType, arrays: dict[str, np.ndarray]) -> None:
        try:
            with h5py.File(self.path, "r+") as file:
                for name, array in arrays.items():
                    rows = len(file[name])
                    file[name].resize(rows + len(array), axis=0)
                    file[name][rows:] = array
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                "rows cannot be added to the file",
                where=self.path,
                found=str(error),
                expected="the file as the previous pass left it, and blobs of the same size",
            ) from error

    def _h5py(self) -> ModuleType:
        return needed(
            "h5py",
            "HDF5Output needs h5py",
            self.setup.where,
            error=NetError,
            otherwise="remove the layer from the prototxt",
        )
