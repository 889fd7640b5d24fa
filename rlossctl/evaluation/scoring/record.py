"""What a pass over a list, or over a part of it, found: counts, and photos that it left out or doubts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlossctl.data.label_ids import Suspicion
from rlossctl.errors import DataError
from rlossctl.evaluation.parts import folder
from rlossctl.evaluation.parts.folder import PART
from rlossctl.evaluation.parts.packing import Packed
from rlossctl.evaluation.parts.part import Part
from rlossctl.evaluation.scoring.about import About
from rlossctl.evaluation.scoring.doubts import doubts
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.state import fill, packed
from rlossctl.evaluation.scoring.tally import Tally
from rlossctl.words import counted


@dataclass
class Record:
    """What is known of a list or a part of it.

    Attributes:
        tally: the counts.
        broken: places of the images that were left out -> why.
        rotated: places of the photos that are not upright.
        stopped: whether an error ended the pass.
    """

    tally: Tally
    broken: dict[int, str] = field(default_factory=dict)
    rotated: set[int] = field(default_factory=set)
    stopped: bool = False

    @property
    def complete(self) -> bool:
        """Whether every image is counted or left out."""
        return not self.stopped and set(self.tally.missing()) <= set(self.broken)

    def packed(self, key: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Packed:
        """The record with its key and other facts, for other processes."""
        # Copied in one step each: another thread may add to them.
        broken, rotated = self.broken.copy(), self.rotated.copy()
        found = {"broken": sorted(broken.items()), "rotated": sorted(rotated)}
        return packed(self.tally, key, {**(facts or {}), **found, "complete": self.complete})

    @classmethod
    def of(cls, content: Packed, about: About, total: int, where: object) -> Record:
        """The record of a part; raises DataError that names `where` if it is something else."""
        try:
            part = Part(**content.key[PART])
            whole = about.tally(0)
            tally = Tally(total, whole.num_classes, whole.ignore, whole.confusion is None, whole.band, part)
            fill(tally, content, where)
            broken = {int(place): str(why) for place, why in content.facts["broken"]}
            rotated = {int(place) for place in content.facts["rotated"]}
            if not {*broken, *rotated} <= set(tally.places):
                raise ValueError("photos of another part")
        except (KeyError, TypeError, ValueError, MemoryError) as error:
            raise folder.damaged(where, error) from error
        return cls(tally, broken, rotated)


def joined(records: Iterable[Record], whole: Tally) -> Record:
    """The record of the whole list, from those of all parts; `whole` is its tally, still empty."""
    result = Record(whole)
    for record in records:
        result.tally.merge(record.tally)
        result.broken |= record.broken
        result.rotated |= record.rotated
    return result


def check_broken(record: Record, images: Mapping[int, str], most: int) -> None:
    """Raises DataError if parts together left out more than `most` images, as one process would not."""
    if len(record.broken) > most:
        place, why = sorted(record.broken.items())[most]
        raise DataError(
            "more images cannot be used than may be left out",
            where=images[place],
            found=f"{why}; {counted(len(record.broken), 'image')} in all",
            expected=f"at most {most}, as --skip-broken says",
            advice="fetch the files again and remove their parts, or allow more with --skip-broken",
        )


def evaluation_of(record: Record, about: About, images: Mapping[int, str]) -> Evaluation:
    """The evaluation of the images that are counted, without pictures.

    Args:
        images: place -> image file, for the images that are counted, left out or rotated.
    """
    tally, counting = record.tally, about.counting
    places, boundary = tally.counted(), record.tally.boundary()
    return Evaluation(
        confusion=tally.confusion,
        class_names=list(about.class_names),
        images=len(places),
        seconds=tally.seconds,
        backend=about.backend,
        preprocess=about.preprocess,
        counts=tally.counts().images(places),
        image_names=[images[place] for place in places],
        protocol=about.protocol,
        rule=about.rule,
        interest=counting.interest,
        boundary=None if boundary is None else boundary.images(places),
        band=counting.band,
        warnings=(
            *about.warnings,
            *doubts(tally, about.class_names, counting.interest),
            *_rotated(record.rotated, images),
        ),
        skipped={images[place]: why for place, why in sorted(record.broken.items())},
    )


def _rotated(rotated: Collection[int], images: Mapping[int, str]) -> Iterator[Suspicion]:
    """Reports photos that the model saw without their EXIF rotation."""
    if rotated:
        found = f"{counted(len(rotated), 'photo')}, the first is {images[min(rotated)]}; --upright turns them"
        yield Suspicion("EXIF rotation that is not applied", found, fatal=False)
