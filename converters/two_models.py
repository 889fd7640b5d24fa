"""`rlossctl verify`: opens any two models as streams of blobs and compares them."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.converters.nets.implied_net import implied_net
from rlossctl.converters.nets.inference_net import open_trained
from rlossctl.converters.verifying import trials
from rlossctl.converters.verifying.blob_streams import BlobModel, OnnxModel, Shape, TorchModel
from rlossctl.converters.verifying.comparison import Comparison, first_bad, mismatch, summary
from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.errors import NetError, UsageError
from rlossctl.net import Net
from rlossctl.net.coverage import MissingWeights
from rlossctl.net.deploy import Deploy, preprocess_of, takes_any_size
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds
from rlossctl.weights.onnxfile import load_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST_INPUT = 2**28  # the most values in a batch


@dataclass(frozen=True)
class Compared:
    """How much two models differ.

    Attributes:
        reference, candidate: their names and what ran them.
        missing: how many of the reference's blobs the candidate lacks.
        comparisons: every common blob on every image, in order.
    """

    reference: str
    candidate: str
    tolerance: float
    missing: int
    comparisons: tuple[Comparison, ...]
    outputs: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        lines = [f"A: {self.reference}", f"B: {self.candidate}"]
        if self.missing:
            lines.append(f"{self.missing} blobs of A are missing in B")
        return [*lines, summary(self.comparisons, self.tolerance, self.outputs)]

    def check(self) -> None:
        """Raises VerificationError for the first blob that is not within tolerance."""
        bad = first_bad(self.comparisons, self.tolerance)
        if bad is not None:
            raise mismatch(bad, self.tolerance, self.candidate, self.reference)

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return asdict(self)


def compare_models(
    reference: NetOrigin,
    candidate: NetOrigin,
    *,
    images: str | None = None,
    root: str = "",
    runtime: str = "own",
    tolerance: float,
) -> Compared:
    """Compares the blobs that have the same name in two models, on random images and on a list's photos.

    Args:
        reference, candidate: a prototxt and its weights, or one file in the prototxt's place: .onnx,
            .safetensors, .pt. With `allow_missing`, layers without weights have their fillers' values.
        images, root: a list of photos, and its root folder.
        runtime: what runs the candidate: "own" (PyTorch or ONNX Runtime), or "opencv" (its Caffe importer).
        tolerance: the largest difference allowed, as a share of the blob's largest magnitude.

    Raises:
        RlossError: a file cannot be opened, or the two models have no blob in common.
    """
    first = open_blobs(reference)
    if runtime == "opencv":
        from rlossctl.converters.verifying.opencv import OpenCvModel

        second: BlobModel = OpenCvModel(open_net(candidate))
    else:
        second = open_blobs(candidate)
    preprocess = first.preprocess or second.preprocess
    shape = _common_shape(first, second)
    drawn = trials.random_trials(shape, preprocess)
    listed = trials.photo_trials(images, root, preprocess, shape) if images else ()
    found = tuple(trials.compare_models(first, second, chain(drawn, listed)))
    return Compared(
        f"{_name(reference)} ({first.label})",
        f"{_name(candidate)} ({second.label})",
        tolerance,
        len(set(first.values) - set(second.values)),
        found,
        tuple(name for name in first.outputs if name in second.values),
    )


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


def named_files(named: str) -> tuple[str, str | None]:
    """The file and the weights in `NET.prototxt,WEIGHTS`; a name with a comma of its own is one file."""
    file, comma, weights = named.partition(",")
    return (file, weights) if comma and not Path(named).exists() else (named, None)


def open_blobs(origin: NetOrigin) -> BlobModel:
    """Opens a model of any format as a stream of blobs: a prototxt with its weights, or one file with both.

    Raises:
        UsageError: the net or the weights are missing.
    """
    if kinds.by_name(origin.weights or origin.prototxt) != kinds.ONNX:
        return torch_model(open_net(origin))
    if origin.weights:
        raise UsageError(
            "an ONNX model already has its net",
            where=f"{origin.prototxt},{origin.weights}",
            found=str(origin.prototxt),
            advice=f"write only {origin.weights}",
        )
    return open_onnx(Path(origin.prototxt))


def torch_model(net: Net) -> TorchModel:
    """A net's deployed part, run by PyTorch."""
    deploy = Deploy(net).eval()
    return TorchModel(deploy, preprocess_of(net, deploy), dynamic=takes_any_size(deploy))


def open_onnx(path: Path) -> OnnxModel:
    """Opens an ONNX file with the blobs named in its metadata, else with every value of its graph.

    Raises:
        WeightsError: the file is missing or not a model, or its weights are outside its folder.
        NetError: the model takes something other than one batch of images, or takes photos.
    """
    model = load_onnx(path)
    text = {entry.key: entry.value for entry in model.metadata_props}.get(KEY)
    card = ModelCard.from_json(text, path) if text else ModelCard()
    if card.preprocessing_inside:
        raise NetError(
            "takes photos, but the other model takes the net's input",
            where=path,
            found="a model with the preprocessing inside",
            expected="models with one input",
            advice="compare them on labelled images (rlossctl eval), or convert without --with-preprocessing",
        )
    _check_input(path, model)
    blobs = card.blobs or {name: node.name for node in model.graph.node for name in node.output if name}
    return OnnxModel(model, blobs, card.preprocess, str(path.parent))


def _check_input(path: Path, model: ModelProto) -> None:
    """Raises NetError unless the input is one float32 batch of images of a possible size."""
    from onnx import TensorProto

    weights = {entry.name for entry in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    kinds_found = [value.type.tensor_type for value in inputs]
    sizes = [[size.dim_value for size in kind.shape.dim] for kind in kinds_found]
    if (
        len(inputs) != 1
        or kinds_found[0].elem_type != TensorProto.FLOAT
        or not sizes[0]
        or min(sizes[0]) < 0
        or math.prod(size or 1 for size in sizes[0]) > LARGEST_INPUT
    ):
        names = (TensorProto.DataType.Name(kind.elem_type).lower() for kind in kinds_found)
        raise NetError(
            "takes something other than a batch of images",
            where=path,
            found=", ".join(
                f"{value.name} {name} {shape}"
                for value, name, shape in zip(inputs, names, sizes, strict=True)
            )
            or "no input",
            expected="one input, float32 (N, C, H, W)",
            advice="compare models written by `rlossctl convert`",
        )


def _opened(origin: NetOrigin) -> Net:
    trained = open_trained(origin, whole=False)
    if trained.untrained:
        text = f"layers without weights in {origin.weights}: {', '.join(trained.untrained)}"
        warnings.warn(text, MissingWeights, stacklevel=4)
    return trained.net


def open_net(origin: NetOrigin) -> Net:
    """Opens a net with its weights, or a weights file that implies its net.

    Raises:
        UsageError: the net or the weights are missing.
    """
    if origin.weights:
        return _opened(origin)
    if kinds.by_name(origin.prototxt) != kinds.PROTOTXT:
        with implied_net(origin) as implied:
            if implied is not None:
                return _opened(implied.origin)
    raise UsageError(
        "is only half a model",
        where=origin.prototxt,
        expected="NET.prototxt,WEIGHTS in one argument, an .onnx file, or weights that carry their net",
        advice="join both file names with a comma, without a space",
    )
