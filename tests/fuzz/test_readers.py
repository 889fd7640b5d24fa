"""Damaged files: every one is read, or refused by an error of the house; no other exception, hang or memory.

    RLOSSCTL_FUZZ=100000 pytest tests/fuzz

reads that many files with each reader (the suite's own run is short and the same each time).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from rlossctl.errors import PrototxtError, WeightsError
from rlossctl.prototxt import parse_net, template, to_text, wire
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.prototxt.text import is_solver, net_file, parse
from rlossctl.prototxt.upgrade import modernize
from rlossctl.weights import load_caffemodel, load_solverstate

from .mutation import damaged_bytes, damaged_text

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROUNDS = int(os.environ.get("RLOSSCTL_FUZZ", "150"))
SECONDS = 5  # of the processor for one file of some kilobytes
MEMORY = 64 << 20  # bytes that one of them may add to the process' peak

fuzz = settings(
    max_examples=ROUNDS,
    deadline=None,
    derandomize="RLOSSCTL_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def binary(pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob(pattern))]


def text(*patterns: str) -> list[str]:
    return [path.read_text() for pattern in patterns for path in sorted(GOLDEN.glob(pattern))]


MODELS = binary("weights/*.caffemodel") + binary("wire_conflict/*.caffemodel")
STATES = binary("weights/*.solverstate")
OLD_MODELS = binary("legacy/*.in.caffemodel")
NETS = text("legacy/v*.in.prototxt", "wire_conflict/*.prototxt", "solver/*/net.prototxt")
SOLVERS = text("legacy/solver_*.in.prototxt", "solver/*/solver.prototxt")
OLD_NETS = text("legacy/v0*.in.prototxt", "legacy/v1*.in.prototxt")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises an error in a reader that hangs, and after one that took much memory."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took longer than {SECONDS} s")

    before = peak()
    previous = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    assert peak() - before < MEMORY


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "damaged"


def fresh(path: Path, data: bytes) -> Path:
    """The file with new content; a mapped file must not be changed in place."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


@fuzz
@given(data=damaged_bytes(MODELS + OLD_MODELS))
def test_caffemodels(file, data):
    with bounded(), contextlib.suppress(WeightsError):
        model = load_caffemodel(fresh(file, data))
        size = sum(blob.array().nbytes for layer in model.layers for blob in layer.blobs)
        assert size <= 2 * len(data)
        assert model.to_bytes() == data


@fuzz
@given(data=damaged_bytes(STATES))
def test_solverstates(file, data):
    with bounded(), contextlib.suppress(WeightsError):
        state = load_solverstate(fresh(file, data))
        assert sum(blob.nbytes for blob in state.history) <= 2 * len(data)


@fuzz
@given(net=damaged_text(NETS))
def test_net_texts(net):
    with bounded(), contextlib.suppress(PrototxtError):
        is_solver(net)
        parse_net(template.fill(net, {"X": 1}, "f"), "f")


@fuzz
@given(solver=damaged_text(SOLVERS))
def test_solver_texts(solver):
    with bounded(), contextlib.suppress(PrototxtError):
        is_solver(solver)
        parse(template.fill(solver, {}, "f"), SolverParameter, "f")


@fuzz
@given(net=damaged_text(OLD_NETS))
def test_upgrades_of_texts(net):
    with bounded(), contextlib.suppress(PrototxtError):
        new = modernize(parse_net(net, "f").param, "bvlc")
        assert not new.layers and parse_net(to_text(new), "f").param.layer == new.layer


@fuzz
@given(data=damaged_bytes(OLD_MODELS))
def test_upgrades_of_binaries(data):
    with bounded(), contextlib.suppress(PrototxtError):
        param, dialect, _ = wire.decode_net(data, "f")
        new = modernize(net_file(param, "f", dialect=dialect).param, dialect)
        assert not new.layers
        assert wire.decode_net(wire.encode_net(new, dialect), "f", dialect)[0] == new
