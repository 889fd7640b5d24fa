"""SegmentationScores: parameters and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.counts import ABSENT, VOID, Absent
from rlossctl.net.outline import Outline, Setup, Shape, Top
from rlossctl.net.registry import describe
from rlossctl.prototxt.messages import SegmentationScoresParameter as Param

IGNORED = 255  # where no ignore_label is given


@describe("SegmentationScores", source="rlossctl", bottoms=2, tops=(1, 6), role="metric")
class SegmentationScoresOutline(Outline):
    """See `rlossctl.layers.segmentation_scores.SegmentationScores`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.segmentation_scores_param
        self.classes = setup.bottoms[0][1]
        self.ignored = list(param.ignore_label) or [IGNORED]
        self.interest = list(param.class_of_interest) or None
        self.absent: Absent = next(name for name in ABSENT if name.upper() == Param.Absent.Name(param.absent))
        self.by_image = param.scope == Param.IMAGE
        self._check(param)

    def _check(self, param: Param) -> None:
        setup = self.setup
        if param.rule != Param.ARGMAX:
            raise setup.error(
                "only argmax can be scored while a net trains",
                found=f"rule: {Param.Rule.Name(param.rule)}",
                expected="rule: ARGMAX",
                advice="remove the rule; rlossctl eval scores a snapshot with "
                f"--rule {Param.Rule.Name(param.rule).lower()}",
            )
        if not 1 <= self.classes <= VOID:
            raise setup.error(
                "cannot score so many classes",
                found=self.classes,
                expected=f"1 to {VOID}, since labels are bytes",
            )
        if wrong := [id for id in self.interest or () if not 0 <= id < self.classes]:
            raise setup.error(
                "class_of_interest is not a class of the scores",
                found=wrong[0],
                expected=f"0 to {self.classes - 1}",
            )

    def sized(self, bottoms: Sequence[Shape]) -> tuple[Top, ...] | None:
        return (*(Top(()),) * 5, Top((self.classes,)))[: self.setup.tops]
