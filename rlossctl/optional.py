"""Imports packages that only some files or layers need: the extras in pyproject.toml."""

from __future__ import annotations

import importlib
from types import ModuleType

from rlossctl.errors import RlossError

_EXTRAS = {
    "cv2": "opencv",
    "h5py": "hdf5",
    "scipy": "mat",
    "yaml": "yaml",
}  # other extras are named after their package


def needed(
    module: str, message: str, where: object, *, error: type[RlossError] = RlossError, otherwise: str
) -> ModuleType:
    """Imports a module of an optional package.

    Args:
        message: the error's message: what needs the package.
        where: file or layer, for the error.
        error: the error's type.
        otherwise: what to do instead of installing the package.

    Raises:
        RlossError: of type `error`, if the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0]
        extra = _EXTRAS.get(package, package)
        raise error(
            message,
            where=where,
            found=f"{package} is not installed",
            expected=f"the extra {extra}",
            advice=f"pip install rlossctl[{extra}], or {otherwise}",
        ) from cause
