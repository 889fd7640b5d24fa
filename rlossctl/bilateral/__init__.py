"""The bilateral filter behind the DenseCRF loss: one operator, and a kernel for each device."""

from rlossctl.bilateral.choice import Backend, FallbackWarning, backend
from rlossctl.bilateral.filter import bilateral_filter
from rlossctl.bilateral.kernel import Kernel
from rlossctl.bilateral.meanfield import mean_field

__all__ = ["Backend", "FallbackWarning", "Kernel", "backend", "bilateral_filter", "mean_field"]
