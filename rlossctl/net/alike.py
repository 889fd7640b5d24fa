"""Results for layers that are alike: a deep net repeats a few layers, and each is worked out once."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable
from typing import Concatenate, ParamSpec, TypeVar

from rlossctl.net.layer import Layer
from rlossctl.prototxt.messages import LayerParameter

Result = TypeVar("Result")
More = ParamSpec("More")

LIMIT = 10_000  # results, a few hundred bytes each; a net of a thousand layers has about 200 different ones
_PLACE = ("name", "bottom", "top", "param", "include", "exclude", "loss_weight", "propagate_down")


def once_if_alike(
    find: Callable[Concatenate[Layer, More], Result],
) -> Callable[Concatenate[Layer, More], Result]:
    """Decorator for what depends only on a layer's type and parameters, on its bottoms' shapes, and on more
    arguments.

    Torch works out shapes in Python, which takes milliseconds for each layer and most of the time of building
    a net. A Python layer is asked each time, because its answer may depend on anything.
    """
    known: dict[Hashable, Result] = {}

    @functools.wraps(find)
    def remembered(layer: Layer, *more: More.args, **named: More.kwargs) -> Result:
        if layer.setup.message.type == "Python":
            return find(layer, *more, **named)
        key = _likeness(layer), more, *named.items()
        if key not in known:
            if len(known) >= LIMIT:
                known.clear()
            known[key] = find(layer, *more, **named)
        return known[key]

    return remembered


def _likeness(layer: Layer) -> Hashable:
    """Equal for layers that compute the same, whatever their names and their place in the net."""
    setup = layer.setup
    message = LayerParameter()
    message.CopyFrom(setup.message)
    for field in _PLACE:
        message.ClearField(field)
    digest = hashlib.sha256(message.SerializeToString(deterministic=True)).digest()
    shapes = tuple(map(tuple, setup.bottoms))
    return type(layer), type(layer).forward, digest, shapes, setup.tops, setup.phase, setup.dialect
