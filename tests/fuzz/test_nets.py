"""Nets that parse but make no sense: built, or refused by an error of the house, in bounded memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given

from rlossctl.errors import RlossError
from rlossctl.inspection.nets import solver_report
from rlossctl.net.build import build_net
from rlossctl.net.draft import described, draft_net
from rlossctl.net.memory import MAX_MEMORY
from rlossctl.net.summary import summarize
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.text import parse_solver

from . import seeds
from .bounds import GOLDEN, bounded, fuzz
from .mutation import damaged_nets

NETS = [path.read_text() for path in sorted(GOLDEN.glob("solver/*/net.prototxt"))]
NETS += [path.read_text() for path in sorted(GOLDEN.glob("legacy/v[12]*.in.prototxt"))]
LAYERS = seeds.layer_nets()
SOLVERS = [path.read_text() for path in sorted(GOLDEN.glob("solver/*/solver.prototxt"))]
SOLVERS += [path.read_text() for path in sorted(GOLDEN.glob("legacy/solver_*.in.prototxt"))]


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """What the first nets import does not count: torch loads parts of itself with some operators."""
    for text in LAYERS:
        summarize(build_net(filter_net(parse_net(text), net_state("TEST")), device="meta").draft)


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    """What a net may need here, so that none takes long."""
    monkeypatch.setenv(MAX_MEMORY, str(16 << 20))


@pytest.mark.slow
@fuzz
@given(text=damaged_nets(LAYERS))
def test_layers(text):
    build(text, "TEST")


@pytest.mark.slow
@fuzz
@given(text=damaged_nets(NETS))
def test_nets(text):
    build(text, "TRAIN")


def build(text: str, phase: str) -> None:
    """Builds a net as `train` does, and drafts it as `inspect` does, with its figures."""
    with bounded(), contextlib.suppress(RlossError):
        build_net(filter_net(parse_net(text), net_state(phase)))
    with bounded(), contextlib.suppress(RlossError):
        summarize(draft_net(filter_net(parse_net(text), net_state(phase)), described))


@fuzz
@given(text=damaged_nets(SOLVERS))
def test_solver_reports(text):
    with bounded(), contextlib.suppress(RlossError):
        solver_report(Path("solver.prototxt"), parse_solver(text, "solver.prototxt")).as_text()
