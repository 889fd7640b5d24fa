"""Dilated convolutions that meet nothing but padding in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlossctl import load_net
from rlossctl.solver.far_taps import taps_beyond_the_map

NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 2 dim: 13 dim: 20 }} }} }}
layer {{ name: "near" type: "Convolution" bottom: "data" top: "near"
  convolution_param {{ num_output: 2 kernel_size: 3 pad: 6 dilation: 6 }} }}
layer {{ name: "far" type: "Convolution" bottom: "data" top: "far" {param}
  convolution_param {{ num_output: 2 {window} }} }}
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(window: str, param: str = "", more: str = "") -> list[str]:
    Path("net.prototxt").write_text((NET + more).format(window=window, param=param))
    return list(taps_beyond_the_map(load_net("net.prototxt", phase="TRAIN")))


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("kernel_size: 3 pad: 12 dilation: 12", 0),  # the last column that a map of 13 has
        ("kernel_size: 3 pad: 13 dilation: 13", 1),
        ("kernel_size: 3 pad: 18 dilation: 18", 1),
        ("kernel_size: 3 pad: 3 dilation: 6", 0),  # without padding to its full reach, each tap meets the map
        ("kernel_size: 15 pad: 14", 0),  # not dilated
        ("kernel_size: 1 pad: 2 dilation: 4", 0),
    ],
)
def test_a_tap_that_never_meets_the_map(window: str, told: int) -> None:
    assert len(found(window)) == told


def test_what_the_warning_says() -> None:
    (warning,) = found("kernel_size: 3 pad: 18 dilation: 18")
    assert "1 dilated convolution with taps that meet only padding in training" in warning
    assert "far (dilation 18, map 13 x 20)" in warning
    assert "near" not in warning
    assert "a larger crop, a smaller dilation" in warning


def test_a_frozen_convolution_is_not_warned_of() -> None:
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    assert found("kernel_size: 3 pad: 18 dilation: 18", frozen) == []


def test_taps_that_meet_the_map_at_another_scale() -> None:
    """Branches of several scales share their weights: what the large map teaches a tap, the small one has."""
    window = "kernel_size: 3 pad: 18 dilation: 18"
    large = """
layer {{ name: "large" type: "Input" top: "large"
  input_param {{ shape {{ dim: 1 dim: 2 dim: 26 dim: 40 }} }} }}
layer {{ name: "at_large" type: "Convolution" bottom: "large" top: "at_large" {param}
  convolution_param {{ num_output: 2 {window} }} }}
"""
    shared = 'param { name: "w" } param { name: "b" }'
    assert len(found(window, shared)) == 1
    assert found(window, shared, large) == []
