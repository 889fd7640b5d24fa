"""`rlossctl bench filter`: what it prints and draws; never how fast anything is."""

from __future__ import annotations

import os

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from rlossctl.bench import peers
from rlossctl.bench.contenders import Contender, contenders
from rlossctl.bench.measure import Job, measure
from rlossctl.bench.samples import picture
from rlossctl.bench.scaling import panel
from rlossctl.bench.table import table
from rlossctl.bilateral import choice
from rlossctl.cli import cli


def test_the_table_has_a_line_for_each_filter() -> None:
    result = CliRunner().invoke(
        cli, ["bench", "filter", "--size", "9", "--channels", "2", "--repeats", "1"], catch_exceptions=False
    )
    assert result.exit_code == 0
    lines = result.output.splitlines()
    names = [contender.name for contender in contenders()]
    head = next(i for i, line in enumerate(lines) if line.split()[:3] == ["size", "image", "filter"])
    found = [line.split()[:3] for line in lines[head + 1 :]]
    assert found == [["9", kind, name] for kind in ("smooth", "textured") for name in names]
    assert all(len(line.split()) == len(lines[head].split()) - 2 for line in lines[head + 1 :])


def test_peers_run_or_say_what_is_missing(monkeypatch) -> None:
    calls = []
    there = peers.Peer("there", "math", "", "", lambda values, *_: calls.append(values.shape))
    gone = peers.Peer("gone", "no_such_module", "", "pip install gone", there.apply)
    monkeypatch.setattr(peers, "PEERS", (there, gone))
    size = ["--size", "9", "--channels", "2", "--repeats", "1"]
    result = CliRunner().invoke(
        cli, ["bench", "filter", *size, "--no-twin", "--peers"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "gone: not installed (No module named 'no_such_module'); pip install gone" in result.output
    assert sum(line.split()[2:3] == ["there"] for line in result.output.splitlines()) == 2 and calls


def test_a_wrong_filter_shows_its_difference() -> None:
    twice = Contender("twice", "", lambda values, image, *sigmas: 2 * twin.apply(values, image, *sigmas))
    twin = next(contender for contender in contenders() if contender.name == "twin")
    results = {r.name: r for r in measure(Job(12, "smooth", channels=3, repeats=1), [twin, twice])}
    assert results["twin"].difference < 1e-5
    assert results["twice"].difference == pytest.approx(1, rel=1e-4)
    assert results["twice"].loss is None and results["twin"].loss > 0


def test_large_images_leave_slow_filters_out() -> None:
    slow = Contender("slow", "", lambda *_: None, most_pixels=10)
    assert measure(Job(4, "smooth", channels=1, repeats=1), [slow]) == []


@pytest.mark.slow
def test_settings_are_left_as_they_were(monkeypatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "twin")
    before = torch.get_num_threads()
    list(table(contenders(), [5], Job(5, "smooth", channels=1, threads=before + 1, repeats=1)))
    assert os.environ[choice.VARIABLE] == "twin" and torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["smooth", "textured"])
def test_pictures_are_colours_and_the_same_each_time(kind) -> None:
    image = picture(kind, 2, 41)
    assert image.shape == (2, 3, 41, 41) and image.min() >= 0 and image.max() <= 255
    assert torch.equal(image, picture(kind, 2, 41)) and torch.equal(image, image.round())


def test_a_panel_shows_both_curves() -> None:
    image = panel("threads", {"smooth": [(1, 2.0), (2, 1.0)], "textured": [(1, 4.0), (2, 2.5)]})
    assert isinstance(image, Image.Image)
    colours = {colour for _, colour in image.getcolors(1 << 16)}
    assert {(0, 114, 178), (213, 94, 0)} <= colours
