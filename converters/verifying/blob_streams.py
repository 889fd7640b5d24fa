"""Models as streams of named blobs, whatever runs them, so that two models can be compared."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from rlossctl.converters.verifying.graph_pieces import Segments
from rlossctl.converters.verifying.index_blobs import Blob, choice_of, is_choice
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy
from rlossctl.net.values import named_values

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int | None, ...]


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

    def blobs(self, image: np.ndarray, names: Collection[str]) -> Iterator[Blob]:
        """Runs a batch (float32 [N, C, H, W]) and yields the named blobs in order of computation.

        Raises:
            NetError: the model does not take images of this size.
        """
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

    def doubled(self) -> TorchModel:
        """The same model in double precision."""
        twin = copy.copy(self)
        twin._deploy = copy.deepcopy(self._deploy).double()
        return twin

    def blobs(self, image: np.ndarray, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel."""
        places = {(v.number, v.top): v.name for v in self._values if v.name in names}
        walk = self._deploy.walk(torch.from_numpy(image))
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
        self.label = f"ONNX Runtime {onnxruntime.__version__} on the CPU"
        made = {name for node in model.graph.node for name in node.output}  # the others are weights
        self.values = {name: layer for name, layer in values.items() if name in made}
        self.outputs = [output.name for output in model.graph.output]
        sizes = model.graph.input[0].type.tensor_type.shape.dim
        self.input_shape: Shape = tuple(s.dim_value if s.HasField("dim_value") else None for s in sizes)
        self.preprocess = preprocess

    def blobs(self, image: np.ndarray, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel."""
        for name, array in self._segments.run(image, names):
            yield Blob(name, array)
