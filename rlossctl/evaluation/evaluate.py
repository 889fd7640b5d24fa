"""One pass over a list: images through a predictor, predictions into one tally."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.counts import ClassCounts, class_mean
from rlossctl.data.lists import Sample
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule
from rlossctl.evaluation.reporting.examples import choose, image_scores
from rlossctl.evaluation.running.decoders import Decoders, ahead, decoding
from rlossctl.evaluation.running.runners import LabelRunner, Runner
from rlossctl.evaluation.running.samples import Loaded, groups, load
from rlossctl.evaluation.scoring.confusion import Confusion
from rlossctl.evaluation.scoring.shards import Shard
from rlossctl.evaluation.scoring.state import State
from rlossctl.evaluation.scoring.tally import Tally
from rlossctl.progress import track

if TYPE_CHECKING:
    from rlossctl.evaluation.running.device_counts import DeviceCounts

WORKERS = 2  # that decode; see benchmarks/evaluation.py


@dataclass(frozen=True)
class Picture:
    """One evaluated image, for reports.

    Attributes:
        index: its place in the list, from 0.
        name: the image file as the list leads to it.
        photo: uint8 [H, W, 3] BGR.
        truth: uint8 [H, W] class ids and the ignore label.
        prediction: uint8 [H, W] class ids, 255 where the rule gave none.
    """

    index: int
    name: str
    photo: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@dataclass
class Evaluation:
    """What one pass gave.

    Attributes:
        confusion: counts over all scored pixels of all images; None where masks may overlap.
        class_names: one for each class.
        images: how many images were evaluated.
        seconds: wall-clock time of the whole pass, reading included, with the runs before an interruption.
        backend: what computed the scores.
        preprocess: how the images were prepared; None where the model does it itself.
        counts: hits, truth and predicted pixels of each image, [images, C].
        image_names: image files, in the order of `counts`.
        protocol, rule: how probabilities and predictions were made.
        interest: the classes that means are taken over, or None for all.
        boundary: the counts of each image's boundary, [images, C], or None.
        band: the boundary's width as a share of the diagonal, or None.
        pictures: the images that were asked to be kept.
    """

    confusion: Confusion | None
    class_names: list[str]
    images: int
    seconds: float
    backend: str
    preprocess: Preprocess | None
    counts: ClassCounts
    image_names: list[str]
    protocol: Protocol = field(default_factory=Protocol)
    rule: Rule = field(default_factory=Rule)
    interest: tuple[int, ...] | None = None
    boundary: ClassCounts | None = None
    band: float | None = None
    pictures: list[Picture] = field(default_factory=list)

    def miou(self) -> float | None:
        """Mean IoU of the set over the classes of interest that occur; None when none does."""
        return class_mean(self.counts.sum().iou(), self.interest)


def evaluate(
    runner: Runner | LabelRunner,
    samples: Sequence[Sample],
    *,
    preprocess: Preprocess | None = None,
    protocol: Protocol | None = None,
    rule: Rule | None = None,
    class_names: Sequence[str] | None = None,
    ignore: int = 255,
    interest: Sequence[int] | None = None,
    band: float | None = None,
    source: str = "list",
    pictures: int | Sequence[int] = 0,
    workers: int = WORKERS,
    decoders: Decoders = "threads",
    state: State | None = None,
    shard: Shard | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores a model on labelled images, each at its own size, with one tally for the set.

    Args:
        runner: the model.
        samples: lines of a list; each needs a label image.
        preprocess: replaces the runner's own.
        protocol: how photos are presented; whole, once, by default.
        rule: how probabilities become predictions; argmax by default.
        class_names: replace the runner's own; "class 0", ... where neither has any.
        ignore: label of pixels that are not scored.
        interest: ids of the classes that means are taken over; all by default.
        band: count boundaries, too, of this width as a share of the diagonal (0.02 in the paper).
        source: the list's name, for errors.
        pictures: predict this many images again for a report, half of them those with the lowest image-wise
            IoU, half those with the highest; or the images at these places of the list.
        workers: how many threads decode and prepare images.
        decoders: "processes" has as many processes decode for them; see `ahead.decoding`.
        state: go on from this file, and save to it now and then, and when anything stops the pass.
        shard: this process's part of the list; the result is that of the whole list in every process.
        progress: a bar on a terminal, plain lines elsewhere.

    Raises:
        DataError: a file that cannot be read, or a label that does not fit; names the list's line.
        NetError: the model fails, gives other than `num_classes` scores or no numbers, or no preprocessing
            is known.
        UsageError: options that do not go together, or a state of another evaluation.
    """
    predictor = Predictor(runner, preprocess, protocol or Protocol(), rule or Rule())
    names = names_for(runner, class_names)
    _check(predictor, interest, band, ignore, pictures)
    work = _Pass(predictor, samples, ignore, band, source, (decoders, workers), state, shard or Shard())
    work.run(progress)
    if isinstance(pictures, int):
        pictures = choose(image_scores(work.tally.counts(), interest), pictures)
    return Evaluation(
        confusion=work.tally.confusion,
        class_names=names,
        images=len(samples),
        seconds=work.tally.seconds,
        backend=runner.backend,
        preprocess=predictor.preprocess,
        counts=work.tally.counts(),
        image_names=[sample.image for sample in samples],
        protocol=predictor.protocol,
        rule=predictor.rule,
        interest=None if interest is None else tuple(interest),
        boundary=work.tally.boundary(),
        band=band,
        pictures=work.pictures(pictures),
    )


def names_for(runner: Runner | LabelRunner, class_names: Sequence[str] | None = None) -> list[str]:
    """The class names to print: the caller's, else the model's, else numbers.

    Raises:
        DataError: there are more or fewer names than classes.
    """
    names = class_names or runner.classes or [f"class {index}" for index in range(runner.num_classes)]
    if len(names) != runner.num_classes:
        raise DataError(
            "the class names do not fit the model",
            found=f"{len(names)} names",
            expected=f"{runner.num_classes}",
            advice="name them with --classes FILE, one per line",
        )
    return list(names)


class _Pass:
    """The images that are not counted yet, through the predictor and into the tally."""

    def __init__(
        self,
        predictor: Predictor,
        samples: Sequence[Sample],
        ignore: int,
        band: float | None,
        source: str,
        decoders: tuple[Decoders, int],
        state: State | None,
        shard: Shard,
    ) -> None:
        self.predictor, self.samples, self._decoders = predictor, samples, decoders
        self.state, self.shard = state, shard
        self._start = 0.0
        self._load = functools.partial(load, predictor=predictor, ignore=ignore, source=source)
        masks = predictor.rule.output == "masks"
        self.tally = Tally(len(samples), predictor.num_classes, ignore, masks, band)
        self._device_counts: DeviceCounts | None = None
        if predictor.on_device and band is None:  # boundaries are counted in numpy
            from rlossctl.evaluation.running.device_counts import DeviceCounts

            self._device_counts = DeviceCounts(self.tally, predictor.on_device)
        self._key = state and state.key(samples, _options(self.tally, predictor, shard))

    def run(self, progress: bool) -> None:
        """Counts what is not counted, then adds up the shards."""
        if self.state:
            self.state.load(self.tally, self._key)
        self._start = time.perf_counter() - self.tally.seconds
        jobs = [
            (index, sample)
            for index, sample in enumerate(self.samples)
            if self.shard.takes(index) and not self.tally.done[index]
        ]
        items = self._loaded(jobs)
        try:
            self._each(track(items, len(jobs), "images") if progress and self.shard.first else items)
        finally:
            self._save()
        self.shard.sum(self.tally)

    def pictures(self, wanted: Sequence[int]) -> list[Picture]:
        """The images at these places, predicted again; none in processes that write nothing."""
        jobs = [(index, self.samples[index]) for index in (wanted if self.shard.first else ())]
        kept = []
        for item in self._loaded(jobs):
            labels = self._finish(item, self.predictor.run(item.views)).labels
            kept.append(Picture(item.index, item.sample.image, item.photo, item.truth, labels))
        return kept

    def _loaded(self, jobs: Iterable[tuple[int, Sample]]) -> Iterator[Loaded]:
        with decoding(*self._decoders) as call:
            yield from ahead(jobs, lambda job: self._load(*job, call=call), self._decoders[1])

    def _each(self, items: Iterable[Loaded]) -> None:
        if self._device_counts:
            self._each_on_device(items, self._device_counts)
            return
        with ThreadPoolExecutor(1, "rlossctl-count") as pool:
            waiting: deque[Future[None]] = deque()
            for group in groups(items, self.predictor.protocol.batch):
                answers = self.predictor.run([view for item in group for view in item.views])
                for item in group:
                    mine = itertools.islice(answers, len(item.views))
                    if len(item.views) > 1:  # as they come: all of them would need much memory
                        self._count(item, mine)
                        continue
                    # The model is done with the image: the rest runs beside it on the next one.
                    waiting.append(pool.submit(self._count, item, list(mine)))
                    if len(waiting) > 2:
                        waiting.popleft().result()
            for future in waiting:
                future.result()

    def _each_on_device(self, items: Iterable[Loaded], counts: DeviceCounts) -> None:
        for group in groups(items, self.predictor.protocol.batch):
            answers = self.predictor.run([item.views[0] for item in group])
            for item, labels in zip(group, answers, strict=True):
                rows, columns = item.views[0].keep
                counts.add(item.index, item.truth, labels[:rows, :columns], item.sample.label)
            self._save_now_and_then()

    def _count(self, item: Loaded, answers: Iterable[np.ndarray]) -> None:
        decision = self._finish(item, answers)
        self.tally.add(item.index, item.truth, decision, item.sample.label)
        self._save_now_and_then()

    def _finish(self, item: Loaded, answers: Iterable[np.ndarray]) -> Decision:
        valid = item.truth != self.tally.ignore if self.predictor.rule.drop_ignored else None
        return self.predictor.finish(item.photo, item.views, answers, valid)

    def _save_now_and_then(self) -> None:
        if self.state and self.state.due():
            self._save()

    def _save(self) -> None:
        try:
            if self._device_counts:
                self._device_counts.flush()
        finally:
            self.tally.seconds = time.perf_counter() - self._start
            if self.state:
                self.state.save(self.tally, self._key)


def _options(tally: Tally, predictor: Predictor, shard: Shard) -> dict[str, Any]:
    """Every option that changes the counts, for a state's key."""
    preprocess = predictor.preprocess and dataclasses.asdict(predictor.preprocess)
    return {
        "classes": tally.num_classes,
        "ignore": tally.ignore,
        "boundary": tally.band,
        "preprocessing": preprocess,
        "protocol": {**dataclasses.asdict(predictor.protocol), "batch": None},
        "rule": dataclasses.asdict(predictor.rule),
        "shard": dataclasses.asdict(shard),
    }


def _check(
    predictor: Predictor, interest: Sequence[int] | None, band: float | None, ignore: int, pictures: object
) -> None:
    classes = predictor.num_classes
    if interest is not None and not (interest and set(interest) <= set(range(classes))):
        raise UsageError(
            "the classes of interest are not the model's",
            found=", ".join(map(str, interest)) or "none",
            expected=f"ids from 0 to {classes - 1}",
        )
    if interest is not None and set(interest) == {ignore}:
        raise UsageError("the only class of interest is ignored", found=f"class {ignore}")
    if band is not None and not 0 < band <= 1:
        raise UsageError(
            "impossible boundary width", found=band, expected="a share of the diagonal, such as 0.02"
        )
    if pictures and predictor.rule.output == "masks":
        raise UsageError(
            "masks that may overlap cannot be drawn as one picture",
            expected="one class per pixel for a report",
            advice="leave --masks or --report out",
        )
