"""Evaluates a list in parts, each by another process or machine, and joins their files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlossctl.data.palette import Palette
from rlossctl.errors import UsageError
from rlossctl.evaluation.evaluate import about_of, with_pictures
from rlossctl.evaluation.job import Job, Outcome, Prepared, compared, format_result, pictures_of, prepared
from rlossctl.evaluation.list_pass import ListPass
from rlossctl.evaluation.parts import folder, ray_pool
from rlossctl.evaluation.parts.folder import PART
from rlossctl.evaluation.parts.jobs import PHOTOS, InParts, is_done, keys_of
from rlossctl.evaluation.parts.packing import Packed, plain
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.parts.ray_pool import Make, Pool, Task
from rlossctl.evaluation.running.open_model import naming_weights
from rlossctl.evaluation.scoring.about import About
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.record import Record, check_broken, evaluation_of, joined
from rlossctl.evaluation.scoring.state import State
from rlossctl.progress import track
from rlossctl.words import counted

Say = Callable[[str], None]


def make(job: Job, parts: InParts, part: Part, say: Say = print) -> None:
    """Counts one part of the list with every model of a job, unless its files are there already.

    The counts are saved every 30 seconds and whenever the pass stops, and the next call goes on from there.

    Raises:
        UsageError: the folder has parts of another job.
        RlossError: as for `job.run`.
    """
    for model in prepared(job, part):
        path = parts.folder.path(part, _tag(job, model))
        work = _work(job, model, parts, path)
        parts.folder.require(work.key, path)
        say(model.header)
        if is_done(path, work.key):
            say(f"part     {part} is done: {path}")
            continue
        with naming_weights(model.named):
            record = work.run()
        left = f", {counted(len(record.broken), 'image')} left out" if record.broken else ""
        say(f"part     {part}: {counted(len(record.tally.counted()), 'image')} counted{left}, in {path}")


def content(job: Job, model: Prepared, parts: InParts) -> bytes:
    """The file's content for the part that a model was prepared for, without writing it."""
    work = _work(job, model, parts, None)
    with naming_weights(model.named):
        record = work.run()
    return record.packed(work.key, work.facts).to_bytes()


@dataclass(frozen=True)
class _Work:
    """Parts of an evaluation, for Ray's actors."""

    job: Job
    parts: InParts

    def open(self) -> Make:
        """Opens the models when they are needed."""
        models, opened = prepared(self.job, Part()), list[Prepared]()

        def make(task: Task) -> bytes:
            while len(opened) <= task.model:
                opened.append(next(models))
            model = opened[task.model]
            options = dataclasses.replace(model.options, part=task.part, progress=False)
            return content(self.job, dataclasses.replace(model, options=options), self.parts)

        return make


def make_all(job: Job, parts: InParts, pool: Pool, say: Say = print) -> None:
    """Makes all parts that are not done yet, on Ray.

    Raises:
        UsageError: the folder has parts of another job.
        RlossError: as for `job.run` and `ray_pool.run`.
    """
    tasks: list[Task] = []
    keys: dict[Task, tuple[str, dict[str, Any]]] = {}
    # Only to know what is there; the actors may be on machines with other devices.
    for index, model in enumerate(prepared(dataclasses.replace(job, device="cpu"), Part())):
        count = parts.folder.count() or max(1, math.ceil(len(model.listed.samples) / PHOTOS))
        mine = {
            Task(index, part): (parts.folder.path(part, _tag(job, model)), key)
            for part, key in keys_of(_work(job, model, parts, None).key, count).items()
        }
        done = parts.done(dict(mine.values()))
        tasks += [task for task, (path, _) in mine.items() if path not in done]
        keys |= mine
    say(f"parts    {counted(len(tasks), 'part')} to make, {len(keys) - len(tasks)} done already")
    plain_job = dataclasses.replace(job, rescue=None, state=None)
    for task, made in track(ray_pool.run(_Work(plain_job, parts), tasks, pool), len(tasks), "parts"):
        path, key = keys[task]
        folder.require_same(Packed.from_bytes(made).key, key, f"part {task.part}, made by an actor")
        folder.save(path, made)


def merge(parts: InParts, job: Job | None = None, most: int = 0, say: Say = print) -> Outcome:
    """Joins the parts in a folder: the outcome that one process has.

    Args:
        job: the job again, if its pictures are wanted; None needs no model.
        most: leave out at most this many images; if the parts' own limit is higher, that.

    Raises:
        DataError: parts are missing, or files are something else.
        UsageError: the files belong to several jobs, or to another one than `job`.
    """
    found = parts.folder.all()
    try:
        folder.require_all(found, parts.place)
        by_model = {
            name: [packed for packed in found if packed.facts["model"] == name]
            for name in found[0].facts["models"]
        }
        most = max(most, *(packed.facts["skip_broken"] for packed in found))
        first = found[0].facts
        metric, list_name = str(first["metric"]), str(first["list"])
        headers = {name: str(files[0].facts["header"]) for name, files in by_model.items()}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise folder.damaged(parts.place, error) from error
    drawn = {} if job is None else {model.named.name: model for model in prepared(job, Part())}
    evaluations: dict[str, Evaluation] = {}
    for name, files in by_model.items():
        say(headers[name])
        evaluations[name] = _merged(files, parts, most, job, drawn.get(name), evaluations)
        say(format_result(evaluations[name], metric))
    differences = compared(evaluations, next(iter(evaluations.values())).interest, say)
    fingerprints = {name: str(files[0].key["model"]) for name, files in by_model.items()}
    palettes = (model.opened.palette for model in drawn.values())
    palette: Palette | None = next(filter(None, palettes), None)
    return Outcome(evaluations, differences, list_name, True, palette, fingerprints, metric)


def _merged(
    files: Sequence[Packed],
    parts: InParts,
    most: int,
    job: Job | None,
    model: Prepared | None,
    others: Mapping[str, Evaluation],
) -> Evaluation:
    """One model's evaluation from its parts, with pictures if the model is there."""
    about, total, images = _described(files, parts.place)
    record = joined((Record.of(packed, about, total, parts.place) for packed in files), about.tally(total))
    check_broken(record, images, most)
    result = evaluation_of(record, about, images)
    if job is None:
        return result
    if model is None:
        raise UsageError(
            "the parts are of other models",
            where=parts.place,
            found=", ".join(str(name) for name in files[0].facts["models"]),
            expected="the models of the parts, in the same order and with the same names",
            advice="repeat the command of the parts, with --merge instead of --part and --parts",
        )
    work = _work(job, model, parts, None)
    folder.require_same({**files[0].key, PART: None}, {**work.key, PART: None}, parts.place)
    return with_pictures(result, work, record, pictures_of(job, others))


def _described(files: Sequence[Packed], where: str) -> tuple[About, int, dict[int, str]]:
    """What the parts say of their evaluation, the length of the list, and its images by place."""
    try:
        about = About.from_json(files[0].facts["about"], where)
        backends = dict.fromkeys(str(packed.facts["about"]["backend"]) for packed in files)
        total = int(files[0].facts["total"])
        images = dict(place for packed in files for place in _images(packed, total))
    except (KeyError, TypeError, ValueError) as error:
        raise folder.damaged(where, error) from error
    return dataclasses.replace(about, backend=" and ".join(backends)), total, images


def _images(packed: Packed, total: int) -> Iterator[tuple[int, str]]:
    """The images of a part by place."""
    return zip(Part(**packed.key[PART]).places(total), map(str, packed.facts["images"]), strict=True)


def _work(job: Job, model: Prepared, parts: InParts, path: str | None) -> ListPass:
    """The pass over a part, with everything in its file that a merge needs."""
    counting, fingerprint = job.counting, model.opened.fingerprint
    about = about_of(model.predictor, counting, model.options)
    places = model.options.part.places(len(model.listed.samples))
    same = {
        "model": fingerprint,
        "names": list(about.class_names),
        "classes of interest": counting.interest,
        "batch": model.predictor.protocol.batch,
        "metric": job.metric,
        "models": [named.name for named in job.models],
    }
    facts: dict[str, Any] = {
        "model": model.named.name,
        "models": same["models"],
        "about": about.to_json(),
        "images": [model.listed.samples[place].image for place in places],
        "total": len(model.listed.samples),
        "list": model.listed.name,
        "header": model.header,
        "metric": job.metric,
        "skip_broken": model.options.skip_broken,
        "command": list(parts.command),
    }
    state = None if path is None else State(path, fingerprint)
    options = dataclasses.replace(model.options, state=state, same=same, facts=plain(facts))
    return ListPass(model.predictor, model.listed, counting, options)


def _tag(job: Job, model: Prepared) -> str:
    """What tells the models of a job apart in the names of files."""
    return model.named.name if len(job.models) > 1 else ""
