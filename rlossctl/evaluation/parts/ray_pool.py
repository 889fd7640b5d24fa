"""Makes parts on Ray: a pool of actors, here or on a cluster, each of which opens the model once."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rlossctl import plugins, trust
from rlossctl.errors import RlossError
from rlossctl.evaluation.parts.part import Part
from rlossctl.optional import needed

_STORE = 128 << 20  # bytes of shared memory on this machine; parts are small


class Task(NamedTuple):
    """A part, for one of a job's models."""

    model: int
    part: Part


Make = Callable[[Task], bytes]


class Work(Protocol):
    """What actors do. It is sent to them, so it holds names and settings, not what is open."""

    def open(self) -> Make:
        """Gives a function that makes the content of a part's file; an actor calls this once."""
        ...


@dataclass(frozen=True)
class Pool:
    """The actors.

    Attributes:
        address: of a cluster ("auto", "ray://host:10001", ...); None starts Ray on this machine.
        size: how many actors; None for one on each GPU, or one on each machine if there are none.
        gpu: whether actors may have GPUs.
    """

    address: str | None = None
    size: int | None = None
    gpu: bool = True


@dataclass(frozen=True)
class _Surroundings:
    """What the actors take over from the process that starts them."""

    folder: str = field(default_factory=os.getcwd)
    python_layers: bool = field(default_factory=trust.allows_python_layers)
    plugins: tuple[Path, ...] = field(default_factory=plugins.loaded)


class _Actor:
    """A process of the pool."""

    def __init__(self, work: Work, around: _Surroundings, cpus: int) -> None:
        with contextlib.suppress(OSError):  # another machine may not have it
            os.chdir(around.folder)
        # The processes on this machine share its CPUs, as torchrun's do.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ["LOCAL_WORLD_SIZE"] = str(max(1, cores // cpus))
        self._work, self._around = work, around
        self._make: Make | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The content of a part's file, or the error that stopped it, pickled."""
        task = Task(int(batch["model"][0]), Part(int(batch["rank"][0]), int(batch["count"][0])))
        try:
            content, failed = self._made(task), False
        except RlossError as error:
            content, failed = pickle.dumps(error), True
        return {**batch, "content": [content], "failed": [failed]}

    def _made(self, task: Task) -> bytes:
        with contextlib.ExitStack() as stack:
            if self._around.python_layers:
                stack.enter_context(trust.python_layers_allowed())
            if self._make is None:
                for file in self._around.plugins:
                    plugins.load(file)
                self._make = self._work.open()
            return self._make(task)


def run(work: Work, tasks: Sequence[Task], pool: Pool) -> Iterator[tuple[Task, bytes]]:
    """Makes parts, and gives the contents of their files as they come. A part whose actor dies is made again.

    Raises:
        RlossError: Ray is not installed or cannot be reached, or whatever the work raises.
    """
    if not tasks:
        return
    data = needed(
        "ray.data",
        "parts on several machines need Ray",
        "--engine ray",
        otherwise="make parts with --part I/N in processes of your own",
    )
    with _connected(pool):
        size, resources = _shares(pool)
        rows = [{"model": model, "rank": part.rank, "count": part.count} for model, part in tasks]
        made = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor,
            fn_constructor_args=(work, _Surroundings(), max(1, int(resources["num_cpus"]))),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=min(size, len(rows))),
            **resources,
        )
        with _failing():
            for row in made.iter_rows():
                if row["failed"]:
                    error: RlossError = pickle.loads(row["content"])
                    raise error
                yield Task(row["model"], Part(row["rank"], row["count"])), row["content"]


@contextlib.contextmanager
def _connected(pool: Pool) -> Iterator[None]:
    """A connection to the cluster, or Ray on this machine, which ends with the block."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports nothing
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it prints remarks for Ray's own authors
    here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE}
    if pool.address is None and pool.size is not None:
        here["num_cpus"] = max(pool.size, os.cpu_count() or 1)
    try:
        with _quiet():
            ray.init(
                address=pool.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(here if pool.address is None else {}),
            )
    except Exception as error:  # it raises many types
        raise RlossError(
            "Ray cannot be reached" if pool.address else "Ray does not start",
            where=pool.address,
            found=f"{type(error).__name__}: {error}",
            expected="the address of a cluster that runs the same versions of Python and Ray",
            advice="check the address, or leave out --ray-address to use this machine",
        ) from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what Ray's native code prints while it starts; its errors are exceptions."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _shares(pool: Pool) -> tuple[int, dict[str, float]]:
    """How many actors there are, and what each of them gets."""
    import ray

    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0)) if pool.gpu else 0
    size = pool.size or gpus or len(ray.nodes())
    return size, {"num_cpus": max(1, cpus // size), **({"num_gpus": 1} if gpus else {})}


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Turns what Ray raises into errors of this package."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise RlossError(
            "Ray could not make a part",
            found=lines[-1] if lines else type(error).__name__,
            expected="actors that answer",
            advice="repeat the command, perhaps with fewer --actors; a folder given to --parts keeps parts",
        ) from error
