"""The work of `rlossctl predict`: opens the model and predicts all photos, or a part of them."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.parts import folder, ray_pool
from rlossctl.evaluation.parts.folder import PART
from rlossctl.evaluation.parts.jobs import PHOTOS, InParts, is_done, keys_of
from rlossctl.evaluation.parts.packing import Packed, plain
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.parts.ray_pool import Make, Pool, Task
from rlossctl.evaluation.predicting.outputs import Look, Outputs
from rlossctl.evaluation.predicting.prediction_files import (
    Sources,
    Summary,
    check,
    format_summary,
    predict_photos,
)
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule
from rlossctl.evaluation.reporting import table
from rlossctl.evaluation.running.decoders import Decoding
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import (
    OpenedModel,
    PreprocessOverrides,
    naming_weights,
    open_model,
)
from rlossctl.progress import track
from rlossctl.words import counted

Say = Callable[[str], None]


@dataclass(frozen=True)
class PredictJob:
    """A model, what it predicts, and what is written.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        overrides: replace the model's own preprocessing.
        protocol, rule: as for `Predictor`.
        outputs: a look without a palette takes the model's.
    """

    named: Named
    sources: Sources
    outputs: Outputs
    device: str = "auto"
    overrides: PreprocessOverrides = field(default_factory=PreprocessOverrides)
    protocol: Protocol = field(default_factory=Protocol)
    rule: Rule = field(default_factory=Rule)
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True)
class _Opened:
    """A job whose model is open."""

    job: PredictJob
    model: OpenedModel
    predictor: Predictor
    outputs: Outputs

    @classmethod
    def of(cls, job: PredictJob) -> _Opened:
        model = open_model(job.named, job.device)
        predictor = Predictor(model.runner, job.overrides.apply(model.preprocess), job.protocol, job.rule)
        look = dataclasses.replace(job.outputs.look, palette=job.outputs.look.palette or model.palette)
        return cls(job, model, predictor, dataclasses.replace(job.outputs, look=look))

    def tell(self, say: Say) -> None:
        """Says what the model is, and what is doubtful about it."""
        say(table.format_run(self.model, self.predictor))
        for warning in self.model.warnings:
            say(f"warning  {warning}")

    def predict(self, part: Part | None = None, *, progress: bool = True) -> Summary:
        """Predicts all photos, or those of a part."""
        sources, decoding = self.job.sources, self.job.decoding
        if part is not None:
            self.check_parts()
            chosen = [sources.photos[place] for place in part.places(len(sources.photos))]
            sources = dataclasses.replace(sources, photos=chosen)
        with naming_weights(self.job.named):
            return predict_photos(
                self.predictor,
                sources,
                self.outputs,
                workers=decoding.workers,
                decoders=decoding.decoders,
                progress=progress,
            )

    def check_parts(self) -> None:
        """Raises UsageError if something cannot be predicted in parts, or as for `predict_photos`."""
        outputs, sources = self.outputs, self.job.sources
        found = {"--voc-archive": outputs.archive, "--write coco": outputs.coco, "a video": sources.videos}
        named = [name for name, value in found.items() if value]
        if named:
            raise UsageError(
                "this cannot be made in parts",
                found=", ".join(named),
                expected="photos, and a file for each of them",
                advice="leave it out, or predict in one process; `rlossctl data labels` reads label images",
            )
        check(self.predictor, outputs, sources)

    def key(self, part: Part) -> dict[str, Any]:
        """Identifies the predictions of a part: the model, the photos, and every option that changes them."""
        predictor, sources, outputs = self.predictor, self.job.sources, self.outputs
        return plain(
            {
                "model": self.model.fingerprint,
                "list": sources.digest,
                "preprocessing": predictor.preprocess and dataclasses.asdict(predictor.preprocess),
                "protocol": {**dataclasses.asdict(predictor.protocol), "batch": None},
                "rule": dataclasses.asdict(predictor.rule),
                "upright": sources.upright,
                "folder": str(outputs.folder),
                "kinds of files": outputs.kinds,
                "look": dataclasses.asdict(outputs.look),
                PART: dataclasses.asdict(part),
            }
        )

    def content(self, part: Part, parts: InParts, *, progress: bool) -> Packed:
        """Predicts a part; what its file says."""
        summary = self.predict(part, progress=progress)
        failed = [[where, error.message, error.found] for where, error in summary.failed]
        facts = {"models": [""], "model": "", "complete": True, "command": list(parts.command)}
        facts |= {"done": summary.done, "turned": summary.turned, "rotated": summary.rotated}
        return Packed(self.key(part), plain({**facts, "failed": failed, "folder": str(self.outputs.folder)}))


def run(job: PredictJob, say: Say = print) -> Summary:
    """Predicts everything; raises as `open_model` and `predict_photos` do."""
    opened = _Opened.of(job)
    opened.tell(say)
    summary = opened.predict()
    say(format_summary(summary, opened.outputs))
    return summary


def make(job: PredictJob, parts: InParts, part: Part, say: Say = print) -> Summary:
    """Predicts one part of the photos, unless its file is there already.

    Raises:
        UsageError: the folder has parts of another job, or the job cannot be divided.
        RlossError: as for `run`.
    """
    opened, path = _Opened.of(job), parts.folder.path(part)
    key = opened.key(part)
    parts.folder.require(key, path)
    opened.tell(say)
    if is_done(path, key):
        say(f"part {part} is done: {path}")
        return _summary([folder.load(path)], parts.place)
    packed = opened.content(part, parts, progress=True)
    folder.save(path, packed.to_bytes())
    summary = _summary([packed], parts.place)
    say(f"part {part}: {format_summary(summary, opened.outputs)}")
    return summary


@dataclass(frozen=True)
class _Work:
    """Parts of the predictions, for Ray's actors."""

    job: PredictJob
    parts: InParts

    def open(self) -> Make:
        opened = _Opened.of(self.job)
        return lambda task: opened.content(task.part, self.parts, progress=False).to_bytes()


def make_all(job: PredictJob, parts: InParts, pool: Pool, say: Say = print) -> Summary:
    """Predicts all parts that are not done yet on Ray, whose actors must reach the photos and the outputs.

    Raises:
        UsageError: as for `make`.
        RlossError: as for `run` and `ray_pool.run`.
    """
    opened = _Opened.of(dataclasses.replace(job, device="cpu"))
    opened.check_parts()
    count = parts.folder.count() or max(1, math.ceil(len(job.sources.photos) / PHOTOS))
    keys = keys_of(opened.key(Part(0, count)), count)
    paths = {part: parts.folder.path(part) for part in keys}
    done = parts.done({paths[part]: key for part, key in keys.items()})
    tasks = [Task(0, part) for part in keys if paths[part] not in done]
    say(f"{counted(len(tasks), 'part')} to make, {count - len(tasks)} done already")
    for task, made in track(ray_pool.run(_Work(job, parts), tasks, pool), len(tasks), "parts"):
        folder.save(paths[task.part], made)
    return merge(parts, say)


def merge(parts: InParts, say: Say = print) -> Summary:
    """The summary of all parts in a folder.

    Raises:
        DataError: parts are missing, or files are something else.
        UsageError: the files belong to several jobs.
    """
    found = parts.folder.all()
    folder.require_all(found, parts.place)
    summary = _summary(found, parts.place)
    say(format_summary(summary, Outputs(Path(str(found[0].facts.get("folder"))), look=Look())))
    return summary


def _summary(found: Iterable[Packed], where: str) -> Summary:
    """The sum of what the parts say; raises DataError if they say something else."""
    summary = Summary()
    error = functools.partial(DataError, expected="a whole picture")
    try:
        for facts in (packed.facts for packed in found):
            summary.done += int(facts["done"])
            summary.turned += int(facts["turned"])
            summary.rotated += map(str, facts["rotated"])
            summary.failed += [
                (str(place), error(message, where=place, found=why))
                for place, message, why in facts["failed"]
            ]
    except (KeyError, TypeError, ValueError) as cause:
        raise folder.damaged(where, cause) from cause
    return summary
