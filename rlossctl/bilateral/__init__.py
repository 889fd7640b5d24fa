"""The bilateral filter behind the DenseCRF loss: operators for images and points, a kernel per device.

Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.bilateral.choice import Backend as Backend
    from rlossctl.bilateral.choice import FallbackWarning as FallbackWarning
    from rlossctl.bilateral.choice import backend as backend
    from rlossctl.bilateral.image_filter import bilateral_filter as bilateral_filter
    from rlossctl.bilateral.kernel import Kernel as Kernel
    from rlossctl.bilateral.meanfield import mean_field as mean_field
    from rlossctl.bilateral.points import Lattice as Lattice
    from rlossctl.bilateral.points import filter as filter

_HOMES = {
    "Backend": ".choice",
    "FallbackWarning": ".choice",
    "Kernel": ".kernel",
    "Lattice": ".points",
    "backend": ".choice",
    "bilateral_filter": ".image_filter",
    "filter": ".points",
    "mean_field": ".meanfield",
}

__all__ = [*_HOMES]
__getattr__ = lazy.exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
