"""What is looked at before the first iteration: the net, the lists' files, a few labels and photos."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np

from rlossctl.data.images import image_orientation
from rlossctl.data.label_ids import LabelIds
from rlossctl.data.lists import Sample
from rlossctl.data.sources.stream import Source
from rlossctl.errors import DataError, PrototxtError
from rlossctl.net import Net
from rlossctl.net.unread import unread_fields
from rlossctl.solver.data_errors import advised
from rlossctl.solver.far_taps import taps_beyond_the_map
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.scoring.testing import counts_on
from rlossctl.solver.solver import Solver
from rlossctl.words import counted

LOOKED_AT = 48  # labels and photos, evenly spread over the list
NAMED = 5  # missing files that an error names
IGNORED = 255


class Classes(NamedTuple):
    """How many classes a net is trained to tell, and the id of pixels that do not count."""

    number: int
    ignore: int


class _CrossEntropy(Protocol):
    axis: int
    ignore: int | None


def look_before_training(solver: Solver, file: SolverFile) -> None:
    """Refuses a run that would train nothing or stop for a missing file, and warns of what is suspicious.

    Raises:
        PrototxtError: the training net has no layers, or no loss.
        DataError: files that a list names are not there.
    """
    _require_loss(solver.net, file)
    for net in (solver.net, *solver.test_nets):
        for source in _list_sources(net):
            with advised(net.phase, source):
                require_files(source)
    for warning in _warnings(solver):
        solver.log.warning(warning)


def require_files(source: Source) -> None:
    """Whether the files that a source's list names are there; none is opened.

    Raises:
        DataError: some are not; all are counted, the first ones named.
    """
    missing = [(path, sample.line) for sample, path in _paths(source) if not os.path.exists(path)]
    if not missing:
        return
    shown = ", ".join(f"{path} (line {line})" for path, line in missing[:NAMED])
    raise source.error(
        f"{counted(len(missing), 'file')} of the list {'is' if len(missing) == 1 else 'are'} missing",
        where=f"{source.list_name}:{missing[0][1]}",
        found=f"no file {shown}" + (f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""),
        expected=f"the {counted(len(source.named_files()), 'line')} of the list name files that are there",
        advice="correct the list, or the folder of its names: root_folder in the prototxt, or --root",
    )


def _paths(source: Source) -> Iterator[tuple[Sample, str]]:
    """Every file once, with the first line that names it."""
    seen = set()
    for sample in source.named_files():
        for path in (sample.image, sample.label):
            if path is not None and path not in seen:
                seen.add(path)
                yield sample, path


def _require_loss(net: Net, file: SolverFile) -> None:
    what = "no layers" if not net.layers else "no loss" if not any(_weights(net)) else ""
    if what:
        raise PrototxtError(
            f"has {what}, so there is nothing to train",
            where=net.file.path or file.path,
            found=f"{counted(len(net.layers), 'layer')} in phase TRAIN, none with a loss_weight",
            expected="a loss layer, such as SoftmaxWithLoss, or a loss_weight",
            advice="name the net for training, and check the include rules of its loss",
        )


def _weights(net: Net) -> Iterator[float]:
    return (weight for layer in net.layers for weight in layer.node.loss_weights)


def _warnings(solver: Solver) -> Iterator[str]:
    net = solver.net
    if not any(entry.lr_mult for entry in net.learnable):
        yield f"{net.file.path}: no layer learns: the net has no weights, or every lr_mult is 0"
    yield from unread_fields(net.layers)
    yield from taps_beyond_the_map(net)
    classes = _classes(net)
    for source in _list_sources(net):
        yield from _suspicious_labels(source, classes)
        yield from _turned_photos(source)
    for test_net in solver.test_nets:
        for layer in test_net.layers:
            if counts_on(layer):
                yield (
                    f"{layer.node.where}: layer {layer.name!r} (SegAccuracy, reset: false) counts on from "
                    f"batch to batch: what a test prints of {layer.tops[0]} are Caffe's means of running "
                    "figures, not the scores of the list; SegmentationScores and rlossctl eval give those"
                )


def _classes(net: Net) -> Classes | None:
    """Those of the first cross-entropy that is part of the objective."""
    for layer in net.layers:
        if layer.type == "SoftmaxWithLoss" and any(layer.node.loss_weights):
            loss = cast(_CrossEntropy, layer.module)
            ignore = IGNORED if loss.ignore is None else loss.ignore
            number = net.shapes[layer.bottoms[0]][loss.axis]
            return Classes(number, ignore if 0 <= ignore <= IGNORED else IGNORED)
    return None


def _suspicious_labels(source: Source, classes: Classes | None) -> Iterator[str]:
    lines = [sample for sample in source.named_files() if sample.label is not None]
    ids, looked_at = _survey(source, lines, classes.ignore if classes else IGNORED)
    if not looked_at:
        return
    seen = f"{looked_at} of {counted(len(lines), 'label image')} looked at"
    seen += f"; {source.label_rule}" if source.label_rule else ""
    for suspicion in ids.one_class():
        yield f"{source.list_name}: {suspicion.found} ({seen})"
        return
    missing = [] if classes is None else sorted({*range(classes.number)} - {*ids.classes(), classes.ignore})
    if missing:
        few = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        count = counted(len(missing), "class", "classes")
        yield f"{source.list_name}: {count} of the net in no label: {few} ({seen})"


def _survey(source: Source, lines: Sequence[Sample], ignore: int) -> tuple[LabelIds, int]:
    """The ids in some of the labels; what cannot be read is told when it is drawn."""
    ids, looked_at = LabelIds(ignore), 0
    for sample in _spread(lines):
        try:
            ids.add(source.label_ids(sample))
        except DataError:
            continue
        looked_at += 1
    return ids, looked_at


def _turned_photos(source: Source) -> Iterator[str]:
    turned, looked_at = [], 0
    if getattr(source, "upright", False):
        return
    for sample in _spread(source.named_files()):
        try:
            orientation = image_orientation(sample.image)
        except DataError:
            continue
        looked_at += 1
        if orientation != 1:
            turned.append(sample.image)
    if turned:
        yield (
            f"{source.list_name}: {counted(len(turned), 'photo')} of {looked_at} looked at with an EXIF "
            f"rotation, such as {turned[0]}; it is not applied: if labels were drawn on upright photos, set "
            "the data layer's field upright: true"
        )


def _spread(lines: Sequence[Sample]) -> list[Sample]:
    count = min(len(lines), LOOKED_AT)
    return (
        [lines[index] for index in np.linspace(0, len(lines) - 1, count).round().astype(int)] if count else []
    )


def _list_sources(net: Net) -> list[Source]:
    return [source for source in net.sources.values() if isinstance(source, Source)]
