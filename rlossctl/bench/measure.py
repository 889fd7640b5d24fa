"""Times contenders in turn, so that other work on the machine slows all of them alike."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from rlossctl.bench.contenders import Contender, Filter, Loss
from rlossctl.bench.samples import picture, scores
from rlossctl.bilateral import bilateral_filter, choice, memory

PICTURES = 8  # different ones: with a single picture, a processor would learn every branch
TURN_SECONDS = 1.0

Run = Callable[[torch.Tensor], object]  # takes the images of a batch


@dataclass(frozen=True)
class Job:
    """What to filter, and how often."""

    size: int
    kind: str
    channels: int = 21
    batch: int = 1
    threads: int = 1
    sigma_xy: float = 100
    sigma_rgb: float = 15
    repeats: int = 7
    on_the_clock: bool = False  # use wall-clock time even with one thread; processor time is less disturbed

    @property
    def clock(self) -> Callable[[], float]:
        return time.thread_time if self.threads == 1 and not self.on_the_clock else time.perf_counter

    @property
    def sigmas(self) -> tuple[float, float]:
        return self.sigma_xy, self.sigma_rgb


@dataclass(frozen=True)
class Result:
    """One contender's times in ms per image, extra bytes per call, and distance from the reference.

    `difference` is the relative L2 distance from its mode's twin in double precision; None if there is
    nothing to compare. `loss` and `memory` are None if they were not measured.
    """

    name: str
    filter: float
    loss: float | None
    difference: float | None
    memory: int | None


def measure(job: Job, contenders: list[Contender]) -> list[Result]:
    """One result per contender that takes images of this size."""
    batches, values = pictures(job), scores(job.batch, job.channels, job.size)
    mask = torch.ones(job.batch, 1, job.size, job.size)
    chosen = [c for c in contenders if c.most_pixels is None or job.size**2 <= c.most_pixels]
    with restoring_kernel_variable(), threads(job.threads):
        os.environ[choice.VARIABLE] = "twin"
        references = {mode: _reference(values, batches[0], job, mode) for mode in {c.mode for c in chosen}}
        filters = {c.name: _filter_run(c.apply, values, job) for c in chosen}
        losses = {c.name: _loss_run(c.loss, values, mask, job) for c in chosen if c.loss is not None}
        difference = {c.name: _distance(filters[c.name](batches[0]), references[c.mode]) for c in chosen}
        extra = {name: extra_bytes(functools.partial(run, batches[0])) for name, run in filters.items()}
        filter_times = time_in_turns(filters, batches, job)
        loss_times = time_in_turns(losses, batches, job)
    return [
        Result(
            name,
            filter_times[name],
            loss_times.get(name),
            difference[name],
            extra[name],
        )
        for name in filters
    ]


def filter_ms(contender: Contender, job: Job) -> float:
    """The time of the filter alone, in ms per image."""
    values = scores(job.batch, job.channels, job.size)
    with restoring_kernel_variable(), threads(job.threads):
        run = _filter_run(contender.apply, values, job)
        return time_in_turns({"": run}, pictures(job), job)[""]


def _filter_run(
    apply: Filter, values: torch.Tensor, job: Job
) -> Callable[[torch.Tensor], torch.Tensor | None]:
    return lambda image: apply(values, image, *job.sigmas)


def _loss_run(loss: Loss, values: torch.Tensor, mask: torch.Tensor, job: Job) -> Run:
    return lambda image: loss(values, mask, image, *job.sigmas)


def pictures(job: Job) -> tuple[torch.Tensor, ...]:
    """The batches of one turn, each [batch, 3, size, size]."""
    return picture(job.kind, PICTURES * job.batch, job.size).split(job.batch)


def time_in_turns(runs: Mapping[str, Run], batches: Sequence[torch.Tensor], job: Job) -> dict[str, float]:
    """The time of each run in ms per image, the median of its turns.

    The runs alternate, so that other work on the machine slows all of them alike. In a turn, a run is called
    with each batch, or with as many as TURN_SECONDS allow. One call before the turn does not count, so that
    each run finds the caches as it left them itself.
    """
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(job.repeats):
        for name, run in runs.items():
            run(batches[-1])
            turns[name].append(_turn(run, batches, job.clock) * 1e3 / job.batch)
    return {name: median(times) for name, times in turns.items()}


def _turn(run: Run, batches: Sequence[torch.Tensor], clock: Callable[[], float]) -> float:
    """Seconds per call, the mean over a turn."""
    start, calls = clock(), 0
    while calls < len(batches) and clock() - start < TURN_SECONDS:
        run(batches[calls])
        calls += 1
    return (clock() - start) / calls


def extra_bytes(run: Callable[[], object]) -> int | None:
    """How much one call on one thread raises the process's resident memory, including its result (Linux)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    rise = []

    def watch() -> None:  # in its own thread, which starts without memory kept from earlier calls
        torch.set_num_threads(1)
        memory.release()
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)  # give back free memory first, or it would hide the rise
        reset.write_text("5")  # reset the peak
        before = _status(status, "VmRSS")
        run()
        rise.append(max(0, _status(status, "VmHWM") - before))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    return rise[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def restoring_kernel_variable() -> Iterator[None]:
    """Restores RLOSSCTL_BILATERAL afterwards."""
    before = os.environ.get(choice.VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(choice.VARIABLE, None)
        if before is not None:
            os.environ[choice.VARIABLE] = before


def _reference(values: torch.Tensor, image: torch.Tensor, job: Job, mode: str) -> torch.Tensor:
    some = values[:, : min(job.channels, 4)].double()  # double runs the twin; a few channels are enough
    return bilateral_filter(some, image.double(), *job.sigmas, mode=mode)


def _distance(found: torch.Tensor | None, reference: torch.Tensor) -> float | None:
    if found is None:
        return None
    found = found[:, : reference.shape[1]].double()
    return ((found - reference).norm() / reference.norm()).item()


def _status(path: Path, key: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
