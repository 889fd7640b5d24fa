"""Where a net is trained or tested."""

from __future__ import annotations

import re

import torch

from rlossctl.errors import UsageError
from rlossctl.prototxt.messages import SolverParameter


def pick_device(device: str | torch.device | None, param: SolverParameter | None = None) -> torch.device:
    """The device to train on.

    Args:
        device: a torch device name; None and "auto" follow `param`: its GPU where there is one, unless
            solver_mode is CPU.

    Raises:
        UsageError: not a device, or a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None or str(device) == "auto":
        wanted = param is None or param.solver_mode == SolverParameter.GPU
        index = 0 if param is None else param.device_id
        if not (wanted and count):
            return torch.device("cpu")
        return torch.device("cuda", index if index < count else 0)
    match = re.fullmatch(r"(cpu|cuda)(?::(\d+))?", str(device))
    if match is None:
        raise UsageError("unknown device", found=device, expected="auto, cpu, cuda or cuda:INDEX")
    index = int(match.group(2) or 0)
    if match.group(1) == "cpu":
        return torch.device("cpu")
    if index >= count:
        raise UsageError(
            "the device is not there",
            found=f"{device}; this machine has {count} CUDA devices that torch can use",
            expected="auto, cpu" + "".join(f", cuda:{number}" for number in range(count)),
            advice="use --device cpu, or install a torch build for this GPU",
        )
    return torch.device("cuda", index)
