"""Compares the written model with the original blob by blob, so that an error can say where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rlossctl.errors import VerificationError
from rlossctl.words import counted

TOLERANCE = 1e-4  # as a share of a blob's largest magnitude, for float32 in another library
ALIKE = 4  # rounding is at most this many times the net's own: it depends on the order of sums
JUDGED = 0.02  # a larger error of the net itself cannot tell a fault from rounding; the layer alone can


@dataclass(frozen=True)
class Rounding:
    """How far a blob is from the net in double precision, as a share of its largest magnitude.

    Attributes:
        found: in the model.
        own: in the net itself, in single precision.
        alone: the error against the net in single precision if the model's layer reads the net's blobs; None
            if the model cannot be cut there.
    """

    found: float
    own: float
    alone: float | None = None

    def explains(self, tolerance: float) -> bool:
        """Whether the model is about as exact as the net itself, and its layer alone is right."""
        right = self.own <= JUDGED if self.alone is None else self.alone <= tolerance
        return right and self.found <= ALIKE * self.own < np.inf

    def text(self) -> str:
        """The errors, in words."""
        text = f"{self.found:.2g} from float64, where PyTorch's float32 is {self.own:.2g} from it"
        return text if self.alone is None else f"{text}, and {self.alone:.2g} if it reads PyTorch's blobs"


@dataclass(frozen=True)
class Comparison:
    """One blob in one trial.

    Attributes:
        trial: the image, in words.
        layer: the layer that computes the blob, if known.
        absolute: largest absolute difference.
        error: the same, divided by the reference's largest magnitude.
        disagreement: share of positions whose argmax over axis 1 differs (0 for blobs without channels, and
            for inner blobs within TOLERANCE, of which it is not counted).
        position: where the difference is largest; `found` and `expected` are the values there.
        rounding: for a blob beyond the tolerance, what the net in double precision says.
    """

    trial: str
    blob: str
    shape: tuple[int, ...]
    absolute: float
    error: float
    disagreement: float
    layer: str = ""
    position: tuple[int, ...] = ()
    found: float | None = None
    expected: float | None = None
    rounding: Rounding | None = None

    def place(self) -> str:
        """The blob and its layer, in words."""
        return f"blob {self.blob!r}" + (f" of layer {self.layer!r}" if self.layer else "")

    def values(self) -> str:
        """Both values at the largest difference, in words."""
        if self.found is None:
            return f"shape {self.shape}"
        return f"{self.found:.9g} instead of {self.expected:.9g} at {list(self.position)}"

    def accepted(self, tolerance: float) -> bool:
        """Whether the two values are equal, but for rounding."""
        return self.error <= tolerance or (self.rounding is not None and self.rounding.explains(tolerance))


@dataclass(frozen=True)
class Noise:
    """The signal-to-noise ratio of one blob, in dB: 20 means noise of a tenth of the signal's magnitude.

    Attributes:
        whole: in the reduced model, with the noise of all layers before.
        alone: if the layer reads float32's blobs, so that the noise is its own.
    """

    layer: str
    blob: str
    whole: float
    alone: float


@dataclass(frozen=True)
class Verification:
    """The result of checking a conversion.

    Attributes:
        method: how it was checked, in words.
        tolerance: the largest `error` allowed; 0 means bit for bit.
        comparisons: in order; empty if nothing was checked.
        outputs: blobs that the model returns.
        noise: what a lower precision adds to each blob.
    """

    out: str
    method: str
    tolerance: float
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    noise: tuple[Noise, ...] = ()

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest error."""
        return max(self.comparisons, key=lambda comparison: comparison.error)

    def lines(self) -> list[str]:
        """The result as text: what was compared, and how much it differed."""
        return [f"wrote {self.out}", self._result(), *self.notes]

    def _result(self) -> str:
        if not self.comparisons:
            return f"NOT verified: {self.method}"
        if self.tolerance == 0:
            return f"verified: {self.method}: {counted(len(self.comparisons), 'blob')} equal bit for bit"
        return f"verified: {self.method}: {summary(self.comparisons, self.tolerance, self.outputs)}"

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return asdict(self)


def summary(comparisons: Iterable[Comparison], tolerance: float, outputs: Iterable[str] = ()) -> str:
    """One sentence on how much two models differ."""
    comparisons = tuple(comparisons)
    rounded = [entry for entry in comparisons if entry.error > tolerance and entry.accepted(tolerance)]
    worst = max(
        (entry for entry in comparisons if entry not in rounded), key=lambda entry: entry.error, default=None
    )
    blobs = len({comparison.blob for comparison in comparisons})
    trials = len({comparison.trial for comparison in comparisons})
    chosen = [entry for entry in comparisons if entry.blob in set(outputs)]
    argmax = "".join(
        f"; argmax of {blob!r} differs on {max(e.disagreement for e in chosen if e.blob == blob):.4%}"
        for blob in dict.fromkeys(entry.blob for entry in chosen)
    )
    largest = (
        f"; largest error {worst.error:.2g} of the blob's magnitude (allowed {tolerance:g}), "
        f"{worst.absolute:.2g} absolute, in {worst.place()} at {worst.trial}"
        if worst
        else ""
    )
    return f"{counted(blobs, 'blob')} on {counted(trials, 'image')}{largest}{_rounded(rounded)}{argmax}"


def _rounded(entries: Sequence[Comparison]) -> str:
    """What was accepted beyond the tolerance."""
    if not entries:
        return ""
    worst = max(entries, key=lambda entry: entry.error)
    assert worst.rounding is not None
    blobs = counted(len({entry.blob for entry in entries}), "blob")
    return (
        f"; {blobs} differ by more, up to {worst.error:.2g} in {worst.place()}, by rounding alone: "
        f"{worst.rounding.text()}"
    )


def compare(
    trial: str, blob: str, found: np.ndarray, expected: np.ndarray, layer: str = "", *, inner: bool = False
) -> Comparison:
    """Compares a model's value with the reference's; a different shape or NaN is an infinite error.

    Args:
        inner: the blob is not an output, so that its argmax matters only beyond TOLERANCE.
    """
    if found.shape != expected.shape:
        return Comparison(trial, blob, tuple(found.shape), np.inf, np.inf, 1.0, layer)
    if not expected.size:
        return Comparison(trial, blob, tuple(expected.shape), 0.0, 0.0, 0.0, layer)
    if expected.dtype.kind in "iub":
        found, expected = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.asarray(np.abs(found - expected))  # an array even for a single value
    index = np.unravel_index(int(difference.argmax()), difference.shape)  # NaN counts as the largest
    absolute = float(difference[index]) if np.isfinite(difference[index]) else np.inf
    magnitude = float(max(expected.max(), -expected.min()))
    error = absolute / magnitude if magnitude > 0 else absolute
    disagreement = 0.0
    if expected.ndim > 1 and expected.shape[1] > 1 and not (inner and error <= TOLERANCE):
        disagreement = float((found.argmax(1) != expected.argmax(1)).mean())
    return Comparison(
        trial,
        blob,
        tuple(expected.shape),
        absolute,
        error,
        disagreement,
        layer,
        tuple(int(place) for place in index),
        float(found[index]),
        float(expected[index]),
    )


def first_bad(comparisons: Iterable[Comparison], tolerance: float) -> Comparison | None:
    """The first comparison that is neither within tolerance nor explained by rounding."""
    return next((entry for entry in comparisons if not entry.accepted(tolerance)), None)


def accept(verification: Verification) -> Verification:
    """Returns the verification if every comparison is within tolerance, or explained by rounding.

    Raises:
        VerificationError: a blob is not; the error names the first one, its layer and both values.
    """
    bad = first_bad(verification.comparisons, verification.tolerance)
    if bad is not None:
        advice = "nothing was written; report the prototxt and the versions of torch and onnxruntime"
        if bad.expected is not None and not np.isfinite(bad.expected):
            advice = f"nothing was written: the net itself gives {bad.expected}; look at its weights"
        raise mismatch(bad, verification.tolerance, verification.out, "the net", advice)
    return verification


def mismatch(
    bad: Comparison, tolerance: float, where: str, reference: str, advice: str | None = None
) -> VerificationError:
    """The error for the first bad blob."""
    return VerificationError(
        f"{bad.place()} is the first to differ from {reference} ({bad.trial})",
        where=where,
        found=f"{bad.values()}: relative error {bad.error:.3g}, argmax differs on {bad.disagreement:.3%}, "
        f"shape {bad.shape}" + (f"; {bad.rounding.text()}" if bad.rounding else ""),
        expected=f"an error of at most {tolerance:g} of the blob's largest magnitude",
        advice=advice,
    )


def compare_params(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Iterator[Comparison]:
    """Compares weights blob by blob, for formats with only weights; a missing blob is an infinite error."""
    for name, array in expected.items():
        if name not in found:
            yield Comparison("read back", name, (), np.inf, np.inf, 1.0)
        else:
            yield compare("read back", name, found[name], array)
