"""Where the files that come with rlossctl lie: in an installed package, an editable install or a checkout."""

from __future__ import annotations

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
