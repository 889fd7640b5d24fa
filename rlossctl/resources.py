"""Finds the files that come with rlossctl, and its nets by name."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.errors import RlossError

_PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The folder with rlossctl's own prototxts.

    A wheel has it inside the package. In a checkout, even if installed with `pip install -e`, it is beside
    the package.

    Raises:
        RlossError: neither folder exists.
    """
    places = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
    for place in places:
        if (place / "demo").is_dir():
            return place
    raise RlossError(
        "the network configurations are missing from the installation",
        where=places[0],
        found="no such folder",
        expected=f"that folder, or {places[1]} in a checkout",
        advice="install rlossctl again: pip install --force-reinstall rlossctl",
    )


def is_named(path: str | os.PathLike[str]) -> bool:
    """Whether this is the name of a net or solver that comes with rlossctl (`demo/train`), not a file."""
    if os.path.isfile(path):
        return False
    from rlossctl import configs

    return configs.has(Path(path).as_posix())


def named_text(path: str | os.PathLike[str]) -> str:
    """The prototxt with this name."""
    from rlossctl import configs

    return configs.text(Path(path).as_posix())


def similar_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of nets and solvers that the user may have meant by a path; empty if it is a file."""
    if os.path.exists(path):
        return []
    from rlossctl import configs

    return configs.similar(Path(path).as_posix())
