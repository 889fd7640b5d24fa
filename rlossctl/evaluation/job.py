"""The work of `rlossctl eval`: open each model, evaluate it on the list, compare."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlossctl.data.label_ids import Suspicion
from rlossctl.data.palette import Palette
from rlossctl.errors import UsageError
from rlossctl.evaluation.evaluate import evaluate_list
from rlossctl.evaluation.list_pass import EvalOptions
from rlossctl.evaluation.parts import part as dividing
from rlossctl.evaluation.parts import processes
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.predicting.samples import Listed
from rlossctl.evaluation.reporting import table
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import (
    ImageList,
    OpenedModel,
    PreprocessOverrides,
    naming_weights,
    open_model,
)
from rlossctl.evaluation.running.runners import names_for
from rlossctl.evaluation.scoring import bootstrap
from rlossctl.evaluation.scoring.bootstrap import Difference
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.state import State


@dataclass(frozen=True)
class Job:
    """Models, the list to score them on, and how to score them.

    Attributes:
        models: at least one; the others are compared with the first.
        images: the list.
        device: auto, cpu, cuda or cuda:N.
        overrides: replace the models' own preprocessing.
        protocol, rule: as for `Predictor`.
        counting: what to count.
        options: as for `evaluate_list`; each model gets its own state and pictures.
        metric: "caffe" also prints SegAccuracy's numbers.
        upright: turn photos as their EXIF orientation says; None leaves it to the model's data layer.
        rescue: if an error stops a pass, gets the evaluations so far, the last one for a part of the list;
            not called if several processes share the list.
        state: a file to resume from, or None. With several models or processes, each gets its own file next
            to this one, with its name before the suffix.
    """

    models: Sequence[Named]
    images: ImageList = field(default_factory=ImageList)
    device: str = "auto"
    overrides: PreprocessOverrides = field(default_factory=PreprocessOverrides)
    protocol: Protocol = field(default_factory=Protocol)
    rule: Rule = field(default_factory=Rule)
    counting: Counting = field(default_factory=Counting)
    options: EvalOptions = field(default_factory=EvalOptions)
    metric: str = "standard"
    upright: bool | None = None
    rescue: Callable[[dict[str, Evaluation]], None] | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.metric == "caffe" and self.rule.output == "masks":
            raise UsageError(
                "Caffe's numbers need one class per pixel",
                expected="--metric caffe without --masks",
            )


@dataclass(frozen=True)
class Outcome:
    """Evaluations by model name, all on the same list, and how far each model's mIoU is from the first's.

    Attributes:
        list_name: the list's name.
        differences: one for every model but the first; None if either model has no mIoU, or if their images
            differ.
        first: whether this is the process that prints and writes.
        palette: the classes' colours, if one of the models has them.
        fingerprints: model -> a hash of its files.
        metric: as for `Job`.
    """

    evaluations: dict[str, Evaluation]
    differences: dict[str, Difference | None]
    list_name: str
    first: bool
    palette: Palette | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    metric: str = "standard"


@dataclass(frozen=True)
class Prepared:
    """A model that is open, with the list and everything that it is scored with.

    Attributes:
        named: how the user named it.
        options: of the pass; without state and pictures.
    """

    named: Named
    opened: OpenedModel
    predictor: Predictor
    listed: Listed
    options: EvalOptions

    @property
    def header(self) -> str:
        """What is printed before the pass."""
        return table.format_header(self.opened, self.predictor, self.listed)


def run(job: Job, say: Callable[[str], None] = print) -> Outcome:
    """Evaluates every model of a job, one after the other.

    Raises:
        UsageError: the models' classes or lists differ.
        RlossError: as for `open_model` and `evaluate`.
    """
    part = dividing.from_environment()
    tell = say if part.first else _silent
    evaluations: dict[str, Evaluation] = {}
    list_name = ""
    palette: Palette | None = None
    fingerprints: dict[str, str] = {}
    try:
        for model in prepared(job, part):
            name = model.named.name
            tell(model.header)
            evaluations[name] = _evaluated(job, model, evaluations)
            tell(format_result(evaluations[name], job.metric))
            list_name, palette = model.listed.name, palette or model.opened.palette
            fingerprints[name] = model.opened.fingerprint
    finally:
        if not part.whole:
            processes.close()
    differences = compared(evaluations, job.counting.interest, tell)
    return Outcome(evaluations, differences, list_name, part.first, palette, fingerprints, job.metric)


def prepared(job: Job, part: Part) -> Iterator[Prepared]:
    """Opens the models of a job, one after the other.

    Raises:
        UsageError: the models' classes or lists differ.
        RlossError: as for `open_model`.
    """
    first: Prepared | None = None
    for named in job.models:
        opened = open_model(named, job.device, job.images)
        upright = opened.upright if job.upright is None else job.upright
        listed = Listed(opened.images.read(), opened.images.file or "", upright, opened.maps)
        preprocess = job.overrides.apply(opened.preprocess)
        predictor = Predictor(opened.runner, preprocess, job.protocol, job.rule)
        options = dataclasses.replace(
            job.options,
            class_names=job.options.class_names or _check_same(opened, listed, first),
            part=part,
            warnings=tuple(Suspicion("missing weights", text, fatal=True) for text in opened.warnings),
        )
        model = Prepared(named, opened, predictor, listed, options)
        first = first or model
        yield model


def format_result(result: Evaluation, metric: str) -> str:
    """What is printed after a model's pass."""
    parts = (
        table.format_warnings(result),
        table.format_table(result, metric),
        table.format_speed(result),
    )
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def compared(
    evaluations: Mapping[str, Evaluation], interest: Sequence[int] | None, say: Callable[[str], None]
) -> dict[str, Difference | None]:
    """How far each model but the first is from the first; prints the comparison if there are several."""
    baseline, *others = evaluations
    differences = {name: _difference(evaluations[name], evaluations[baseline], interest) for name in others}
    if others:
        say(f"\n{table.format_comparison(evaluations, differences)}")
    return differences


def pictures_of(job: Job, others: Mapping[str, Evaluation]) -> int | Sequence[int]:
    """How many images the report shows, for the first model; for the others, the images chosen then."""
    first = next(iter(others.values()), None)
    return job.options.pictures if first is None else [picture.index for picture in first.pictures]


def _difference(
    result: Evaluation, baseline: Evaluation, interest: Sequence[int] | None
) -> Difference | None:
    """The difference; None also if the two could not count the same images."""
    if result.image_names != baseline.image_names:
        return None
    return bootstrap.compare(result.counts, baseline.counts, interest)


def _evaluated(job: Job, model: Prepared, others: Mapping[str, Evaluation]) -> Evaluation:
    """The evaluation of one model."""
    part = model.options.part
    state = _state(job, model.named, part, model.opened.fingerprint)
    options = dataclasses.replace(model.options, pictures=pictures_of(job, others), state=state)
    rescue = _rescuing(job, model.named.name, others) if part.whole else None
    with naming_weights(model.named):
        return evaluate_list(model.predictor, model.listed, job.counting, options, rescue)


def _rescuing(job: Job, name: str, others: Mapping[str, Evaluation]) -> Callable[[Evaluation], None] | None:
    rescue = job.rescue
    return None if rescue is None else lambda part: rescue({**others, name: part})


def _state(job: Job, named: Named, part: Part, fingerprint: str) -> State | None:
    if job.state is None:
        return None
    path = Path(job.state)
    tags = [re.sub(r"[^\w+-]+", "_", named.name)] if len(job.models) > 1 else []
    tags += [] if part.whole else [f"{part.rank}of{part.count}"]
    return State(str(path.with_name(".".join([path.stem, *tags]) + path.suffix)), fingerprint)


def _check_same(opened: OpenedModel, listed: Listed, first: Prepared | None) -> list[str] | None:
    """The first model's class names. All others must share them; a model without names takes them over."""
    if first is None:
        return None
    known = names_for(first.predictor.runner, first.options.class_names)
    names, count = opened.runner.classes or known, opened.runner.num_classes
    mine, theirs = ([sample.image for sample in each.samples] for each in (listed, first.listed))
    if names != known or count != len(names) or mine != theirs:
        raise UsageError(
            "models on different lists or with different classes cannot be compared",
            where=opened.name,
            found=f"{len(mine)} images, {count} classes ({', '.join(names[:3])}, ...); with "
            f"{first.named.name} {len(theirs)} images, {len(known)} ({', '.join(known[:3])}, ...)",
            expected="the same classes in the same order, and the same list",
            advice="give one list for all models with --data LIST --root DIR, and --classes if names differ",
        )
    return known


def _silent(text: str) -> None:
    pass
