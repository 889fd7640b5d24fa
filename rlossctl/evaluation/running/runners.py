"""The small interfaces that evaluation needs to run a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError
from rlossctl.evaluation.running.intake import Intake

if TYPE_CHECKING:
    import torch


class Model(Protocol):
    """What every model says about itself.

    Attributes:
        backend: what actually computes, in words ("ONNX Runtime 1.31.1, CPUExecutionProvider").
        num_classes: how many classes it knows.
        classes: their names, or None if the model does not carry them.
        losses: types of the loss layers that it was trained with; empty if it does not say.
        preprocess: how the model's own data layer prepares images, or None if unknown.
        intake: what it demands of images beyond that.
    """

    backend: str
    num_classes: int
    classes: list[str] | None
    losses: Sequence[str]
    preprocess: Preprocess | None
    intake: Intake


class Runner(Model, Protocol):
    """A model that turns preprocessed images into class scores.

    Attributes:
        activated: whether the model says that its scores are already probabilities.
        channels: the number of score channels: num_classes, or 1 for the score of class 1 alone, of two.
    """

    activated: bool
    channels: int

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, channels, h, w]; h, w may be smaller."""
        ...


@runtime_checkable
class DeviceRunner(Runner, Protocol):
    """A runner that can leave scores on their device and take the best class there; see `on_device.OnDevice`.

    Attributes:
        device: where the scores are.
    """

    device: torch.device

    def best_classes(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Images of one size, float32 [3, H, W] each, to class ids uint8 [N, H, W] on the device."""
        ...

    def scores_and_classes(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, torch.Tensor]:
        """The results of `scores` and `best_classes`, from one pass."""
        ...


@runtime_checkable
class LabelRunner(Model, Protocol):
    """A model that gives classes.

    Attributes:
        takes_photos: whether it prepares photos itself.
    """

    takes_photos: bool

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Photos uint8 [N, H, W, 3] BGR, or prepared images [N, C, H, W], to class ids uint8 [N, H, W]."""
        ...


def names_for(model: Model, class_names: Sequence[str] | None = None) -> list[str]:
    """The class names to print: the caller's, else the model's, else numbers.

    Raises:
        DataError: the number of names differs from the number of classes.
    """
    names = class_names or model.classes or [f"class {index}" for index in range(model.num_classes)]
    if len(names) != model.num_classes:
        raise DataError(
            "the class names do not fit the model",
            found=f"{len(names)} names",
            expected=f"{model.num_classes}",
            advice="list the names, one per line, in a file for --classes FILE",
        )
    return list(names)
