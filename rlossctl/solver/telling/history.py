"""The figures of a run so far, for its curves: from its listener's calls, or from metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlossctl.errors import RlossError
from rlossctl.solver.telling.figures import StepFigures, TestFigures
from rlossctl.solver.telling.listeners import Listener


@dataclass
class Series:
    """Values by iteration, in order."""

    iters: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, iteration: int, value: float) -> None:
        """One more; a run that was resumed from before overwrites what came after."""
        while self.iters and self.iters[-1] >= iteration:
            self.iters.pop()
            self.values.pop()
        self.iters.append(iteration)
        self.values.append(value)


class History(Listener):
    """Collects losses, weighted terms, rates and the tests' outputs of one value.

    Attributes:
        loss, lr: of every update.
        terms: blob -> its weighted value.
        tests: output -> its value.
        counted: the outputs among them that count over the whole list, such as mIoU.
    """

    def __init__(self) -> None:
        self.loss = Series()
        self.lr = Series()
        self.terms: dict[str, Series] = {}
        self.tests: dict[str, Series] = {}
        self.counted: list[str] = []

    @classmethod
    def read(cls, path: Path) -> History:
        """From a metrics.jsonl; empty if there is none.

        Raises:
            RlossError: it cannot be read, or is not such a file.
        """
        found = cls()
        try:
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    found._record(json.loads(line))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RlossError(
                "is not the metrics of a run, or is damaged",
                where=path,
                found=f"{type(error).__name__}: {error}",
                expected="JSON lines as train writes them",
                advice="name a folder that rlossctl train wrote (--out)",
            ) from error
        return found

    def updated(self, figures: StepFigures) -> None:
        """Loss, rate and terms."""
        weighted = {name: term.weighted for name, term in figures.terms.items()}
        self._update(figures.iter, figures.loss, figures.lr, weighted)

    def tested(self, figures: TestFigures) -> None:
        """Outputs of one value."""
        self._test(figures.iter, figures.outputs, figures.counted)

    def _record(self, entry: Mapping[str, Any]) -> None:
        if entry["kind"] == "train":
            weighted = {name: float(term["weighted"]) for name, term in entry["terms"].items()}
            self._update(entry["iter"], float(entry["loss"]), float(entry["lr"]), weighted)
        elif entry["kind"] == "test":
            self._test(entry["iter"], entry["outputs"], entry.get("counted", ()))

    def _update(self, iteration: int, loss: float, lr: float, weighted: Mapping[str, float]) -> None:
        self.loss.add(iteration, loss)
        self.lr.add(iteration, lr)
        for name, value in weighted.items():
            self.terms.setdefault(name, Series()).add(iteration, value)

    def _test(self, iteration: int, outputs: Mapping[str, list[float]], counted: Any) -> None:
        for name, values in outputs.items():
            if len(values) != 1:
                continue
            self.tests.setdefault(name, Series()).add(iteration, float(values[0]))
            if name in counted and name not in self.counted:
                self.counted.append(name)
