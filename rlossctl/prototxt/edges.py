"""What HED's fork and RCF's mean by the layers of an edge detector, written into the net as fields.

Both have changed SigmoidCrossEntropyLoss without a new name or field: ones and zeros of each label map are
weighed by each other's share. Their nets are recognised by ImageLabelmapData, which reads the maps. RCF's
also have AutoCrop; its loss counts zeros 1.1 times and leaves out weak edges. DSS reads maps by the same
layer, with a field `normalize`, but has BVLC's loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.prototxt.coordinates import AUTO_CROP

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import LayerParameter, NetParameter

DATA, LOSS = "ImageLabelmapData", "SigmoidCrossEntropyLoss"
RCF_NEGATIVES = 1.1


def resolved(net: NetParameter, dialect: str) -> tuple[NetParameter, tuple[str, ...]]:
    """A net whose losses and data layers say what their fork does, and a sentence on it; the argument is not
    changed. The dialect bvlc, which such a net has only if the user asks for it, leaves Caffe's loss."""
    maps = [layer for layer in net.layer if layer.type == DATA]
    if dialect == "bvlc" or not maps or any(layer.image_data_param.HasField("normalize") for layer in maps):
        return net, ()
    rcf = any(layer.type == AUTO_CROP for layer in net.layer)
    out = type(net)()
    out.CopyFrom(net)
    losses = [_filled(layer, rcf) for layer in out.layer]
    if not any(losses):
        return out, ()
    fork = "RCF" if rcf else "HED"
    return out, (
        f"{LOSS} weighs ones and zeros by each other's share, as in {fork}'s fork: loss_param "
        + ("{ balanced: true negative_weight: 1.1 }" if rcf else "{ balanced: true }")
        + "; --dialect bvlc leaves Caffe's loss",
    )


def _filled(layer: LayerParameter, rcf: bool) -> bool:
    """Fills in the fields that the layer's author has not set; whether it is a loss that they change."""
    if layer.type == DATA and rcf and not layer.image_data_param.HasField("weak_edges"):
        layer.image_data_param.weak_edges = True
    if layer.type != LOSS or layer.loss_param.HasField("balanced"):
        return False
    layer.loss_param.balanced = True
    if rcf and not layer.loss_param.HasField("negative_weight"):
        layer.loss_param.negative_weight = RCF_NEGATIVES
    return True
