"""The table of layer types. A decorator adds a class; all other code looks it up here.

    @register("Reorg", source="YOLO forks")
    class Reorg(Layer): ...

A common type is described without torch, and its layer derives from the description:

    @describe("ReLU")
    class ReLUOutline(Outline): ...

    @computes("ReLU")
    class ReLU(ReLUOutline, Layer): ...

The files of rlossctl/outlines are imported at the first look-up, those of rlossctl/layers when a type has no
description or a layer is built, so a new file there needs no other change.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict, TypeVar

from rlossctl import plugins
from rlossctl.errors import NetError
from rlossctl.prototxt import forks

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.net.layer import Layer
    from rlossctl.net.outline import Outline

T = TypeVar("T", bound="Layer")
D = TypeVar("D", bound="Outline")
Count = int | tuple[int, int | None]

_KINDS: dict[str, LayerKind] = {}
_CLASSES: dict[str, type[Layer]] = {}


@dataclass(frozen=True)
class LayerKind:
    """What the builder must know about a layer type before it makes a layer.

    Attributes:
        type: the name that a prototxt's `type` field holds.
        source: the Caffe that defines it: BVLC, rloss, or another fork's name.
        bottoms, tops: least and greatest number (None: no limit).
        automatic_tops: this many tops exist even if the prototxt names fewer (loss and data layers).
        loss_weight: the weight of the first top if the prototxt gives none.
        role: "layer", "data" (fills blobs from outside), "loss" or "metric" (needs labels).
        gradient: a gradient passes from its tops to its bottoms (never for data layers and metrics).
        onnx: it can be exported; False for layers with memory, and for layers that read labels or sizes.
        outline: the description of a common type.
    """

    type: str
    source: str
    bottoms: tuple[int, int | None]
    tops: tuple[int, int | None]
    automatic_tops: int
    loss_weight: float
    role: str
    gradient: bool = True
    onnx: bool = True
    outline: builtins.type[Outline] | None = None

    @property
    def cls(self) -> builtins.type[Layer]:
        """The Layer class; imports torch."""
        _load_layers()
        return _CLASSES[self.type]

    @property
    def differentiable(self) -> bool:
        """Whether a gradient passes through."""
        return self.gradient and self.role in ("layer", "loss") and self.tops[1] != 0

    @property
    def exported(self) -> bool:
        """Whether the type belongs in an exported net."""
        return self.onnx and self.role == "layer" and self.tops[1] != 0


class Facts(TypedDict, total=False):
    """What a decorator says of a type; see LayerKind. Without it: BVLC's, one bottom, one top, "layer"."""

    source: str
    bottoms: Count
    tops: Count
    automatic_tops: int
    loss_weight: float
    role: str
    gradient: bool
    onnx: bool


def register(name: str, **facts: Unpack[Facts]) -> Callable[[type[T]], type[T]]:
    """Class decorator: registers the class as the implementation of layer type `name`."""

    def add(cls: type[T]) -> type[T]:
        _load_outlines()  # so that a plugin does not take the name of a common type
        _add(name, cls, facts)
        _CLASSES[name] = cls
        return cls

    return add


def describe(name: str, **facts: Unpack[Facts]) -> Callable[[type[D]], type[D]]:
    """Class decorator: registers the class as the description of layer type `name`."""

    def add(cls: type[D]) -> type[D]:
        _add(name, cls, facts, cls)
        return cls

    return add


def computes(name: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: registers the class, which derives from a type's description, as its layer."""

    def add(cls: type[T]) -> type[T]:
        outline = _KINDS[name].outline
        if outline is None or not issubclass(cls, outline):
            raise TypeError(f"{cls.__name__} does not derive from the description of {name}")
        _CLASSES[name] = cls
        return cls

    return add


def kinds() -> dict[str, LayerKind]:
    """All registered types by name; imports torch."""
    _load_layers()
    return dict(sorted(_KINDS.items()))


def find(name: str) -> LayerKind | None:
    """The LayerKind of a type, if there is one; imports torch unless it is a common type."""
    _load_outlines()
    if name not in _KINDS:
        _load_layers()
    return _KINDS.get(name)


def lookup(name: str) -> LayerKind:
    """The LayerKind of a type that `require` has accepted."""
    return _KINDS[name]


def require(layers: Iterable[tuple[str, str, str]]) -> None:
    """Checks (type, layer name, where) triples; all unknown types are reported together.

    Raises:
        NetError: names every unknown type with its layers and their lines.
    """
    unknown: dict[str, list[str]] = {}
    for kind, name, where in layers:
        if find(kind) is None:
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


def _add(name: str, cls: type[Outline], facts: Facts, outline: builtins.type[Outline] | None = None) -> None:
    before = _CLASSES.get(name) or (_KINDS[name].outline if name in _KINDS else None)
    if before is not None:
        raise NetError(
            f"layer type {name} is registered twice",
            found=f"{before.__module__} and {cls.__module__}",
            expected="a name of its own for every type",
        )
    _KINDS[name] = LayerKind(
        type=name,
        source=facts.get("source", "BVLC"),
        bottoms=_range(facts.get("bottoms", 1)),
        tops=_range(facts.get("tops", 1)),
        automatic_tops=facts.get("automatic_tops", 0),
        loss_weight=facts.get("loss_weight", 0.0),
        role=facts.get("role", "layer"),
        gradient=facts.get("gradient", True),
        onnx=facts.get("onnx", True),
        outline=outline,
    )


@cache
def _load_outlines() -> None:
    _import_all("rlossctl.outlines")


@cache
def _load_layers() -> None:
    _load_outlines()
    _import_all("rlossctl.layers")
    plugins.load_installed(plugins.LAYERS)


def _import_all(name: str) -> None:
    for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
        importlib.import_module(f"{name}.{module.name}")
