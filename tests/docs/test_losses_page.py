"""docs/losses.md: every loss of the package has its section, and what the page shows can be run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from rlossctl import losses
from rlossctl.net import registry

INPUTS = """input: "data" input_shape { dim: 2 dim: 3 dim: 6 dim: 7 }
input: "label" input_shape { dim: 2 dim: 1 dim: 6 dim: 7 }
input: "scores" input_shape { dim: 2 dim: 4 dim: 6 dim: 7 }
input: "features" input_shape { dim: 2 dim: 5 dim: 6 dim: 7 }
layer { name: "softmax" type: "Softmax" bottom: "scores" top: "softmax" }
"""


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs" / "losses.md").read_text(encoding="utf-8")


def test_every_loss_has_a_section(page):
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    modules = {name for name in losses.__all__ if name.endswith("Loss")} - {
        "DenseCRFLoss"
    }  # has its own page
    assert modules == set(sections) <= set(registry.kinds())
    assert all(f"[{name}](#{name.lower()})" in page for name in sections)


def test_the_layers_run(page, build):
    blocks = re.findall(r"^```\n(layer .*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 10
    net = build(INPUTS + "".join(blocks))
    scores = torch.randn(2, 4, 6, 7, requires_grad=True)
    label = torch.randint(4, (2, 1, 6, 7))
    label[:, :, :3] = 255
    net.run(
        {
            "features": torch.randn(2, 5, 6, 7),
            "data": 20 * torch.randn(2, 3, 6, 7),
            "label": label.float(),
            "scores": scores,
        }
    ).loss.backward()
    assert torch.isfinite(scores.grad).all() and scores.grad.any()


def test_the_python_runs(page):
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names = {}
    exec(block, names)
    assert torch.isfinite(names["scores"].grad).all() and names["scores"].grad.any()


def test_the_names_cost_nothing_until_they_are_used():
    text = "import sys, rlossctl.losses as home; assert 'torch' not in sys.modules; print(*dir(home))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(losses.__all__)
    assert all(callable(getattr(losses, name)) for name in losses.__all__)
