"""The bilateral filter behind the DenseCRF loss: operators for images and points, a kernel per device."""

from rlossctl.bilateral.choice import Backend, FallbackWarning, backend
from rlossctl.bilateral.image_filter import bilateral_filter
from rlossctl.bilateral.kernel import Kernel
from rlossctl.bilateral.meanfield import mean_field
from rlossctl.bilateral.points import Lattice, filter

__all__ = [
    "Backend",
    "FallbackWarning",
    "Kernel",
    "Lattice",
    "backend",
    "bilateral_filter",
    "filter",
    "mean_field",
]
