"""Which Caffe a net was written for: BVLC, the rloss / DeepLab fork, SegNet's, ENet's, or the FCN branch.

The FCN branch (longjon's, then HED's and CRF-as-RNN's) is an older Caffe whose Crop follows coordinates.

Different forks use the same layer type, or the same field number, with different meanings. The dialect
follows from an explicit choice, else from layer types that only one fork has, else it is BVLC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import LayerParameter, NetParameter

DIALECTS = ("bvlc", "rloss", "segnet", "enet", "fcn")

RLOSS_TYPES = frozenset(
    (
        "AdaptiveBiasChannel",
        "BiasChannel",
        "DenseCRF",
        "DenseCRFLoss",
        "DomainTransform",
        "DomainTransformForwardOnly",
        "ImageSegData",
        "Interp",
        "MatRead",
        "MatWrite",
        "SegAccuracy",
        "SpatialProduct",
        "UniqueLabel",
    )
)
SEGNET_TYPES = frozenset(("BN", "DenseImageData", "Upsample"))
FCN_TYPES = frozenset(("AutoCrop", "ImageLabelmapData", "MultiStageMeanfield"))


NO_EVIDENCE = "no layer of a fork"


def choose(net: NetParameter, dialect: str = "auto") -> tuple[str, str]:
    """The dialect and the reason: `dialect` if it is given, else what the net shows.

    Raises:
        UsageError: an unknown name.
    """
    if dialect == "auto":
        return detect(net)
    if dialect not in DIALECTS:
        raise UsageError("unknown dialect", found=dialect, expected=", ".join(("auto", *DIALECTS)))
    return dialect, "as requested"


def detect(net: NetParameter) -> tuple[str, str]:
    """The dialect of a net, and the reason in a few words."""
    found = by_types(layer for layer in net.layer if not _of_others(layer))
    if found[0] == "rloss":
        return found
    for layer in net.layer:
        if layer.type == "DenseImageData" and layer.dense_image_data_param.HasField("label_divide_factor"):
            return "enet", f"layer {layer.name!r} sets label_divide_factor, which only ENet's fork has"
        if layer.type == "Python" and layer.python_param.module == "spatial_dropout":
            return "enet", f"layer {layer.name!r} is spatial_dropout, which ENet's fork ships"
    return found


def _of_others(layer: LayerParameter) -> bool:
    """A BN like PSPNet's, or an Upsample like the one in YOLO's forks: not a sign of SegNet's fork."""
    if layer.type == "BN":
        return four_blobs(layer)
    return layer.type == "Upsample" and len(layer.bottom) == 1


def four_blobs(layer: LayerParameter) -> bool:
    """Whether a BN layer is PSPNet's, which learns slope and bias and stores mean and variance."""
    names = ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine")
    return any(layer.bn_param.HasField(name) for name in names) or len(layer.param) == 4


class Typed(Protocol):
    """A layer's name and type."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...


def by_types(layers: Iterable[Typed]) -> tuple[str, str]:
    """Like `detect`, but from names and types alone, which do not distinguish SegNet's fork from ENet's."""
    known = list(layers)
    for layer in known:
        if layer.type in RLOSS_TYPES:
            return "rloss", f"layer {layer.name!r} is of type {layer.type}, which only that fork has"
    for layer in known:
        if layer.type in SEGNET_TYPES:
            return "segnet", f"layer {layer.name!r} is of type {layer.type}, which SegNet's fork added"
    for layer in known:
        if layer.type in FCN_TYPES:
            return "fcn", f"layer {layer.name!r} is of type {layer.type}, which the FCN branch's heirs added"
    return "bvlc", NO_EVIDENCE
