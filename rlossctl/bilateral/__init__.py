"""The bilateral filter under the DenseCRF loss: one operator, a kernel for each device."""

from rlossctl.bilateral.choice import Backend, FallbackWarning, backend
from rlossctl.bilateral.filter import bilateral_filter

__all__ = ["Backend", "FallbackWarning", "backend", "bilateral_filter"]
