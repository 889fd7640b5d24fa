"""The demo's trainings, conversions and evaluations."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import rlossctl
from rlossctl.data.scenes.dataset import SYNTHETIC_CLASSES, generate_dataset
from rlossctl.demo.recipes import Recipe
from rlossctl.errors import UsageError
from rlossctl.evaluation import Evaluation, OnnxRunner, evaluate, write_report
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.evaluation.scoring.results import percent
from rlossctl.files import atomic_write, make_folder
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import train

TRAIN_IMAGES, VAL_IMAGES, SIZE = 240, 80, (97, 129)
PICTURES = 8


@dataclass(frozen=True)
class Settings:
    """What decides the demo's figures.

    Attributes:
        seed: of the data set and all training runs.
        max_iter: updates of each phase; None: the solvers' 500 and 300.
        placeholders: values for the nets, such as PULL.
    """

    seed: int = 0
    max_iter: int | None = None
    placeholders: Mapping[str, str] = field(default_factory=dict)


class Row(NamedTuple):
    """What a recipe gave for one seed.

    Attributes:
        weights: loss -> the weight in force at the end, without the cross-entropy's.
        seconds: the median of the second phase's updates.
    """

    recipe: Recipe
    evaluation: Evaluation
    weights: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """The rows of one seed, the report's page, and the time in seconds."""

    rows: Sequence[Row]
    page: Path
    seconds: float


def run_demo(
    out: str | Path,
    recipes: Sequence[Recipe],
    settings: Settings = Settings(),
    say: Callable[[str], None] = print,
    resume: bool = False,
) -> DemoResult:
    """Runs the whole job for one seed below `out`.

    Args:
        out: gets data/, one folder per recipe (snapshots, logs, model.onnx) and report/.
        say: called with one line per step.
        resume: go on with the runs that `out` holds; else they are replaced.

    Raises:
        VerificationError: an exported model does not compute the same as the net.
        UsageError: `resume`, and the runs in `out` have other settings.
        RlossError: `out` cannot be written.
    """
    start = time.monotonic()
    job = _Job(make_folder(out).absolute(), settings, say, resume)
    job.claim()
    size = f"{SIZE[0]} x {SIZE[1]} pixels"
    say(f"generating {TRAIN_IMAGES} + {VAL_IMAGES} images of {size}, seed {settings.seed}")
    generate_dataset(job.data, train=TRAIN_IMAGES, val=VAL_IMAGES, size=SIZE, seed=settings.seed)
    rows = [job.run(recipe) for recipe in recipes]
    evaluations = {row.recipe.name: row.evaluation for row in rows}
    page = write_report(job.folder / "report", evaluations, title="rlossctl demo")
    return DemoResult(rows, page, time.monotonic() - start)


class _Job:
    def __init__(self, folder: Path, settings: Settings, say: Callable[[str], None], resume: bool) -> None:
        self.folder, self.settings, self.say, self.resume = folder, settings, say, resume
        self.data = folder / "data"
        self.shown: int | list[int] = PICTURES
        self.first_phase: dict[str, Path] = {}  # train list -> weights, so that a phase is trained once

    def claim(self) -> None:
        """Writes the settings beside the runs, or makes sure that they are those of the runs there."""
        path, settings = self.folder / "demo.json", json.dumps(asdict(self.settings), indent=1) + "\n"
        if self.resume and path.is_file() and path.read_text() != settings:
            raise UsageError(
                "the runs there have other settings",
                where=path,
                found=" ".join(path.read_text().split()),
                expected=" ".join(settings.split()),
                advice="give the same options as then, or leave out --resume to start anew",
            )
        with atomic_write(path) as file:
            file.write(settings.encode())

    def run(self, recipe: Recipe) -> Row:
        """Trains both phases of one row, then converts and evaluates."""
        model = self.folder / recipe.folder / "model.onnx"
        if not (self.resume and model.is_file()):
            self._convert(self._trained(recipe), model, recipe)
        evaluation = self._evaluate(model, recipe)
        weights, seconds = _ending(self.folder / recipe.folder / "phase2/metrics.jsonl")
        return Row(recipe, evaluation, weights, seconds)

    def _trained(self, recipe: Recipe) -> Path:
        first = self.first_phase.get(recipe.train_list)
        if first is None:
            place = f"{'full' if recipe.full else 'pce'}/phase1"
            first = self._train("demo/train", "demo/solver", recipe, place, None)
            self.first_phase[recipe.train_list] = first
        return self._train(
            recipe.net, "demo/solverwithdensecrfloss", recipe, f"{recipe.folder}/phase2", first
        )

    def _placeholders(self, recipe: Recipe) -> dict[str, str]:
        return {
            "DATA_ROOT": str(self.data),
            "TRAIN_LIST": str(self.data / "list" / recipe.train_list),
            "TEST_LIST": str(self.data / "list" / "val.txt"),
            "NUM_LABELS": str(len(SYNTHETIC_CLASSES)),
            **self.settings.placeholders,
        }

    def _train(self, net: str, solver: str, recipe: Recipe, place: str, weights: Path | None) -> Path:
        out = self.folder / place
        self.say(f"training {recipe.name}: {net}, {solver} -> {out}")
        options = TrainOptions(
            weights=None if weights is None else (str(weights),),
            out=out,
            device="cpu",
            seed=self.settings.seed * 10 + 1 + bool(weights),
            max_iter=self.settings.max_iter,
            overwrite=True,
            quiet=True,
        )
        if self.resume and any(out.glob("*.solverstate")):
            options = replace(options, weights=None, overwrite=False, resume="auto")
        trained = train(SolverOrigin(net, solver, self._placeholders(recipe)).read(), options=options)
        if trained.signal:
            raise SystemExit(trained.exit_code)
        return trained.require_snapshot().with_suffix(".caffemodel")

    def _convert(self, weights: Path, model: Path, recipe: Recipe) -> None:
        verification = rlossctl.convert(
            "demo/test",
            weights,
            model,
            placeholders=self._placeholders(recipe),
            classes=SYNTHETIC_CLASSES,
        )
        for line in verification.lines():
            self.say(f"  {line}")

    def _evaluate(self, model: Path, recipe: Recipe) -> Evaluation:
        name = self._placeholders(recipe)["TEST_LIST"]
        samples = open_list(name, self.data)
        evaluation = evaluate(OnnxRunner(model, "cpu"), samples, list_name=name, pictures=self.shown)
        self.shown = [picture.index for picture in evaluation.pictures]  # the same for all rows
        self.say(f"  {recipe.name}: mIoU {percent(evaluation.miou())} by {evaluation.backend}")
        return evaluation


def _ending(metrics: Path) -> tuple[dict[str, float], float]:
    """Weights in force in the last update, and the median seconds of an update."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    updates = [record for record in records if record["kind"] == "train"]
    terms = {name: term["weight"] for name, term in updates[-1]["terms"].items() if name != "loss"}
    return terms, statistics.median(record["seconds"] for record in updates)
