"""What a net's page says of weights, and how it finds the blocks."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from rlossctl.drawing.boxes import Box
from rlossctl.drawing.repeats import blocks
from rlossctl.viewing import blob_card
from rlossctl.viewing.cards import BINS, TALLEST

NET = """name: "small" input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "</script>" type: "ReLU" bottom: "conv" top: "conv" }
"""


def test_a_histogram_is_a_few_integers() -> None:
    values = np.concatenate([np.zeros(100), np.ones(50), [np.nan, -1.0]]).astype(np.float32)
    card = blob_card(values)
    assert len(card.bars) == BINS and max(card.bars) == TALLEST
    assert (card.low, card.high, card.broken) == (-1.0, 1.0, 1)
    assert [card.bars[0], card.bars[BINS // 2], card.bars[-1]] == [2, 200, 100]
    assert card.mean == pytest.approx(49 / 151, rel=1e-3) and card.zeros == pytest.approx(100 / 151, rel=1e-3)


@pytest.mark.parametrize("values", [np.full(3, 2.0), np.array([np.inf]), np.zeros((0, 3))])
def test_blobs_of_hardly_a_value(values: np.ndarray) -> None:
    card = blob_card(values.astype(np.float32))
    assert sum(map(bool, card.bars)) == (1 if np.isfinite(values).any() else 0)


def test_a_block_holds_the_blocks_inside_it() -> None:
    kinds = ["Pooling", *(["ReLU"] * 30)] * 25  # 30 are more than a part may have, so they are folded first
    boxes = [Box(str(n), [kind], "", "layer", [max(0, n - 1)]) for n, kind in enumerate(kinds)]
    found = [(block.start, block.end, block.box.times) for block in blocks(boxes)]
    assert found[0] == (1, 745, 24)
    assert found[1:] == [(31 * part + 1, 31 * part + 31, 30) for part in range(25)]


def test_the_page_holds_the_net_and_nothing_runs(tmp_path, invoke) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    status, _, _ = invoke("inspect", tmp_path / "net.prototxt", "--draw", tmp_path / "net.html")
    assert status == 0
    text = (tmp_path / "net.html").read_text()
    assert text.count("</script>") == 2  # the data's and the script's own
    (view,) = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [layer["name"] for layer in view["layers"]] == ["conv", "</script>"]
    assert view["boxes"] == [[], [0, 1]]
    assert view["layers"][0]["text"].startswith('layer {\n  name: "conv"\n')
    assert view["layers"][0]["facts"]["multiply-adds"] == "384"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("inspect", "net.prototxt", "--weights", "w.caffemodel"), "without --draw"),
        (
            ("inspect", "net.prototxt", "--weights", "w.caffemodel", "--draw", "net.svg"),
            "with --draw net.svg",
        ),
        (("diff", "net.prototxt", "net.prototxt", "--draw", "net.svg"), "ends in .html"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch, invoke, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    status, _, said = invoke(*arguments)
    assert status == 2 and words in said
    assert not (tmp_path / "net.svg").exists()
