"""Damaged files: every one is read, or refused by an error of the house; no other exception, hang or memory.

    RLOSSCTL_FUZZ=100000 pytest tests/fuzz

reads that many files with each reader (the suite's own run is short and the same each time).
"""

from __future__ import annotations

import contextlib

from hypothesis import given

from rlossctl.errors import PrototxtError, WeightsError
from rlossctl.prototxt import parse_net, template, to_text, wire
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.prototxt.text import is_solver, net_file, parse
from rlossctl.prototxt.upgrade import modernize
from rlossctl.weights import load_caffemodel, load_solverstate

from .bounds import GOLDEN, bounded, fresh, fuzz
from .mutation import damaged_bytes, damaged_text


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
