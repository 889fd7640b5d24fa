"""The part of a net that maps an image to scores. This part is exported and evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Literal

from torch import Tensor, nn

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.net.layer import DataLayer, Shape
from rlossctl.net.net import Net
from rlossctl.net.tops import sized
from rlossctl.net.walk import LayerNode, Step, last_readers, walk

FIXED_SIZE_TYPES = ("DualDecompositionCRF", "InnerProduct", "SPP", "Upsample")  # made for one input size


class Deploy(nn.Module):
    """The layers between a net's image and some of its blobs, without data layers, losses and metrics.

    Args:
        net: the net; its modules are used, not copied.
        outputs: blobs to return; by default the scores (see `score_blobs`).
        start: the blob to start from; by default the image.

    Attributes:
        input_name: the image blob, (N, C, H, W), or `start`.
        output_names: the blobs that a call returns, in order.
        layers: the remaining layers.
    """

    def __init__(self, net: Net, outputs: Sequence[str] | None = None, start: str | None = None) -> None:
        super().__init__()
        self.input_name = start or image_blob(net)
        self.output_names = list(outputs or score_blobs(net))
        unknown = [name for name in (self.input_name, *self.output_names) if name not in net.shapes]
        if unknown:
            raise NetError(
                f"has no blob {unknown[0]!r}",
                where=net.file.path,
                found=unknown[0],
                expected=", ".join(net.shapes),
            )
        needed = net.layers_for(self.output_names)
        if start:
            needed = {number for number in needed if number > _maker(net, start)}
        layers = [layer for number, layer in enumerate(net.layers) if number in needed]
        self._take(layer for layer in layers if not isinstance(layer.module, DataLayer))
        self.input_shape = net.shapes[self.input_name]
        self._check_inputs(net)

    def replaced(self, layers: Sequence[LayerNode]) -> Deploy:
        """The same function of the image, computed by other layers."""
        twin = Deploy.__new__(Deploy)
        nn.Module.__init__(twin)
        twin.input_name, twin.input_shape = self.input_name, self.input_shape
        twin.output_names = list(self.output_names)
        twin._take(layers)
        return twin.train(self.training)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps an image, (N, C, H, W) as the data layer would give it, to the output blobs."""
        return self.run(image, self.output_names)

    def run(self, image: Tensor, names: Sequence[str]) -> tuple[Tensor, ...]:
        """The final values of the blobs in `names`, which may be any blobs of this part of the net."""
        blobs = {self.input_name: image}
        for _ in walk(enumerate(self.layers), blobs, self._last_reader, kept=names):
            pass
        return tuple(blobs[name] for name in names)

    def walk(self, image: Tensor, blobs: dict[str, Tensor] | None = None) -> Iterator[Step]:
        """The same pass layer by layer: gives every layer's bottoms and tops; the tops may be replaced.

        Args:
            blobs: gets the blobs that later layers read.
        """
        blobs = {} if blobs is None else blobs
        blobs[self.input_name] = image
        return walk(enumerate(self.layers), blobs, self._last_reader)

    def _take(self, layers: Iterable[LayerNode]) -> None:
        self.layers = list(layers)
        self.modules_in_order = nn.ModuleList(layer.module for layer in self.layers)
        self._last_reader = last_readers(self.layers)

    def _check_inputs(self, net: Net) -> None:
        known = {self.input_name}
        for layer in self.layers:
            for bottom in layer.bottoms:
                if bottom not in known:
                    raise layer.module.error(
                        f"needs {bottom!r}, so the outputs cannot be computed from {self.input_name!r} alone",
                        found=", ".join(self.output_names),
                        expected=f"outputs that depend only on {self.input_name!r}",
                        advice="name other outputs (--output BLOB) or another input (--input BLOB)",
                    )
            known.update(layer.tops)


def _maker(net: Net, blob: str) -> int:
    """The number of the last layer that computes a blob; -1 for an input."""
    return max((number for number, layer in enumerate(net.layers) if blob in layer.tops), default=-1)


def takes_any_size(deploy: Deploy) -> bool:
    """Whether the net takes images of any size: no layer needs a fixed size."""
    return not any(layer.type in FIXED_SIZE_TYPES for layer in deploy.layers)


def only_size(deploy: Deploy) -> tuple[int, int] | None:
    """(height, width) of the only images that the net takes, from its input; None if it takes others."""
    if takes_any_size(deploy):
        return None
    batch, channels, height, width = deploy.input_shape
    try:
        own, twice = (
            _scores_at(deploy, (batch, channels, height * factor, width * factor)) for factor in (1, 2)
        )
    except (RuntimeError, NetError):
        return height, width
    grown = [2 * side for side in own[2:]] == list(twice[2:])
    return None if grown else (height, width)


def image_blob(net: Net) -> str:
    """The image: the first top of the first data layer, or the first net-level input."""
    for layer in net.layers:
        if isinstance(layer.module, DataLayer):
            return layer.tops[0]
    if net.inputs:
        return net.inputs[0]
    raise NetError(
        "has no image input",
        where=net.file.path,
        expected="a data layer, or `input` fields",
        advice="check the phase: its data layer may be excluded in this one",
    )


def score_blobs(net: Net) -> list[str]:
    """The blobs a user wants from a net: the scores that its first metric reads, or else its losses, or else
    the outputs that need no labels. Of several losses' scores these are the `main_scores`."""
    for role in ("metric", "loss"):
        readers = [layer.bottoms[0] for layer in net.layers if layer.node.kind.role == role]
        if readers:
            return [readers[0] if role == "metric" else main_scores(net, readers)]
    image = image_blob(net)
    return [name for name in net.outputs if name != image and _depends_on_image_only(net, name, image)]


def main_scores(net: Net, names: Sequence[str]) -> str:
    """The blob that is computed from all the others, as HED's fused scores are from its side outputs (or from
    what their Sigmoid reads); else the first, as in the original multi-scale nets."""
    before = {name: _before_activation(net, name) for name in names}
    for name in names if len(before) > 1 else ():
        sources = {bottom for number in net.layers_for([name]) for bottom in net.layers[number].bottoms}
        if all(sources & before[other] for other in before if other != name):
            return name
    return names[0]


def _before_activation(net: Net, name: str) -> set[str]:
    maker = next((layer for layer in reversed(net.layers) if name in layer.tops), None)
    return {name, *(maker.bottoms if maker is not None and maker.type in _HEADS else ())}


def loss_types(net: Net) -> list[str]:
    """The types of the layers whose tops make up the net's loss, each once, in order."""
    return list(dict.fromkeys(layer.type for layer in net.layers if any(layer.node.loss_weights)))


Head = Literal["scores", "softmax", "sigmoid"]
_HEADS: dict[str, Head] = {"Softmax": "softmax", "Sigmoid": "sigmoid"}


def own_head(deploy: Deploy) -> Head:
    """What the first output holds: scores, or probabilities from the net's own last layer."""
    name = deploy.output_names[0]
    maker = next((layer.type for layer in reversed(deploy.layers) if name in layer.tops), "")
    return _HEADS.get(maker, "scores")


def _depends_on_image_only(net: Net, blob: str, image: str) -> bool:
    layers: list[LayerNode] = [net.layers[number] for number in sorted(net.layers_for([blob]))]
    known = {image}
    for layer in layers:
        if isinstance(layer.module, DataLayer):
            continue
        if not known.issuperset(layer.bottoms):
            return False
        known.update(layer.tops)
    return blob in known


# Data layers that read photos of any size. With a mean for every pixel (mean_file) all photos have one size.
_PHOTO_LAYERS = ("ImageSegData", "DenseImageData", "ImageLabelmapData", "ImageData")


def preprocess_of(net: Net, deploy: Deploy) -> Preprocess | None:
    """How the net's own data layer prepares photos, with the net's size rule; None without such a layer."""
    for layer in net.layers:
        photos = layer.type in _PHOTO_LAYERS and deploy.input_name in layer.tops
        if photos and not layer.message.transform_param.mean_file:
            stride, offset = size_rule(deploy)
            return Preprocess.from_layer(layer.message, stride=stride, offset=offset)
    return None


def size_rule(deploy: Deploy, largest: int = 64) -> tuple[int, int]:
    """The padding rule that gives scores the size of the image, or an exact fraction of it.

    Returns:
        (stride, offset): heights and widths of the form stride * k + offset keep corners aligned. (1, 0) if
        the scores always have the input's size, or if no such rule is found.
    """
    channels = deploy.input_shape[1]

    def size(length: int) -> int | None:
        try:
            return _scores_at(deploy, (1, channels, length, length))[-1]
        except (RuntimeError, NetError):
            return None

    for stride in (1, 2, 4, 8, 16, 32, 64):
        if stride > largest:
            break
        for offset in (0, 1) if stride > 1 else (0,):
            lengths = [
                stride * k + offset for k in (3 * 64 // stride, 3 * 64 // stride + 1, 5 * 64 // stride + 3)
            ]
            if all(size(length) == length for length in lengths):
                return stride, offset
    return 1, 0


def bytes_per_pixel(deploy: Deploy) -> float | None:
    """Bytes of the blobs alive at once, at the worst moment of a pass, for each pixel of the image.

    Returns:
        None if the net does not run at the sizes tried: 256, and 257 for nets that take 2 k + 1 alone.
    """
    return _bytes_at(deploy, 256) or _bytes_at(deploy, 257)


def _bytes_at(deploy: Deploy, side: int) -> float | None:
    """The same for one size; a blob that a layer passes on counts once."""
    image = (1, deploy.input_shape[1], side, side)
    last = last_readers(deploy.layers)
    blobs = {deploy.input_name: _Held(image)}
    peak = 0
    try:
        for number, (layer, tops) in enumerate(sized(deploy.layers, {deploy.input_name: image})):
            bottoms = [blobs[name] for name in layer.bottoms]
            made = [_Held(top.shape) if top.bottom is None else bottoms[top.bottom] for top in tops]
            peak = max(peak, sum(held.bytes for held in {*blobs.values(), *made}))
            blobs.update(zip(layer.tops, made, strict=True))
            for name in last.get(number, ()):
                blobs.pop(name, None)
    except (RuntimeError, NetError):
        return None
    return peak / side**2


class _Held:
    """The memory of a blob."""

    def __init__(self, shape: Shape) -> None:
        self.bytes = 4 * prod(shape)


def _scores_at(deploy: Deploy, image: Shape) -> Shape:
    """The shape of the first output for an image of this shape."""
    shapes = {deploy.input_name: image}
    for layer, tops in sized(deploy.layers, shapes):
        shapes |= {name: top.shape for name, top in zip(layer.tops, tops, strict=True)}
    return shapes[deploy.output_names[0]]
