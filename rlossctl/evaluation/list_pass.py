"""One pass over a list or a part of it: predicts the images that are not counted yet, and counts them."""

from __future__ import annotations

import dataclasses
import itertools
import time
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.data.label_ids import Suspicion
from rlossctl.data.sources.readahead import ahead
from rlossctl.errors import DataError
from rlossctl.evaluation.parts.folder import PART
from rlossctl.evaluation.parts.packing import plain
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.rules import Decision
from rlossctl.evaluation.predicting.samples import Listed, Loaded, groups, load
from rlossctl.evaluation.running.decoders import Call, Decoding
from rlossctl.evaluation.scoring.counting import Counting
from rlossctl.evaluation.scoring.evaluation import Picture
from rlossctl.evaluation.scoring.record import Record
from rlossctl.evaluation.scoring.state import State
from rlossctl.evaluation.scoring.tally import Tally
from rlossctl.progress import track

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Broken:
    index: int
    error: DataError


@dataclass(frozen=True)
class EvalOptions:
    """How to work through a list; nothing here changes the counts.

    Attributes:
        class_names: replace the model's own; "class 0", ... if there are none.
        pictures: predict this many images again for a report, half with the lowest image-wise IoU and half
            with the highest; or the images at these places in the list.
        decoding: who reads and prepares images.
        state: resume from this file, and save to it now and then and whenever the pass stops.
        part: this process's part of the list.
        progress: show a bar on a terminal, plain lines elsewhere.
        skip_broken: leave out at most this many photos and labels that cannot be read or do not fit each
            other.
        warnings: reasons to doubt the model.
        same: what else must be the same where a state is continued or parts are joined.
        facts: kept in the state's file, for whoever joins the parts.
    """

    class_names: Sequence[str] | None = None
    pictures: int | Sequence[int] = 0
    decoding: Decoding = field(default_factory=Decoding)
    state: State | None = None
    part: Part = field(default_factory=Part)
    progress: bool = True
    skip_broken: int = 0
    warnings: tuple[Suspicion, ...] = ()
    same: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class ListPass:
    """One pass over a list.

    Attributes:
        record: what is known so far.
        key: identifies the counts: the model, the list, and every option that changes them.
        facts: as in `EvalOptions`.
    """

    def __init__(
        self, predictor: Predictor, listed: Listed, counting: Counting, options: EvalOptions
    ) -> None:
        self._predictor, self._listed, self._options = predictor, listed, options
        masks = predictor.rule.output == "masks"
        total, classes = len(listed.samples), predictor.num_classes
        self._tally = Tally(total, classes, counting.ignore, masks, counting.band, options.part)
        self.record = Record(self._tally)
        self.key, self.facts = self._key(), options.facts
        self._saving = _Saving(self.record, options, self.key)
        self._counter: _Counter = _HostCounter(predictor, self._saving)
        if predictor.on_device is not None and counting.band is None:  # boundaries are counted in numpy
            self._counter = _DeviceCounter(predictor, self._saving, predictor.on_device)

    def run(self) -> Record:
        """Counts the images that are still missing."""
        self._saving.start()
        places = self._tally.missing()
        items: Iterable[Loaded | _Broken] = self._loaded(places)
        if self._options.progress and self._options.part.first:
            items = track(items, len(places), "images")
        try:
            self._counter.count(self._whole(items))
        except BaseException:
            self.record.stopped = True
            raise
        finally:
            self._saving.save(self._counter.flush)
        return self.record

    def pictures(self, positions: Sequence[int], counted: Sequence[int]) -> list[Picture]:
        """Images that are predicted again.

        Args:
            positions: which of the counted images.
            counted: the places of all counted images.
        """
        kept = []
        position = {counted[index]: index for index in positions}
        for item in self._whole(self._loaded(position)):
            answers = self._predictor.run(item.views)
            labels = decision_on(self._predictor, item, answers, self._tally.ignore).label_map
            kept.append(Picture(position[item.index], item.sample.image, item.photo, item.truth, labels))
        return kept

    def _whole(self, items: Iterable[Loaded | _Broken]) -> Iterator[Loaded]:
        """The items that could be read; notes the others, as many as the user allows."""
        broken, rotated = self.record.broken, self.record.rotated
        for item in items:
            if isinstance(item, Loaded):
                if item.rotated:
                    rotated.add(item.index)
                yield item
                continue
            broken[item.index] = f"{item.error.message}: {item.error.found}"
            if len(broken) > self._options.skip_broken:
                raise item.error

    def _try(self, place: int, call: Call) -> Loaded | _Broken:
        """A sample, or why it cannot be read."""
        try:
            return load(self._listed, place, self._predictor, self._tally.ignore, call)
        except DataError as error:
            return _Broken(place, error)

    def _loaded(self, places: Iterable[int]) -> Iterator[Loaded | _Broken]:
        with self._options.decoding.started() as call:
            yield from ahead(
                places,
                lambda place: self._try(place, call),
                self._options.decoding.workers,
            )

    def _key(self) -> dict[str, Any]:
        predictor, options = self._predictor, self._options
        preprocess = predictor.preprocess and dataclasses.asdict(predictor.preprocess)
        return plain(
            {
                "model": options.state.model if options.state else "",
                "list": self._listed.digest,
                "classes": self._tally.num_classes,
                "ignore": self._tally.ignore,
                "boundary": self._tally.band,
                "preprocessing": preprocess,
                "protocol": {**dataclasses.asdict(predictor.protocol), "batch": None},
                "rule": dataclasses.asdict(predictor.rule),
                **({"upright": True} if self._listed.upright else {}),
                PART: dataclasses.asdict(options.part),
                **options.same,
            },
        )


def decision_on(predictor: Predictor, item: Loaded, answers: Iterable[Any], ignore: int) -> Decision:
    """The prediction from the model's answers to an item's views."""
    valid = item.truth != ignore if predictor.rule.drop_ignored else None
    return predictor.finish(item.photo, item.views, answers, valid)


class _Saving:
    """A record, and the state (if any) that it is saved to now and then."""

    def __init__(self, record: Record, options: EvalOptions, key: dict[str, Any]) -> None:
        self.record, self.tally = record, record.tally
        self._state, self._facts, self._key = options.state, options.facts, key
        self._start = 0.0

    def start(self) -> None:
        """Resumes from the state's file, the clock included; images that were left out are tried again."""
        if self._state:
            self.record.rotated.update(self._state.load(self.tally, self._key).get("rotated", []))
        self._start = time.perf_counter() - self.tally.seconds

    def now_and_then(self, flush: Callable[[], None]) -> None:
        """Saves if it is time to."""
        if self._state and self._state.due():
            self.save(flush)

    def save(self, flush: Callable[[], None]) -> None:
        """Adds waiting counts to the tally and writes the record to the file."""
        try:
            flush()
        finally:
            self.tally.seconds = time.perf_counter() - self._start
            if self._state:
                self._state.save(self.record.packed(self._key, self._facts))


class _Counter(typing.Protocol):
    """Predicts items and counts the predictions."""

    def count(self, items: Iterable[Loaded]) -> None:
        """Counts all of them."""
        ...

    def flush(self) -> None:
        """Adds counts that wait elsewhere to the tally."""
        ...


class _HostCounter:
    """Counts on the CPU, in a thread beside the model."""

    def __init__(self, predictor: Predictor, saving: _Saving) -> None:
        self._predictor, self._saving = predictor, saving

    def count(self, items: Iterable[Loaded]) -> None:
        """Counts all of them."""
        with ThreadPoolExecutor(1, "rlossctl-count") as pool:
            waiting: deque[Future[None]] = deque()
            for group in groups(items, self._predictor.protocol.batch):
                answers = self._predictor.run([view for item in group for view in item.views])
                for item in group:
                    mine = itertools.islice(answers, len(item.views))
                    if len(item.views) > 1:  # one at a time: all answers at once would need much memory
                        self._count(item, mine)
                        continue
                    # The model is done with this image: count it while the model runs the next one.
                    waiting.append(pool.submit(self._count, item, list(mine)))
                    if len(waiting) > 2:
                        waiting.popleft().result()
            for future in waiting:
                future.result()

    def flush(self) -> None:
        """Does nothing: nothing waits elsewhere."""

    def _count(self, item: Loaded, answers: Iterable[np.ndarray]) -> None:
        tally, where = self._saving.tally, item.sample.label
        answers = iter(answers)
        first = next(answers)
        pairs = self._predictor.pairs(item.views, first, item.truth) if tally.band is None else None
        if pairs is not None:
            tally.add_pairs(item.index, pairs, where)
        else:
            answers = itertools.chain([first], answers)
            tally.add(
                item.index, item.truth, decision_on(self._predictor, item, answers, tally.ignore), where
            )
        self._saving.now_and_then(self.flush)


class _DeviceCounter:
    """Counts class ids on the device where the model leaves them."""

    def __init__(self, predictor: Predictor, saving: _Saving, device: torch.device) -> None:
        from rlossctl.evaluation.scoring.device_counts import DeviceCounts

        self._predictor, self._saving = predictor, saving
        self._counts = DeviceCounts(saving.tally, device)

    def count(self, items: Iterable[Loaded]) -> None:
        """Counts all of them."""
        for group in groups(items, self._predictor.protocol.batch):
            answers = self._predictor.run([view for item in group for view in item.views])
            for item in group:
                labels = self._labels(item, itertools.islice(answers, len(item.views)))
                self._counts.add(item.index, item.truth, labels, item.sample.label)
            self._saving.now_and_then(self.flush)

    def _labels(self, item: Loaded, answers: Iterator[torch.Tensor]) -> torch.Tensor:
        """Class ids on the device; those of tiles are joined in numpy."""
        if len(item.views) == 1:
            rows, columns = item.views[0].keep
            return next(answers)[:rows, :columns]
        return self._counts.on_device(self._predictor.finish(item.photo, item.views, answers).label_map)

    def flush(self) -> None:
        """Adds the device's counts to the tally."""
        self._counts.flush()
