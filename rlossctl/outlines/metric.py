"""SegAccuracy and Accuracy: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import Outline, Setup, Shape, Top, canonical_axis
from rlossctl.net.registry import describe


@describe("SegAccuracy", source="rloss", bottoms=2, role="metric")
class SegAccuracyOutline(Outline):
    """See `rlossctl.layers.metric.SegAccuracy`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.seg_accuracy_param
        self.ignored = list(param.ignore_label)
        self.resets = param.reset
        self.classes = setup.bottoms[0][1]

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top((1, 1, 1, 3)),)


@describe("Accuracy", bottoms=2, tops=(1, 2), role="metric")
class AccuracyOutline(Outline):
    """See `rlossctl.layers.metric.Accuracy`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.accuracy_param
        self.axis = canonical_axis(setup, param.axis, len(setup.bottoms[0]))
        self.top_k = param.top_k
        self.ignore = param.ignore_label if param.HasField("ignore_label") else None
        self.classes = setup.bottoms[0][self.axis]
        if self.top_k > self.classes:
            raise setup.error("top_k exceeds the number of classes", found=self.top_k, expected=self.classes)
        segnet = setup.dialect == "segnet"
        self.absent = 1.0 if segnet else 0.0
        self.per_class_shape = (self.classes, 1, 1, 1) if segnet else (self.classes,)

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (Top(()), Top(self.per_class_shape))[: self.setup.tops]
