"""What runs a model: the small interfaces that evaluation needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError

if TYPE_CHECKING:
    import torch


class Model(Protocol):
    """What every model says about itself.

    Attributes:
        backend: what really computes, in words ("ONNX Runtime 1.31.1, CPUExecutionProvider, 2 threads").
        num_classes: how many classes it knows.
        classes: their names, or None where the model does not carry them.
        losses: types of the loss layers that it was trained with, as far as it says; none where it does not.
    """

    backend: str
    num_classes: int
    classes: list[str] | None
    losses: Sequence[str]


class Runner(Model, Protocol):
    """A model that turns preprocessed images into class scores.

    Attributes:
        preprocess: how the model's own data layer prepares images, or None where nothing says it.
        activated: whether the model says that its scores are probabilities already.
    """

    preprocess: Preprocess | None
    activated: bool

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w] with C = num_classes; h, w may be smaller."""
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
        """What `scores` and `best_classes` give, from one pass."""
        ...


@runtime_checkable
class LabelRunner(Model, Protocol):
    """A model that takes photos and answers with classes: preprocessing and argmax are inside it."""

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Photos uint8 [N, H, W, 3], blue first, to class ids uint8 [N, H, W]."""
        ...


def names_for(model: Model, class_names: Sequence[str] | None = None) -> list[str]:
    """The class names to print: the caller's, else the model's, else numbers.

    Raises:
        DataError: there are more or fewer names than classes.
    """
    names = class_names or model.classes or [f"class {index}" for index in range(model.num_classes)]
    if len(names) != model.num_classes:
        raise DataError(
            "the class names do not fit the model",
            found=f"{len(names)} names",
            expected=f"{model.num_classes}",
            advice="name them with --classes FILE, one per line",
        )
    return list(names)
