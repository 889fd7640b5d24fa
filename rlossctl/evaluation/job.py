"""The work of `rlossctl eval`: open each model, evaluate it on the list, compare."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlossctl.data.label_ids import Suspicion
from rlossctl.data.lists import Sample
from rlossctl.data.palette import Palette
from rlossctl.errors import UsageError
from rlossctl.evaluation.evaluate import evaluate_list
from rlossctl.evaluation.list_pass import EvalOptions
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
from rlossctl.evaluation.scoring import bootstrap, shards
from rlossctl.evaluation.scoring.bootstrap import Difference
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.shards import Shard
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
    """

    evaluations: dict[str, Evaluation]
    differences: dict[str, Difference | None]
    list_name: str
    first: bool
    palette: Palette | None = None


def run(job: Job, say: Callable[[str], None] = print) -> Outcome:
    """Evaluates every model of a job, one after the other.

    Raises:
        UsageError: the models' classes or lists differ.
        RlossError: as for `open_model` and `evaluate`.
    """
    shard = shards.from_environment()
    tell = say if shard.first else _silent
    evaluations: dict[str, Evaluation] = {}
    list_name = ""
    palette: Palette | None = None
    try:
        for named in job.models:
            evaluations[named.name], opened = _one(job, named, shard, tell, evaluations)
            list_name, palette = opened.images.file or "", palette or opened.palette
    finally:
        if shard.count > 1:
            shards.close()
    baseline, *others = evaluations
    differences = {
        name: _difference(evaluations[name], evaluations[baseline], job.counting.interest) for name in others
    }
    if others:
        tell(f"\n{table.format_comparison(evaluations, differences)}")
    return Outcome(evaluations, differences, list_name, shard.first, palette)


def _difference(
    result: Evaluation, baseline: Evaluation, interest: Sequence[int] | None
) -> Difference | None:
    """The difference; None also if the two could not count the same images."""
    if result.image_names != baseline.image_names:
        return None
    return bootstrap.compare(result.counts, baseline.counts, interest)


def _one(
    job: Job,
    named: Named,
    shard: Shard,
    say: Callable[[str], None],
    others: Mapping[str, Evaluation],
) -> tuple[Evaluation, OpenedModel]:
    """The evaluation of one model, and the model."""
    opened = open_model(named, job.device, job.images)
    list_name = opened.images.file or ""
    upright = opened.upright if job.upright is None else job.upright
    listed = Listed(opened.images.read(), list_name, upright, opened.maps)
    preprocess = job.overrides.apply(opened.preprocess)
    predictor = Predictor(opened.runner, preprocess, job.protocol, job.rule)
    options = dataclasses.replace(
        job.options,
        class_names=job.options.class_names or _check_same(opened, listed.samples, others),
        pictures=_pictures(job, others),
        state=_state(job, named, shard, opened.fingerprint),
        shard=shard,
    )
    say(table.format_header(opened, predictor, listed))
    rescue = _rescuing(job, named.name, others) if shard.count == 1 else None
    with naming_weights(named):
        result = evaluate_list(predictor, listed, job.counting, options, rescue)
    weights = tuple(Suspicion("missing weights", text, fatal=True) for text in opened.warnings)
    result = dataclasses.replace(result, warnings=(*weights, *result.warnings))
    parts = (
        table.format_warnings(result),
        table.format_table(result, job.metric),
        table.format_speed(result),
    )
    say("\n" + "\n\n".join(part for part in parts if part) + "\n")
    return result, opened


def _rescuing(job: Job, name: str, others: Mapping[str, Evaluation]) -> Callable[[Evaluation], None] | None:
    rescue = job.rescue
    return None if rescue is None else lambda part: rescue({**others, name: part})


def _pictures(job: Job, others: Mapping[str, Evaluation]) -> int | Sequence[int]:
    """How many images the report shows, for the first model; for the others, the images chosen then."""
    first = next(iter(others.values()), None)
    return job.options.pictures if first is None else [picture.index for picture in first.pictures]


def _state(job: Job, named: Named, shard: Shard, fingerprint: str) -> State | None:
    if job.state is None:
        return None
    path = Path(job.state)
    tags = [re.sub(r"[^\w+-]+", "_", named.name)] if len(job.models) > 1 else []
    tags += [f"{shard.rank}of{shard.count}"] if shard.count > 1 else []
    return State(path.with_name(".".join([path.stem, *tags]) + path.suffix), fingerprint)


def _check_same(
    opened: OpenedModel, samples: Sequence[Sample], others: Mapping[str, Evaluation]
) -> list[str] | None:
    """The first model's class names. All others must share them; a model without names takes them over."""
    if not others:
        return None
    first, entry = next(iter(others.items()))
    names, count = opened.runner.classes or entry.class_names, opened.runner.num_classes
    same_list = [sample.image for sample in samples if sample.image not in entry.skipped] == entry.image_names
    if names != entry.class_names or count != len(names) or not same_list:
        raise UsageError(
            "models on different lists or with different classes cannot be compared",
            where=opened.name,
            found=f"{len(samples)} images, {count} classes ({', '.join(names[:3])}, ...); with {first} "
            f"{entry.images} images, {len(entry.class_names)} ({', '.join(entry.class_names[:3])}, ...)",
            expected="the same classes in the same order, and the same list",
            advice="give one list for all models with --data LIST --root DIR, and --classes if names differ",
        )
    return entry.class_names


def _silent(text: str) -> None:
    pass
