"""Models as streams of named blobs, whatever runs them, so that two models can be compared."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn

from rlossctl.converters.verifying.graph_pieces import Segments, cut_graph, inputs_of
from rlossctl.converters.verifying.index_blobs import Blob, choice_of, is_choice
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy
from rlossctl.net.layer import Layer
from rlossctl.net.saved import as_array
from rlossctl.net.values import cut, named_layers, named_values
from rlossctl.net.walk import LayerNode, last_readers, walk
from rlossctl.prototxt import to_text, wire
from rlossctl.prototxt.messages import NetParameter
from rlossctl.weights import LayerRecord, write_caffemodel

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int | None, ...]
Feed = np.ndarray | Mapping[str, np.ndarray]  # a batch of images, or what a part of a net reads, by name


class BlobModel(Protocol):
    """A model that shows its intermediate results.

    Attributes:
        label: what runs it, in words.
        values: name of every blob that it can show -> name of its layer, in order of computation.
        outputs: the blobs that it returns.
        input_shape: (N, C, H, W), None for sizes that may vary.
        preprocess: how photos become its input, or None if it does not say.
    """

    label: str
    values: dict[str, str]
    outputs: list[str]
    input_shape: Shape
    preprocess: Preprocess | None

    def blobs(self, image: Feed, names: Collection[str]) -> Iterator[Blob]:
        """Runs a batch (float32 [N, C, H, W]) and yields the named blobs in order of computation.

        Raises:
            NetError: the model does not take images of this size.
        """
        ...


class CutModel(BlobModel, Protocol):
    """A model of which a part can be run alone."""

    def part(self, target: str, given: Collection[str]) -> Part:
        """The part that computes one blob from given ones, or from the image."""
        ...


class Part(BlobModel, Protocol):
    """A part of a model.

    Attributes:
        feeds: the blobs that it reads.
    """

    feeds: list[str]

    def save(self, folder: Path, stem: str, shapes: Mapping[str, Sequence[int]]) -> str:
        """Writes files called `stem`.*, and returns the argument that `rlossctl verify` takes for them."""
        ...


class TorchModel:
    """A net's deployed part, run layer by layer. A blob is dropped after its last reader.

    Attributes:
        choices: names of the blobs that come with a `Choice`.
    """

    def __init__(self, deploy: Deploy, preprocess: Preprocess | None, *, dynamic: bool) -> None:
        self._deploy = deploy
        self._values = named_values(deploy)
        self.label = f"PyTorch {torch.__version__}"
        self.values = {value.name: value.layer for value in self._values}
        self.choices = {v.name for v in self._values if is_choice(deploy.layers[v.number], v.top)}
        self.outputs = list(deploy.output_names)
        channels, *size = deploy.input_shape[1:]
        self.input_shape: Shape = (None, channels, *((None, None) if dynamic else size))
        self.preprocess = preprocess
        self._type = torch.float32

    def doubled(self) -> TorchModel:
        """The same model in double precision, also the images that it is given."""
        twin = copy.copy(self)
        twin._type = torch.float64
        layers = self._deploy.layers
        twin._deploy = self._deploy.replaced([LayerNode(one.node, _doubled(one.module)) for one in layers])
        return twin

    def part(self, target: str, given: Collection[str]) -> TorchPart:
        """See CutModel."""
        known = {self._deploy.input_name, *given}
        return TorchPart(*cut(named_layers(self._deploy, self._values), target, known), target)

    def blobs(self, image: Feed, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel."""
        assert isinstance(image, np.ndarray)
        places = {(v.number, v.top): v.name for v in self._values if v.name in names}
        walk = self._deploy.walk(torch.from_numpy(image).to(self._type))
        while True:
            try:
                with torch.no_grad():
                    step = next(walk)
            except StopIteration:
                return
            except RuntimeError as error:  # torch raises it for sizes that do not match
                raise NetError(
                    "the net does not take images of this size",
                    found=f"{str(error).splitlines()[0]} (batch of shape {image.shape})",
                    expected="a size that the net's layers agree on",
                ) from error
            for top, tensor in enumerate(step.tops):
                if (step.number, top) in places:
                    name = places.pop((step.number, top))
                    yield Blob(name, tensor.detach().numpy(), choice_of(step, top))


def _doubled(layer: Layer) -> Layer:
    """A copy in double precision; not by `copy`, since some types choose their class by the setup."""
    twin: Layer = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__)
    twin._parameters = {
        name: blob if blob is None else nn.Parameter(blob.detach().double(), requires_grad=False)
        for name, blob in layer._parameters.items()
    }
    twin._buffers = {name: blob if blob is None else blob.double() for name, blob in layer._buffers.items()}
    return twin


class TorchPart:
    """Layers of a net that read and make blobs of different names; see Part."""

    preprocess: Preprocess | None = None

    def __init__(self, layers: Sequence[LayerNode], feeds: Sequence[str], target: str) -> None:
        self._layers, self.feeds, self.outputs = list(layers), list(feeds), [target]
        self.label = f"PyTorch {torch.__version__}"
        self.values = {top: layer.name for layer in self._layers for top in layer.tops}
        self.input_shape: Shape = ()

    def blobs(self, image: Feed, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel."""
        assert not isinstance(image, np.ndarray)
        blobs = {name: torch.from_numpy(np.array(image[name])) for name in self.feeds}
        with torch.no_grad():
            for step in walk(enumerate(self._layers), blobs, last_readers(self._layers)):
                for index, (name, top) in enumerate(zip(step.layer.tops, step.tops, strict=True)):
                    if name in names:
                        yield Blob(name, top.numpy(), choice_of(step, index))

    def save(self, folder: Path, stem: str, shapes: Mapping[str, Sequence[int]]) -> str:
        """See Part: a prototxt whose inputs are the feeds, and its weights."""
        param = NetParameter(name=stem)
        for name in self.feeds:
            param.input.append(name)
            param.input_shape.add().dim.extend(shapes[name])
        records = []
        for layer in self._layers:
            message = param.layer.add()
            message.CopyFrom(layer.message)
            message.bottom[:], message.top[:] = layer.bottoms, layer.tops
            dialect = layer.module.setup.dialect
            records.append(
                LayerRecord(wire.encode_layer(message, dialect), list(map(as_array, layer.module.blobs)), [])
            )
        (folder / f"{stem}.prototxt").write_text(to_text(param))
        write_caffemodel(folder / f"{stem}.caffemodel", stem, iter(records))
        return f"{stem}.prototxt,{stem}.caffemodel"


class OnnxModel:
    """An ONNX graph, run by ONNX Runtime on the CPU a few nodes at a time."""

    def __init__(
        self,
        model: ModelProto,
        values: dict[str, str],
        preprocess: Preprocess | None = None,
        folder: str = "",
    ) -> None:
        import onnxruntime

        self._segments = Segments(model, list(values), folder)
        self._model, self._folder = model, folder
        self.feeds = [entry.name for entry in inputs_of(model)]
        self.label = f"ONNX Runtime {onnxruntime.__version__} on the CPU"
        made = {name for node in model.graph.node for name in node.output}  # the others are weights
        self.values = {name: layer for name, layer in values.items() if name in made}
        self.outputs = [output.name for output in model.graph.output]
        sizes = model.graph.input[0].type.tensor_type.shape.dim
        self.input_shape: Shape = tuple(s.dim_value if s.HasField("dim_value") else None for s in sizes)
        self.preprocess = preprocess

    def blobs(self, image: Feed, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel."""
        feeds = {self.feeds[0]: image} if isinstance(image, np.ndarray) else image
        for name, array in self._segments.run(feeds, names):
            yield Blob(name, array)

    def part(self, target: str, given: Collection[str]) -> OnnxModel:
        """See CutModel."""
        known = {*self.feeds, *given}
        return OnnxModel(
            cut_graph(self._model, target, known), {target: self.values[target]}, None, self._folder
        )

    def save(self, folder: Path, stem: str, shapes: Mapping[str, Sequence[int]]) -> str:
        """See Part."""
        import onnx

        model = type(self._model)()
        model.CopyFrom(self._model)
        onnx.load_external_data_for_model(model, self._folder)
        onnx.save_model(model, folder / f"{stem}.onnx")
        return f"{stem}.onnx"
