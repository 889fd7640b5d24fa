"""The table of layer types. A decorator adds a class; all other code looks it up here.

    @register("ReLU", source="BVLC")
    class ReLU(Layer): ...

The files of rlossctl/layers are imported at the first look-up, so a new file there needs no other change.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from rlossctl import plugins
from rlossctl.errors import NetError
from rlossctl.prototxt import forks

if TYPE_CHECKING:
    from rlossctl.net.layer import Layer

T = TypeVar("T", bound="Layer")
Count = int | tuple[int, int | None]

_KINDS: dict[str, LayerKind] = {}


@dataclass(frozen=True)
class LayerKind:
    """What the builder must know about a layer type before it makes a layer.

    Attributes:
        type: the name that a prototxt's `type` field holds.
        cls: the Layer class.
        source: the Caffe that defines it: BVLC, rloss, or another fork's name.
        bottoms, tops: least and greatest number (None: no limit).
        automatic_tops: this many tops exist even if the prototxt names fewer (loss and data layers).
        loss_weight: the weight of the first top if the prototxt gives none.
        role: "layer", "data" (fills blobs from outside), "loss" or "metric" (needs labels).
        gradient: a gradient passes from its tops to its bottoms (never for data layers and metrics).
        onnx: it can be exported; False for layers with memory, and for layers that read labels or sizes.
    """

    type: str
    cls: builtins.type[Layer]
    source: str
    bottoms: tuple[int, int | None]
    tops: tuple[int, int | None]
    automatic_tops: int
    loss_weight: float
    role: str
    gradient: bool = True
    onnx: bool = True

    @property
    def differentiable(self) -> bool:
        """Whether a gradient passes through."""
        return self.gradient and self.role in ("layer", "loss") and self.tops[1] != 0

    @property
    def exported(self) -> bool:
        """Whether the type belongs in an exported net."""
        return self.onnx and self.role == "layer" and self.tops[1] != 0


def register(
    name: str,
    *,
    source: str = "BVLC",
    bottoms: Count = 1,
    tops: Count = 1,
    automatic_tops: int = 0,
    loss_weight: float = 0.0,
    role: str = "layer",
    gradient: bool = True,
    onnx: bool = True,
) -> Callable[[type[T]], type[T]]:
    """Class decorator: registers the class as the implementation of layer type `name` (see LayerKind)."""

    def add(cls: type[T]) -> type[T]:
        if name in _KINDS:
            raise NetError(
                f"layer type {name} is registered twice",
                found=f"{_KINDS[name].cls.__module__} and {cls.__module__}",
                expected="a name of its own for every type",
            )
        _KINDS[name] = LayerKind(
            name,
            cls,
            source,
            _range(bottoms),
            _range(tops),
            automatic_tops,
            loss_weight,
            role,
            gradient,
            onnx,
        )
        return cls

    return add


def kinds() -> dict[str, LayerKind]:
    """All registered types by name."""
    _load_layers()
    return dict(sorted(_KINDS.items()))


def lookup(name: str) -> LayerKind:
    """The LayerKind of a type that `require` has accepted."""
    _load_layers()
    return _KINDS[name]


def require(layers: Iterable[tuple[str, str, str]]) -> None:
    """Checks (type, layer name, where) triples; all unknown types are reported together.

    Raises:
        NetError: names every unknown type with its layers and their lines.
    """
    _load_layers()
    unknown: dict[str, list[str]] = {}
    for kind, name, where in layers:
        if kind not in _KINDS:
            unknown.setdefault(kind, []).append(f"{name!r} ({where})")
    if not unknown:
        return
    found = "; ".join(
        f"{kind or '(no type)'}{_of(kind)} in layer {', '.join(places[:3])}"
        f"{f' and {len(places) - 3} more' if len(places) > 3 else ''}"
        for kind, places in unknown.items()
    )
    raise NetError(
        "unknown layer types" if len(unknown) > 1 else "unknown layer type",
        found=found,
        expected=f"one of {', '.join(sorted(_KINDS))}",
        advice="correct the type's spelling, or give the file of a layer of your own (--plugin FILE, "
        "docs/plugins.md)",
    )


def _of(kind: str) -> str:
    """The Caffe fork that an unknown type comes from, if known."""
    fork = forks.of_type(kind)
    return f" (of {fork})" if fork else ""


def _range(count: Count) -> tuple[int, int | None]:
    return (count, count) if isinstance(count, int) else count


@cache
def _load_layers() -> None:
    package = importlib.import_module("rlossctl.layers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"rlossctl.layers.{module.name}")
    plugins.load_installed(plugins.LAYERS)
