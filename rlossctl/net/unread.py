"""Fields of a net that do not count, although whoever wrote them probably thinks so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rlossctl.net.graph import NodeView


def unread_fields(layers: Iterable[NodeView]) -> Iterator[str]:
    """A sentence for each layer with such fields: file, line, layer, and what is missing."""
    for layer in layers:
        param = layer.message.loss_param
        if param.class_weighting and not param.weight_by_label_freqs:
            yield (
                f"{layer.node.where}: layer {layer.name!r} ({layer.type}): class_weighting does not count "
                "without weight_by_label_freqs: true in loss_param, as in Caffe"
            )
        if param.balanced and layer.type != "SigmoidCrossEntropyLoss":
            yield (
                f"{layer.node.where}: layer {layer.name!r} ({layer.type}): balanced does not count in its "
                "loss_param, only in that of SigmoidCrossEntropyLoss"
            )
