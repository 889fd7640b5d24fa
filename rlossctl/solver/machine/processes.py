"""The processes that train one net together: torchrun's, or any others with RANK, WORLD_SIZE and MASTER_ADDR.

What they compute is Caffe's multi-GPU training (P2PSync, NCCL): each has the whole net, batch_size is that
of one process, the gradients are averaged. Process r reads samples r, r + n, ...; process 0 tests, logs and
writes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from rlossctl.data.sources.stream import Source
from rlossctl.errors import PrototxtError, RlossError, UsageError
from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.machine.device import pick_device

T = TypeVar("T")

BUCKET = 2**24  # values that are averaged in one message
ARRIVAL = timedelta(minutes=10)  # from the first process to the last
PATIENCE = timedelta(days=1)  # the others wait while process 0 tests; torchrun ends them when one has died


class Processes:
    """This process among those that train together; by default there is one.

    Attributes:
        rank: its number, 0 .. count - 1.
        count: how many there are.
        device: where it trains.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.count = count
        self.device = device or torch.device("cpu")
        self.parting = False

    @property
    def first(self) -> bool:
        """Whether it is the one that tests, logs and writes."""
        return self.rank == 0

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The values of every process, in their order; each gives as many."""
        if self.count == 1:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.float64)
        every = [torch.empty_like(own) for _ in range(self.count)]
        with self._connected():
            dist.all_gather(every, own)
        return [row.tolist() for row in every]

    def broadcast(self, value: T) -> T:
        """What process 0 gives."""
        if self.count == 1:
            return value
        box = [value]
        with self._connected():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    @torch.no_grad()
    def copy_(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites tensors with those of process 0."""
        if self.count > 1:
            with self._connected():
                for tensor in tensors:
                    value = tensor.detach().contiguous()
                    dist.broadcast(value, src=0)
                    tensor.copy_(value)

    @torch.no_grad()
    def mean_(self, tensors: Sequence[Tensor]) -> None:
        """Overwrites tensors with their means over the processes, with the same bits in each."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with self._connected():
                dist.all_reduce(flat)
            parts = flat.div_(self.count).split([tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def total(self, x: Tensor) -> Tensor:
        """The sum of x over the processes; autograd goes through it."""
        with self._connected():
            return _Total.apply(x)

    def seed_draws(self, seed: int, iteration: int) -> None:
        """Starts torch's generators from seed, iteration and process, so that a resumed run draws the same.

        One process by itself goes on with its generators.
        """
        if self.count > 1:
            digest = hashlib.sha256(f"{seed} {iteration} {self.rank}".encode()).digest()
            torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def unshared(self, net: Net) -> list[str]:
        """Data layers whose programs alone know what they draw."""
        if self.count == 1:
            return []
        kinds = {layer.name: layer.type for layer in net.layers}
        return [name for name in net.sources if kinds[name] in ("Python", "MatRead")]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Either all processes get through the block, or all end; without collectives inside.

        Raises:
            RlossError: in process 0, that of the first process that failed.
            SystemExit: in the others, after an RlossError anywhere.
        """
        if self.count == 1:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = [rank for rank, (flag,) in enumerate(self.gather([failure is not None])) if flag]
        if not failed:
            return
        told = self._first_failure(failed[0], failure)
        self.parting = True
        if failure is not None and (self.first or not isinstance(failure, RlossError)):
            raise failure
        if not self.first:
            raise SystemExit(1)
        raise told

    def in_first(self, action: Callable[[], object]) -> None:
        """Does something in the first process, while the others wait; errors as in `together`."""
        with self.together():
            if self.first:
                action()

    def _first_failure(self, rank: int, own: Exception | None) -> RlossError:
        """The error of one process, told to all."""
        box: list[Any] = [_told(own) if self.rank == rank else None]
        with self._connected():
            dist.broadcast_object_list(box, src=rank)
        kind, message, details = box[0]
        error: RlossError = kind(f"{message} (process {rank} of {self.count})", **details)
        return error

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not self.first:  # one message is enough
                raise SystemExit(1) from error
            raise RlossError(
                "another process of this training has gone",
                found=str(error).split("\n", 1)[0],
                expected=f"{self.count} processes",
                advice="its own message says why; started with torchrun --max-restarts N and --resume auto, "
                "training goes on from the last snapshot by itself",
            ) from error


ALONE = Processes()


def share(net: Net, param: SolverParameter, processes: Processes) -> None:
    """Gives each process its share of the samples, and with sync_batch_norm the statistics of all of them.

    Raises:
        PrototxtError: sync_batch_norm, and no layer has a batch's statistics.
    """
    if processes.count == 1:
        return
    for source in net.sources.values():
        if isinstance(source, Source):
            source.share(processes.rank, processes.count)
    # Not any(...), which would stop at the first one.
    if param.sync_batch_norm and not sum(
        [layer.module.share_statistics(processes.total) for layer in net.layers]
    ):
        raise PrototxtError(
            "sync_batch_norm has nothing to synchronize",
            found="no layer that uses a batch's statistics in the training net",
            expected="BatchNorm or BN that is not frozen",
            advice="leave sync_batch_norm out of the solver prototxt",
        )


@contextlib.contextmanager
def joined(device: str | torch.device | None, param: SolverParameter) -> Iterator[Processes]:
    """Joins the processes that the environment names, if it names several.

    Args:
        device: as `pick_device` takes it; of several processes each takes the GPU of its LOCAL_RANK.

    Raises:
        UsageError: RANK and WORLD_SIZE name no process, or there are fewer GPUs than processes.
    """
    rank, count = from_environment()
    if count == 1:
        yield Processes(device=pick_device(device, param))
        return
    processes = Processes(rank, count, _own_device(device, param))
    if processes.device.type == "cuda":
        torch.cuda.set_device(processes.device)
    backend = "cpu:gloo,cuda:nccl" if processes.device.type == "cuda" else "gloo"
    with processes._connected():
        store, _, _ = next(iter(rendezvous("env://", rank, count, timeout=ARRIVAL)))
        # torchrun keeps one store over all its restarts, with the addresses of processes that are gone.
        store = dist.PrefixStore(f"rlossctl {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield processes
    except BaseException:
        _leave(processes.parting)
        raise
    _leave(True)


def from_environment(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """RANK and WORLD_SIZE; 0 and 1 if WORLD_SIZE is unset.

    Raises:
        UsageError: they do not name a process, or nothing says how to find the others.
    """
    count, rank = environment.get("WORLD_SIZE", "1"), environment.get("RANK", "0")
    if not (count.isdigit() and rank.isdigit() and int(rank) < int(count)):
        found, expected = f"RANK={rank}, WORLD_SIZE={count}", "whole numbers, RANK below WORLD_SIZE"
    elif int(count) > 1 and not (environment.get("MASTER_ADDR") and environment.get("MASTER_PORT")):
        found = f"WORLD_SIZE={count} without MASTER_ADDR and MASTER_PORT"
        expected = "all of them, as torchrun sets them"
    else:
        return int(rank), int(count)
    raise UsageError(
        "the environment does not name a process of a training",
        where="environment",
        found=found,
        expected=expected,
        advice="start with torchrun, or unset WORLD_SIZE to train in one process",
    )


def _own_device(device: str | torch.device | None, param: SolverParameter) -> torch.device:
    picked = pick_device(device, param)
    if picked.type == "cpu":
        return picked
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if str(device).startswith("cuda:") or local >= torch.cuda.device_count():
        raise UsageError(
            "each process needs a GPU of its own",
            found=f"--device {device}, {torch.cuda.device_count()} GPUs, LOCAL_RANK={local}",
            expected="--device auto or cuda, and at least as many GPUs as processes on a machine",
            advice="start fewer processes with torchrun --nproc-per-node, or use --device cpu",
        )
    return torch.device("cuda", local)


def _leave(in_step: bool) -> None:
    """Ends the group; in step, nobody goes before process 0 is done."""
    if in_step:
        with contextlib.suppress(RuntimeError):
            dist.barrier()
        dist.destroy_process_group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


def _told(error: Exception | None) -> tuple[type[RlossError], str, dict[str, object]]:
    """An error in a form that goes from one process to another."""
    if isinstance(error, RlossError):
        details = {name: getattr(error, name) for name in ("where", "found", "expected", "advice")}
        return type(error), error.message, {name: value and str(value) for name, value in details.items()}
    return RlossError, f"{type(error).__name__}: {error}", {}


class _Total(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
