"""Folding the repeating parts of a long net, such as the blocks of a ResNet, into one box each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from rlossctl.drawing.boxes import Box

ENOUGH = 40  # a net with no more boxes than this is drawn in full
LONGEST = 24  # the most boxes in a part
SHOWN = 8  # the most lines shown for a part


Mark = tuple[object, ...]  # the properties that are equal in repeating parts


class Run(NamedTuple):
    """Boxes `start` to `start + period * times`: `times` consecutive parts of the same kind."""

    start: int
    period: int
    times: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.times


def fold(boxes: list[Box]) -> list[Box]:
    """Replaces repeating parts by one box each until the net is short enough or nothing repeats."""
    *_, folded = _rounds(boxes)
    return folded


class Block(NamedTuple):
    """Repeating parts of the whole drawing: the box that stands for them, and the boxes `start` to `end`."""

    box: Box
    start: int
    end: int


def blocks(boxes: list[Box]) -> list[Block]:
    """Every box that folding makes on its way, the largest first: a later one may hold earlier ones."""
    found: dict[tuple[int, int], Block] = {}
    for folded in _rounds(boxes):
        start = 0
        for box in folded:
            end = start + box.size
            if box.times > 1:
                found.setdefault((start, end), Block(box, start, end))
            start = end
    return sorted(found.values(), key=lambda block: block.start - block.end)


def _rounds(boxes: list[Box]) -> Iterator[list[Box]]:
    """The boxes, then those after each round of folding."""
    yield boxes
    while len(boxes) > ENOUGH and (runs := _runs(boxes)):
        boxes = _folded(boxes, runs)
        yield boxes


def _runs(boxes: list[Box]) -> list[Run]:
    """The runs from the start to the end of the net, at each place the one that saves most boxes."""
    marks = [_mark(boxes, index) for index in range(len(boxes))]
    runs, at = [], 0
    while at < len(boxes):
        found = [_run(marks, at, period) for period in range(1, LONGEST + 1)]
        best = _aligned(boxes, marks, max(found, key=lambda run: (run.times - 1) * run.period))
        if best.times > 1 and (best.period > 1 or best.times > 2):
            runs.append(best)
            at = best.end
        else:
            at += 1
    return runs


def _aligned(boxes: list[Box], marks: list[Mark], run: Run) -> Run:
    """The same run, started a little later if its parts then end where lines join, as in a residual block."""
    for shift in range(run.period):
        later = _run(marks, run.start + shift, run.period)
        if later.times == run.times and len(boxes[later.start + run.period - 1].sources) > 1:
            return later
    return run


def _run(marks: list[Mark], start: int, period: int) -> Run:
    times = 1
    part = marks[start : start + period]
    while marks[start + times * period : start + (times + 1) * period] == part and len(part) == period:
        times += 1
    return Run(start, period, times)


def _mark(boxes: list[Box], index: int) -> Mark:
    """The properties that must be equal in repeating parts: layers, and how far back a box reads."""
    box = boxes[index]
    return (tuple(box.kinds), box.shape, box.role, box.times, tuple(index - source for source in box.sources))


def _folded(boxes: list[Box], runs: list[Run]) -> list[Box]:
    home: dict[int, int] = {}
    out: list[Box] = []
    starts = {run.start: run for run in runs}
    index = 0
    while index < len(boxes):
        run = starts.get(index, Run(index, 1, 1))
        part = boxes[run.start : run.end]
        sources = {home[source] for box in part for source in box.sources if source < run.start}
        home.update((number, len(out)) for number in range(run.start, run.end))
        if run.times == 1:
            out.append(replace(part[0], sources=sorted(sources)))
        else:
            out.append(_one(part, run, sorted(sources)))
        index = run.end
    return out


def _one(part: list[Box], run: Run, sources: list[int]) -> Box:
    inner = part[: run.period]
    lines = [line for box in inner for line in (box.kinds if len(inner) == 1 else [_short(box)])]
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN - 1], f"... {len(lines) - SHOWN + 1} more"]
    title = f"{part[0].title} ... {part[-1].title}"
    size = sum(box.size for box in part)
    return Box(title, lines, part[-1].shape, "layer", sources, run.times, size=size)


def _short(box: Box) -> str:
    """A box in one line: its first layer, and the types of its in-place layers."""
    times = f"{box.times} x " if box.times > 1 else ""
    return times + ", ".join([box.kinds[0], *(kind.split(" ")[0] for kind in box.kinds[1:])])
