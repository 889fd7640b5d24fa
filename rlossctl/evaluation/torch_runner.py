"""A Net as a runner: PyTorch behind the same interface as ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import nn

from rlossctl.data.imagelist import DenseImageSource
from rlossctl.data.imageseg import ImageSegSource
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.rules import not_numbers
from rlossctl.net import Net
from rlossctl.net.deploy import Deploy, preprocess_of


class TorchRunner:
    """Runs the part of a net that leads from the image to the scores, with PyTorch.

    Args:
        net: a TEST net; its data layer, if it reads photos, says how they are prepared.
        device: "cpu", "cuda", "cuda:1", or "auto" (CUDA where there is one).

    Raises:
        NetError: the net has no scores, or CUDA was asked for and is not there.
    """

    def __init__(self, net: Net, device: str = "auto") -> None:
        self._device = pick_device(device)
        deploy = Deploy(net)
        name = deploy.output_names[0] if deploy.output_names else None
        if name is None or len(net.shapes[name]) != 4:
            raise NetError(
                "the net has no blob of scores",
                where=net.file.path,
                found=", ".join(deploy.output_names) or "no output that needs the image alone",
                expected="a blob (N, classes, H, W) read by SegAccuracy or a loss, or as the net's output",
                advice="check the phase and the net's last layers",
            )
        self.num_classes: int = net.shapes[name][1]
        self.classes: list[str] | None = None
        self.preprocess = preprocess_of(net, deploy)
        self._module = deploy.to(self._device).eval()
        self.backend = f"PyTorch {torch.__version__}, {_describe(self._device)}, blob {name!r}"

    @torch.inference_mode()
    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w]."""
        return self._scores(batch).cpu().numpy()

    @torch.inference_mode()
    def best_classes(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to uint8 [N, H, W]: what `best_class` gives of the enlarged scores.

        Bytes in place of scores leave the device.

        Raises:
            NetError: the scores are no numbers.
        """
        scores = self._scores(batch)
        if scores.amax().isnan():
            raise not_numbers()
        size = batch.shape[2:]
        if scores.shape[2:] != size:
            scores = nn.functional.interpolate(scores, size, mode="bilinear", align_corners=True)
        last = scores.shape[1] - 1  # argmax takes the first maximum, so the classes are turned around
        return (last - scores.flip(1).argmax(1)).to(torch.uint8).cpu().numpy()

    def _scores(self, batch: np.ndarray) -> torch.Tensor:
        return self._module(torch.from_numpy(batch).to(self._device))[0].float()


def image_source(net: Net) -> ImageSegSource | DenseImageSource | None:
    """What the net's first layer that reads photos with label images reads, or None."""
    kinds = (ImageSegSource, DenseImageSource)
    return next((source for source in net.sources.values() if isinstance(source, kinds)), None)


def pick_device(name: str) -> torch.device:
    """The torch device that "auto", "cpu", "cuda" or "cuda:1" means.

    Raises:
        UsageError: another name.
        NetError: CUDA was asked for and is not there.
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
            "CUDA was asked for, but PyTorch cannot use it",
            found=f"{torch.cuda.device_count()} CUDA devices, PyTorch {torch.__version__}",
            expected=name,
            advice="install a CUDA build of PyTorch, or use --device cpu",
        )
    return device


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"CPU, {torch.get_num_threads()} threads"
