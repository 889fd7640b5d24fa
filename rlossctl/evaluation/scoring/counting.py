"""What of a list is counted."""

from __future__ import annotations

from dataclasses import dataclass

from rlossctl.errors import UsageError


@dataclass(frozen=True)
class Counting:
    """Which pixels count, for which classes, and whether boundaries do too.

    Attributes:
        ignore: label of pixels that are not scored.
        interest: ids of the classes that means are taken over, or None for all.
        band: count boundaries, too, of this width as a share of the diagonal (0.02 in the paper), or None.
    """

    ignore: int = 255
    interest: tuple[int, ...] | None = None
    band: float | None = None

    def check(self, num_classes: int) -> None:
        """Raises UsageError where a model of so many classes cannot be counted so."""
        interest = self.interest
        if interest is not None and not (interest and set(interest) <= set(range(num_classes))):
            raise UsageError(
                "the classes of interest are not the model's",
                found=", ".join(map(str, interest)) or "none",
                expected=f"ids from 0 to {num_classes - 1}",
            )
        if interest is not None and set(interest) == {self.ignore}:
            raise UsageError("the only class of interest is ignored", found=f"class {self.ignore}")
        if self.band is not None and not 0 < self.band <= 1:
            raise UsageError(
                "impossible boundary width", found=self.band, expected="a share of the diagonal, such as 0.02"
            )
