"""`rlossctl verify`: opens any two models as streams of blobs and compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rlossctl.converters.opening import open_blobs, open_net, open_part
from rlossctl.converters.verifying import trials
from rlossctl.converters.verifying.blob_streams import (
    BlobModel,
    CutModel,
    OnnxModel,
    Shape,
    TorchModel,
)
from rlossctl.converters.verifying.comparison import Comparison, first_bad, mismatch, summary
from rlossctl.converters.verifying.reduction import Reduced, Reduction, compare_parts, read_inputs
from rlossctl.converters.verifying.rounding import errors_of, judged
from rlossctl.errors import NetError, UsageError
from rlossctl.net.origin import NetOrigin
from rlossctl.progress import stage


@dataclass(frozen=True)
class Compared:
    """How much two models differ.

    Attributes:
        reference, candidate: their names and what ran them.
        missing: how many of the reference's blobs the candidate lacks.
        comparisons: every common blob on every image, in order.
        reduced: the smallest part that still differs, if it was wanted.
    """

    reference: str
    candidate: str
    tolerance: float
    missing: int
    comparisons: tuple[Comparison, ...]
    outputs: tuple[str, ...]
    reduced: Reduced | None = None

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        lines = [f"A: {self.reference}", f"B: {self.candidate}"]
        if self.missing:
            lines.append(f"{self.missing} blobs of A are missing in B")
        lines.append(summary(self.comparisons, self.tolerance, self.outputs))
        return [*lines, *(self.reduced.lines() if self.reduced else ())]

    def check(self) -> None:
        """Raises VerificationError for the first blob that is neither within tolerance nor only rounded."""
        bad = first_bad(self.comparisons, self.tolerance)
        if bad is not None:
            raise mismatch(bad, self.tolerance, self.candidate, self.reference)

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """How two models are compared.

    Attributes:
        tolerance: the largest difference allowed, as a share of the blob's largest magnitude.
        images, root: a list of photos, and its root folder.
        inputs: a file with the blobs that two parts of nets read, instead of images.
        runtime: what runs the candidate: "own" (PyTorch or ONNX Runtime), or "opencv" (its Caffe importer).
        reduce: a folder for the smallest part that still differs.
    """

    tolerance: float
    images: str | None = None
    root: str = ""
    inputs: str | None = None
    runtime: str = "own"
    reduce: Path | None = None


def compare_models(reference: NetOrigin, candidate: NetOrigin, wanted: Wanted) -> Compared:
    """Compares the blobs that have the same name in two models, on random images and on a list's photos.

    Args:
        reference, candidate: a prototxt and its weights, or one file in the prototxt's place: .onnx,
            .safetensors, .pt. With `allow_missing`, layers without weights have their fillers' values.

    Raises:
        RlossError: a file cannot be opened, or the two models have no blob in common.
    """
    if wanted.inputs:
        return _compare_parts(reference, candidate, wanted)
    first = open_blobs(reference)
    if wanted.runtime == "opencv":
        from rlossctl.converters.verifying.opencv import OpenCvModel

        second: BlobModel = OpenCvModel(open_net(candidate))
    else:
        second = open_blobs(candidate)
    return _compare(first, second, wanted, (_name(reference), _name(candidate)))


def _compare(first: BlobModel, second: BlobModel, wanted: Wanted, names: tuple[str, str]) -> Compared:
    preprocess = first.preprocess or second.preprocess
    shape = _common_shape(first, second)

    def every() -> Iterator[trials.Trial]:
        yield from trials.random_trials(shape, preprocess)
        if wanted.images:
            yield from trials.photo_trials(wanted.images, wanted.root, preprocess, shape)

    def named(name: str) -> trials.Trial:
        return next(trial for trial in every() if trial.name == name)

    found = tuple(trials.compare_models(first, second, every()))
    if isinstance(first, TorchModel):
        net = first
        found = tuple(
            judged(found, wanted.tolerance, lambda name, blobs: errors_of(net, second, named(name), blobs))
        )
    bad = first_bad(found, wanted.tolerance)
    compared = Compared(
        f"{names[0]} ({first.label})",
        f"{names[1]} ({second.label})",
        wanted.tolerance,
        len(set(first.values) - set(second.values)),
        found,
        tuple(name for name in first.outputs if name in second.values),
    )
    if bad is None:
        return compared
    if wanted.reduce is not None:
        with stage("looking for the smallest part that differs"):
            reduction = Reduction(_cut(first), _cut(second), named(bad.trial), bad, wanted.tolerance)
            return replace(compared, reduced=reduction.write(wanted.reduce))
    return compared


def _cut(model: BlobModel) -> CutModel:
    if isinstance(model, (TorchModel, OnnxModel)):
        return model
    raise UsageError("--reduce cannot cut this model", found=model.label, advice="leave out --runtime")


def _compare_parts(reference: NetOrigin, candidate: NetOrigin, wanted: Wanted) -> Compared:
    """Compares two parts that `--reduce` wrote."""
    first, second = open_part(reference), open_part(candidate)
    arrays = read_inputs(str(wanted.inputs), (first, second))
    found = compare_parts(first, second, arrays, str(wanted.inputs))
    if not found:
        outputs = f"{', '.join(first.outputs)}; {', '.join(second.outputs)}"
        raise UsageError("the two models have no output in common", found=outputs)
    own, other = f"{_name(reference)} ({first.label})", f"{_name(candidate)} ({second.label})"
    return Compared(own, other, wanted.tolerance, 0, tuple(found), tuple(first.outputs))


def _name(origin: NetOrigin) -> str:
    return ",".join(str(file) for file in (origin.prototxt, origin.weights) if file)


def _common_shape(first: BlobModel, second: BlobModel) -> Shape:
    """The input shape that both take, None for sizes that may vary."""
    shapes = first.input_shape, second.input_shape
    if len(shapes[0]) != len(shapes[1]) or any(a and b and a != b for a, b in zip(*shapes, strict=True)):
        texts = [" x ".join(str(size or "any") for size in shape) for shape in shapes]
        raise NetError(
            "the two models take images of different sizes",
            found=f"{texts[0]} and {texts[1]}",
            expected="equal numbers of channels, and the same sizes if both are fixed",
            advice="compare two forms of one net",
        )
    return tuple(a or b for a, b in zip(*shapes, strict=True))
