"""Whether the compiled kernels of this room run."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.bilateral import backend
from rlossctl.bilateral.choice import NATIVE


def native(tensor: Tensor) -> bool:
    """Whether the compiled kernel takes tensors like this one: float32 on the CPU, and no export is running.

    Also for tensors without values (meta), to whose shapes plain operations would take a long way.
    """
    if tensor.is_meta:
        return True
    if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
        return False
    if torch.compiler.is_exporting() or (torch.jit.is_tracing() and torch.onnx.is_in_onnx_export()):
        return False
    return bool(_built())


def _built() -> bool:
    return backend("cpu").name == NATIVE


# torch.compile need not look into the choice. `torch.compiler.assume_constant_result` sets the same mark, but
# imports torch._dynamo for it, which takes a second that every command would pay.
setattr(_built, "_dynamo_marked_constant", True)  # noqa: B010
