"""The runner for a Net: PyTorch behind the same interface as ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from rlossctl.data.sources.imagelist import DenseImageSource
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.data.sources.labelmap import LabelmapSource
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.running.intake import Intake
from rlossctl.evaluation.running.on_device import OnDevice
from rlossctl.evaluation.running.room import Room
from rlossctl.evaluation.running.sessions import failed
from rlossctl.net import Net
from rlossctl.net.deploy import (
    Deploy,
    bytes_per_pixel,
    loss_types,
    main_scores,
    only_size,
    own_head,
    preprocess_of,
)
from rlossctl.net.memory import available


class TorchRunner(OnDevice):
    """Runs the part of a net from the image to the scores, with PyTorch.

    Args:
        net: a TEST net; a data layer that reads photos says how to prepare them.
        device: "cpu", "cuda", "cuda:1", or "auto" (CUDA if available).
        output: the blob of scores, instead of the one that the net's metric or loss reads.

    Attributes:
        layers: names of the layers that lead to the scores.

    Raises:
        NetError: the net has no scores, or CUDA was requested and is not available.
    """

    def __init__(self, net: Net, device: str = "auto", output: str | None = None) -> None:
        super().__init__(pick_device(device))
        self._path = net.file.path
        deploy = Deploy(net, [output] if output else None)
        name = output or (main_scores(net, deploy.output_names) if deploy.output_names else None)
        if name is None or len(net.shapes[name]) != 4:
            raise NetError(
                "the net has no blob of scores",
                where=net.file.path,
                found=", ".join(deploy.output_names) or "no output that depends on the image alone",
                expected="a blob (N, classes, H, W) read by SegAccuracy or a loss, or as the net's output",
                advice="name the blob with --output BLOB, or check the phase and the net's last layers",
            )
        deploy = Deploy(net, [name])
        self.channels: int = net.shapes[name][1]
        self.num_classes = max(2, self.channels)
        room = Room(lambda: bytes_per_pixel(deploy), lambda: available(self.device))
        self.intake = Intake(only_size(deploy) or (None, None), grey=deploy.input_shape[1] == 1, room=room)
        self.layers = frozenset(layer.name for layer in deploy.layers)
        self.classes: list[str] | None = None
        self.activated = own_head(deploy) != "scores"
        self.losses: Sequence[str] = loss_types(net)
        self.preprocess = preprocess_of(net, deploy)
        self._module = deploy.to(self.device).eval()
        self.backend = f"PyTorch {torch.__version__}, {_describe(self.device)}, blob {name!r}"
        if self.channels == 1:
            self.backend += ", one score per pixel: class 1"

    @property
    def threads(self) -> int | None:
        """How many of the CPU's threads it uses; None on a GPU."""
        return torch.get_num_threads() if self.device.type == "cpu" else None

    def _scores(self, batch: torch.Tensor) -> torch.Tensor:
        try:
            return self._module(batch)[0].float()
        except RuntimeError as error:  # branches whose sizes do not match, or a GPU out of memory
            raise failed("PyTorch", self._path, error, tuple(batch.shape), self.preprocess) from error


def image_source(net: Net) -> ImageSegSource | DenseImageSource | LabelmapSource | None:
    """The source of the net's first layer that reads photos with label images, or None."""
    kinds = (ImageSegSource, DenseImageSource, LabelmapSource)
    return next((source for source in net.sources.values() if isinstance(source, kinds)), None)


def pick_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda" or "cuda:1".

    Raises:
        UsageError: the name is unknown.
        NetError: CUDA was requested and is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # one device for each of torchrun's processes
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("unknown device", found=name, expected="auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NetError(
            "CUDA was requested, but PyTorch cannot use it",
            found=f"{torch.cuda.device_count()} CUDA devices, PyTorch {torch.__version__}",
            expected=name,
            advice="install a CUDA build of PyTorch, or use --device cpu",
        )
    return device


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return "CPU"
