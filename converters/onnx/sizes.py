"""Which sizes of a net's values vary with the image: found by passes on meta tensors of different sizes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy
from rlossctl.net.onnx_graph import OnnxValue
from rlossctl.net.values import Value, named_values

Size = tuple[int, int]
AXES = {0: "batch", 2: "height", 3: "width"}
ODD = (209, 331)  # a height and a width that no net rounds to themselves


class Sizes:
    """The values of a deployed part, and their sizes.

    Attributes:
        values: every tensor of a pass, in order.
        example: shapes of one pass, by value: of the largest image tried.
    """

    def __init__(self, deploy: Deploy, sizes: Sequence[Size]) -> None:
        channels = deploy.input_shape[1]
        shapes: list[tuple[int, ...]] = [(2 + number, channels, *size) for number, size in enumerate(sizes)]
        shapes += [(5, *shapes[0][1:])] if len(shapes) == 1 else []
        try:
            passes = [named_values(deploy, shape) for shape in shapes]
        except RuntimeError as error:  # torch raises it for sizes that do not match
            raise NetError(
                "cannot be exported to ONNX",
                found=str(error).splitlines()[0],
                expected="layers that fit together at every size",
            ) from error
        if len(sizes) > 1:
            passes, shapes = _with_odd(deploy, passes, shapes)
        self.values = passes[0]
        self._image = deploy.input_name
        found = [{value.name: value.shape for value in values} for values in passes]
        for shape, named in zip(shapes, found, strict=True):
            named[deploy.input_name] = shape
        self._found = found
        self.example = found[len(sizes) - 1]

    def known(self, name: str) -> OnnxValue:
        """A value with its sizes, None where they vary."""
        return OnnxValue(name, tuple(size if isinstance(size, int) else None for size in self.axes(name)))

    def axes(self, name: str) -> list[int | str]:
        """A value's sizes; those that vary are named, after the image's where they are always the same."""
        images = [shapes[self._image] for shapes in self._found]
        columns = list(zip(*(shapes[name] for shapes in self._found), strict=True))
        of_image = {tuple(shape[axis] for shape in images): text for axis, text in AXES.items()}
        return [
            sizes[0] if len(set(sizes)) == 1 else of_image.get(sizes, f"{name}.{AXES.get(axis, axis)}")
            for axis, sizes in enumerate(columns)
        ]


def _with_odd(
    deploy: Deploy, passes: list[list[Value]], shapes: list[tuple[int, ...]]
) -> tuple[list[list[Value]], list[tuple[int, ...]]]:
    """One more pass, of a size that the net's size rule may not allow, if the net takes it."""
    shape = (7, deploy.input_shape[1], *ODD)
    try:
        return [*passes, named_values(deploy, shape)], [*shapes, shape]
    except (RuntimeError, NetError):
        return passes, shapes
