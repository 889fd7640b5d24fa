"""Warns about inputs of the CRF losses that give a number, but not the intended loss."""

from __future__ import annotations

import warnings

import torch

from rlossctl.errors import RlossWarning
from rlossctl.postponed import Numbers

LOOKS = 3  # how many calls to check: a check takes time
TOLERANCE, SHARE = 0.02, 0.01  # how far from 1 a pixel's scores may sum, and for which share of the pixels


class LossInputWarning(RlossWarning):
    """A loss gets inputs that are probably a mistake."""


class InputCheck:
    """Warns about suspicious inputs in the first calls of one loss, once for each kind.

    On a GPU a warning comes in the first later call that finds the answers there: nothing waits for them.

    Args:
        name: whose inputs they are, for the message.
        sigma_rgb: the loss's standard deviation in colour.
        sigma_name: what its user calls that.
        most_sigmas: how many of them an image may span.
        hint: what to think of, where the image's units are not the deviation's.
    """

    def __init__(
        self,
        name: str,
        sigma_rgb: float,
        sigma_name: str = "sigma_rgb",
        most_sigmas: float = float("inf"),
        hint: str = "is the image scaled or normalised? The usual deviations are meant for 0..255",
    ) -> None:
        self.name = name
        self.most_sigmas = most_sigmas
        self.hint = hint
        self.sigma_name = sigma_name
        self.sigma_rgb = sigma_rgb
        self.looks = 0
        self._told: set[str] = set()
        self._asked: list[Numbers] = []

    @torch.no_grad()
    def look(self, image: torch.Tensor, seg: torch.Tensor, mask: torch.Tensor) -> None:
        """Checks the inputs of one call: image [N, C, H, W], seg [N, K, H, W], mask [N, 1, H, W]."""
        if torch.compiler.is_compiling() or (self.looks >= LOOKS and not self._asked) or _is_captured(image):
            return
        if self.looks < LOOKS and _has_values(image, seg, mask):
            self.looks += 1
            self._asked.append(Numbers(_facts(image, seg, mask)))
        while self._asked and self._asked[0].there:
            self._judge(*self._asked.pop(0).read())

    def _judge(self, low: float, high: float, wrong: float, counted: float, masked: float) -> None:
        if not masked:
            self._warn("mask", "no pixel counts: the mask is empty, so the loss is 0 without a gradient")
        extent = high - low
        if 0 < extent < self.sigma_rgb:
            self._warn(
                "image",
                f"the image's values span {extent:.3g} only, less than the standard deviation in colour "
                f"({self.sigma_name} {self.sigma_rgb:g}), so that all colours count as alike: {self.hint}",
            )
        elif self.sigma_rgb and extent > self.most_sigmas * self.sigma_rgb:
            self._warn(
                "image",
                f"the image's values span {extent:.3g}, {extent / self.sigma_rgb:.0f} times the standard "
                f"deviation in colour ({self.sigma_name} {self.sigma_rgb:g}), so that no colours count as "
                f"alike: {self.hint}",
            )
        if counted and wrong > SHARE * counted:
            self._warn(
                "scores",
                f"the scores of {wrong / counted:.0%} of the pixels do not sum to 1, or some are below 0: "
                "give the output of a softmax over the classes",
            )

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(f"{self.name}: {text}", LossInputWarning, stacklevel=5)


def _facts(image: torch.Tensor, seg: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What `_judge` takes, as five float64 numbers on the inputs' device."""
    low, high = image.aminmax()
    counted = mask[:, 0] > 0
    off = ((seg.sum(1) - 1).abs() > TOLERANCE) | (seg < 0).any(1)
    counts = (off & counted).sum(), counted.sum(), mask.any()
    return torch.stack([value.double() for value in (low, high, *counts)])


def _is_captured(tensor: torch.Tensor) -> bool:
    """Whether a CUDA graph is being captured, which runs nothing yet."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _has_values(*tensors: torch.Tensor) -> bool:
    """False for meta tensors, and for tensors that torch invents to trace a program."""
    kinds = (torch.Tensor, torch.nn.Parameter)
    return all(type(tensor) in kinds and not tensor.is_meta and tensor.numel() for tensor in tensors)
