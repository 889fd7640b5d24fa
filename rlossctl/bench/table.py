"""The table of `rlossctl bench filter`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rlossctl.bench.contenders import Contender
from rlossctl.bench.measure import PICTURES, Job, Result, measure
from rlossctl.bench.samples import KINDS

HEAD = f"{'size':>5} {'image':<9}{'filter':<13}{'ms':>9}{'times':>8}{'loss ms':>10}{'times':>8}"
HEAD += f"{'difference':>12}{'extra MB':>10}"


def table(contenders: list[Contender], sizes: list[int], job: Job) -> Iterator[str]:
    """Yields lines as they are measured: the job at each size, on each kind of image."""
    clock = "processor time" if job.threads == 1 else "wall-clock time"
    yield (
        f"classes {job.channels}, batch {job.batch}, threads {job.threads}, sigmas "
        f"{job.sigma_xy:g} and {job.sigma_rgb:g}; ms per image, mean over {PICTURES} images, "
        f"median of {job.repeats} turns, {clock}"
    )
    yield from (f"{c.name:>12}: {c.what}" for c in contenders)
    yield (
        "times: relative to the first line; loss: forward and backward; difference: from the twin of the "
        "lattice or of the Gaussian sum, in double precision; extra MB: a call on one thread, and its result"
    )
    yield HEAD
    for size in sizes:
        for kind in KINDS:
            yield from rows(measure(replace(job, size=size, kind=kind), contenders), size, kind)


def rows(results: list[Result], size: int, kind: str) -> Iterator[str]:
    first = results[0]
    for result in results:
        cells = f"{size:>5} {kind:<9}{result.name:<13}{result.filter:>9.2f}"
        loss = "-" if result.loss is None else f"{result.loss:.2f}"
        difference = "-" if result.difference is None else f"{result.difference:.1e}"
        memory = "-" if result.memory is None else f"{result.memory / 1e6:.1f}"
        cells += f"{ratio(result.filter, first.filter)}{loss:>10}{ratio(result.loss, first.loss)}"
        yield f"{cells}{difference:>12}{memory:>10}"


def ratio(value: float | None, base: float | None) -> str:
    return f"{'-':>8}" if value is None or not base else f"{value / base:>7.1f}x"
