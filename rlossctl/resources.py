"""What comes with rlossctl: where its files lie, and its nets by name."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.errors import RlossError

_PACKAGE = Path(__file__).resolve().parent


def configs_dir() -> Path:
    """The folder of the prototxts that come with rlossctl.

    A wheel holds them inside the package; in a checkout, also one installed with `pip install -e`, they lie
    beside it.

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
    """Whether this is not a file but the name of a net or solver that comes with rlossctl (`demo/train`)."""
    if os.path.isfile(path):
        return False
    from rlossctl import configs

    return configs.has(Path(path).as_posix())


def named_text(path: str | os.PathLike[str]) -> str:
    """The prototxt of such a name."""
    from rlossctl import configs

    return configs.text(Path(path).as_posix())


def similar_names(path: str | os.PathLike[str]) -> list[str]:
    """The names of nets and solvers that may be meant by a path; none where it is a file."""
    if os.path.exists(path):
        return []
    from rlossctl import configs

    return configs.similar(Path(path).as_posix())
