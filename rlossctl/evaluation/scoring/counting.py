"""Which pixels and classes to count."""

from __future__ import annotations

from dataclasses import dataclass

from rlossctl.errors import UsageError


@dataclass(frozen=True)
class Counting:
    """Which pixels count, for which classes, and whether to count boundaries.

    Attributes:
        ignore: label of pixels that are not scored.
        interest: ids of the classes to average over, or None for all.
        band: also count boundaries of this width, given as a share of the diagonal (0.02 in the paper); None
            leaves them out.
    """

    ignore: int = 255
    interest: tuple[int, ...] | None = None
    band: float | None = None

    def check(self, num_classes: int) -> None:
        """Raises UsageError if these settings do not fit a model with `num_classes` classes."""
        interest = self.interest
        if interest is not None and not (interest and set(interest) <= set(range(num_classes))):
            raise UsageError(
                "the model does not have these classes of interest",
                found=", ".join(map(str, interest)) or "none",
                expected=f"ids from 0 to {num_classes - 1}",
            )
        if interest is not None and set(interest) == {self.ignore}:
            raise UsageError("the only class of interest is ignored", found=f"class {self.ignore}")
        if self.band is not None and not 0 < self.band <= 1:
            raise UsageError(
                "impossible boundary width", found=self.band, expected="a share of the diagonal, such as 0.02"
            )
