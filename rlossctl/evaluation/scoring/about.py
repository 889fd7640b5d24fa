"""What an evaluation is, apart from its counts: the same for all parts of a list."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlossctl.data.label_ids import Suspicion
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import RlossError
from rlossctl.evaluation.parts import folder
from rlossctl.evaluation.predicting.protocol import Crf, Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.tally import Tally


@dataclass(frozen=True)
class About:
    """What a model is evaluated with, beside the counts.

    Attributes:
        class_names: one for each class.
        backend: what computes the scores.
        preprocess: how images are prepared; None if the model does it itself.
        protocol, rule: how probabilities and predictions are made.
        counting: what is counted.
        warnings: reasons to doubt the model.
    """

    class_names: Sequence[str]
    backend: str
    preprocess: Preprocess | None
    protocol: Protocol
    rule: Rule
    counting: Counting
    warnings: tuple[Suspicion, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a part's file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: object) -> About:
        """Reads `to_json` back; raises DataError that names `where` if it is something else."""
        try:
            fields = {key: _tuples(value) for key, value in values.items()}
            protocol = fields["protocol"]
            crf = protocol.pop("crf")
            about = cls(
                list(fields["class_names"]),
                str(fields["backend"]),
                fields["preprocess"] and Preprocess(**fields["preprocess"]),
                Protocol(**protocol, crf=crf and Crf(**crf)),
                Rule(**fields["rule"]),
                Counting(**fields["counting"]),
                tuple(Suspicion(*entry) for entry in fields["warnings"]),
            )
            about.tally(0)
            return about
        except (KeyError, TypeError, ValueError, AttributeError, RlossError) as error:
            raise folder.damaged(where, error) from error

    def tally(self, total: int) -> Tally:
        """A tally for a whole list of `total` images."""
        counting = self.counting
        masks = self.rule.output == "masks"
        return Tally(total, len(self.class_names), counting.ignore, masks, counting.band)


def _tuples(value: Any) -> Any:
    """Lists as tuples, at any depth."""
    if isinstance(value, dict):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
