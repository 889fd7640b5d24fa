"""What was written, compared with what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from rlossctl.errors import VerificationError

TOLERANCE = 1e-4  # of an output's largest magnitude, for float32 run by another library


@dataclass(frozen=True)
class Comparison:
    """One blob in one trial.

    Attributes:
        error: largest absolute difference divided by the reference's largest magnitude.
        disagreement: share of positions whose argmax over axis 1 differs (0 for blobs without channels).
    """

    trial: str
    blob: str
    shape: tuple[int, ...]
    absolute: float
    error: float
    disagreement: float


@dataclass(frozen=True)
class Verification:
    """The result of a conversion's check.

    Attributes:
        method: how the check was done, in words.
        tolerance: allowed `error`; 0 means bit for bit.
    """

    out: str
    method: str
    tolerance: float
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> Comparison:
        """The comparison of the largest error."""
        return max(self.comparisons, key=lambda comparison: comparison.error)

    def lines(self) -> list[str]:
        """For people: what was compared, and how far apart it was."""
        trials = len({comparison.trial for comparison in self.comparisons})
        if self.tolerance == 0:
            result = f"{len(self.comparisons)} blobs equal bit for bit"
        else:
            worst = self.worst
            result = (
                f"{trials} image sizes, largest error {worst.error:.2g} of the blob's magnitude "
                f"(allowed {self.tolerance:g}) in {worst.blob!r} at {worst.trial}, "
                f"argmax differs on {worst.disagreement:.4%}"
            )
        return [f"wrote {self.out}", f"verified: {self.method}: {result}", *self.notes]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def compare(trial: str, blob: str, found: np.ndarray, expected: np.ndarray) -> Comparison:
    """Compares a written model's value with the net's; another shape or a NaN counts as infinite error."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return Comparison(trial, blob, tuple(found.shape), np.inf, np.inf, 1.0)
    absolute = float(np.abs(found.astype(np.float64) - expected).max()) if found.size else 0.0
    magnitude = float(np.abs(expected).max()) if expected.size else 0.0
    disagreement = 0.0
    if expected.ndim == 4 and expected.shape[1] > 1:
        disagreement = float((found.argmax(1) != expected.argmax(1)).mean())
    error = absolute / magnitude if magnitude > 0 else absolute
    return Comparison(trial, blob, tuple(expected.shape), absolute, error, disagreement)


def accept(verification: Verification) -> Verification:
    """Returns the verification if every comparison is within tolerance.

    Raises:
        VerificationError: names the first blob that is not, with both figures.
    """
    for comparison in verification.comparisons:
        if not comparison.error <= verification.tolerance:
            raise VerificationError(
                f"blob {comparison.blob!r} differs from the net ({comparison.trial})",
                where=verification.out,
                found=f"relative error {comparison.error:.3g}, argmax differs on "
                f"{comparison.disagreement:.3%}, shape {comparison.shape}",
                expected=f"relative error of at most {verification.tolerance:g}",
                advice="nothing was written; report the prototxt and the versions of torch and onnxruntime",
            )
    return verification


def compare_params(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Iterable[Comparison]:
    """Blob by blob, for formats that hold weights only; a missing blob counts as infinite error."""
    for name, array in expected.items():
        if name not in found:
            yield Comparison("read back", name, (), np.inf, np.inf, 1.0)
        else:
            yield compare("read back", name, found[name], array)
