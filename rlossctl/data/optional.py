"""Packages that only some data layers need."""

from __future__ import annotations

import importlib
from types import ModuleType

from rlossctl.errors import DataError


def needed(package: str, purpose: str, where: object) -> ModuleType:
    """Imports an optional package; its extra has the package's name, or hdf5 for h5py.

    Raises:
        DataError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        extra = {"h5py": "hdf5"}.get(package, package)
        raise DataError(
            f"{purpose} needs the package {package}",
            where=where,
            found=f"{package} is not installed",
            expected=f"the extra {extra}",
            advice=f"pip install rlossctl[{extra}], or pip install {package}",
        ) from error
