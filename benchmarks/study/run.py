"""Trains and scores one row: phase 1 with the cross-entropy alone, phase 2 with the row's losses."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from commands import rlossctl
from labels import KINDS, MASKS, Lists, make_lists
from recipe import NET, DataSet, Recipe
from rows import Row

from rlossctl.data.sets.registry import data_sets
from rlossctl.evaluation import Evaluation, evaluate
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, open_list, open_model
from rlossctl.net.origin import NetOrigin

Pulls = Mapping[str, float]


@dataclass(frozen=True)
class Study:
    """What all runs below one folder share.

    Attributes:
        out: gets one folder for each row and seed.
        data, root, kind, split: see `labels.make_lists`.
        backbone: EfficientNet-Lite0's ImageNet weights, a .pth.
        recipe: updates and rates.
    """

    out: Path
    data: DataSet
    root: Path
    kind: str
    split: str
    backbone: Path
    recipe: Recipe

    @property
    def folder(self) -> Path:
        """Of this data set, these labels, this split and these updates."""
        updates = f"{self.recipe.first}+{self.recipe.second}x{self.recipe.slower:g}"
        return self.out / f"{self.data.name}-{self.kind}-{self.split}-{updates}"

    def prepare(self) -> Lists:
        """Labels, lists and starting weights, made once.

        Raises:
            SystemExit: the folder holds another recipe's runs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        known, recipe = self.folder / "recipe.json", json.dumps({"net": NET, **asdict(self.recipe)})
        if known.exists() and known.read_text() != recipe:
            raise SystemExit(f"{known} says {known.read_text()}, not {recipe}: take another --out")
        known.write_text(recipe)
        if not self.net.exists():
            rlossctl("net", NET, "-o", self.net)
        if not self.start.exists():
            rlossctl("convert", f"{NET}/test", self.backbone, "-o", self.start, *self.placeholders())
        return make_lists(self.data, self.root, self.kind, self.split, self.folder / "lists")

    @property
    def net(self) -> Path:
        """The folder of the net's text."""
        return self.folder / "net"

    @property
    def start(self) -> Path:
        """The weights that phase 1 starts from."""
        return self.folder / "start.caffemodel"

    def placeholders(self) -> list[str]:
        """Options that fill the net's placeholders."""
        values = {"NUM_LABELS": self.data.classes, "EXP": "study", "CROSS_ENTROPY_WEIGHT": 1}
        return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def run(study: Study, row: Row, seed: int, pulls: Pulls) -> dict[str, object]:
    """One row with one seed; what is finished is not done again, what was killed goes on.

    Args:
        pulls: loss -> pull, in place of layers/'s; those of other losses are passed over.
    """
    if row.full and study.kind in KINDS:
        study = replace(study, kind=MASKS)
    lists, recipe = study.prepare(), study.recipe
    supervision, kind = (lists.full, "full") if row.full else (lists.weak, "weak")
    own = {loss: pulls[loss] for loss in row.losses if loss in pulls}
    first = Phase(study, study.folder / "first" / kind / f"seed{seed}", supervision, 10 * seed + 1)
    weights = first.train("", recipe.solver(recipe.first, recipe.rate), study.start, {})
    name = "-".join([row.name, *(f"{loss}{pull:g}" for loss, pull in own.items())])
    second = Phase(study, study.folder / name / f"seed{seed}", supervision, 10 * seed + 2)
    slower = recipe.solver(recipe.second, recipe.rate * recipe.slower)
    second.train(row.layers(), slower, weights, own)
    return second.score(lists.scored, row, seed, own)


@dataclass(frozen=True)
class Phase:
    """One training run in a folder of its own."""

    study: Study
    folder: Path
    supervision: Path
    seed: int

    @property
    def result(self) -> Path:
        """The scores, once there are some."""
        return self.folder / "result.json"

    def train(self, losses: str, solver: str, weights: Path, pulls: Pulls) -> Path:
        """Trains to the end; returns the last weights.

        Raises:
            SystemExit: the folder holds the run of other texts, or the training failed.
        """
        net, recipe = self.write_texts(losses, solver), self.study.recipe
        done = self.folder / "trained.json"
        if done.exists():
            return self.folder / json.loads(done.read_text())["weights"]
        out = self.folder / "run"
        resumed = out.exists()
        begin = ("--weights", weights, "--resume", "auto")
        memory = rlossctl(
            "train", "--prototxt", net / "solver.prototxt", *self.study.placeholders(),
            "--set", f"BASE_SIZE={recipe.base}",
            "--data", self.supervision, "--root", "/", "--crop", recipe.crop, "--batch-size", recipe.batch,
            "--seed", self.seed, "--out", out, "--keep", 1, "--channels-last", *begin, *_pull_options(pulls),
            log=self.folder / "log.txt",
        )  # fmt: skip
        (last,) = out.glob("train_iter_*.caffemodel")
        done.write_text(
            json.dumps(
                {
                    "weights": str(last.relative_to(self.folder)),
                    "bytes": None if resumed else memory,  # the first process may have needed more
                    **_pace(out),
                }
            )
        )
        return last

    def write_texts(self, losses: str, solver: str) -> Path:
        """Writes net and solver, once; returns their folder.

        Raises:
            SystemExit: as `train`.
        """
        net = self.folder / "net"
        texts = {
            "train.prototxt": (self.study.net / "train.prototxt").read_text() + losses,
            "solver.prototxt": solver,
        }
        net.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = net / name
            if path.exists() and path.read_text() != text:
                raise SystemExit(f"{path} is not what would be trained now: take another --out")
            path.write_text(text)
        return net

    def score(self, scored: Path, row: Row, seed: int, pulls: Pulls) -> dict[str, object]:
        """Scores the last weights; counts of each image go to counts.npz."""
        if self.result.exists():
            known: dict[str, object] = json.loads(self.result.read_text())
            return known
        trained = json.loads((self.folder / "trained.json").read_text())
        evaluation = _evaluate(self.study, self.folder / trained["weights"], scored)
        np.savez_compressed(self.folder / "counts.npz", counts=evaluation.counts.to_array())
        found = {
            "row": row.name,
            "seed": seed,
            "pulls": pulls,
            "miou": evaluation.miou(),
            "pixel_accuracy": evaluation.require_confusion().pixel_accuracy(),
            "images": evaluation.images,
            "backend": evaluation.backend,
            "warnings": [str(warning.found) for warning in evaluation.warnings],
            **{name: trained[name] for name in ("seconds", "bytes", "weights_found")},
        }
        self.result.write_text(json.dumps(found, indent=1))
        return found


def _pull_options(pulls: Pulls) -> list[str]:
    settings = [f"{loss.upper()}_PULL={pull:g}" for loss, pull in pulls.items()]
    return [word for setting in settings for word in ("--set", setting)]


def _pace(out: Path) -> dict[str, object]:
    """Median seconds of an update, and the weights in force in the last one."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    return {
        "seconds": statistics.median(step["seconds"] for step in steps),
        "weights_found": {name: term["weight"] for name, term in steps[-1]["terms"].items()},
    }


def _evaluate(study: Study, weights: Path, scored: Path) -> Evaluation:
    """What `rlossctl eval` does, with the counts of each image."""
    origin = NetOrigin(f"{NET}/test", weights, {"NUM_LABELS": study.data.classes, "EXP": "study"})
    opened = open_model(Named("", origin), "auto", ImageList(str(scored), "/"))
    return evaluate(
        opened.runner,
        open_list(str(scored), "/"),
        class_names=data_sets()[study.data.name].classes,
        progress=False,
    )
