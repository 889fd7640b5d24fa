"""Layers from a user's file and from an installed package, each case in a process whose schema is new."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NET = """name: "ghosts" input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 9 }
layer { name: "g" type: "Ghost" bottom: "x" top: "g" ghost_param { slope: 0.25 } }
layer { name: "h" type: "Ghost" bottom: "g" top: "h" }
"""
FILL = """
import sys
from rlossctl import plugins
for file in sys.argv[3:]: plugins.load(file)
import rlossctl, torch
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel
net = rlossctl.load_net(sys.argv[1])
for number, (blob,) in enumerate(net.params.values()):
    blob.data.copy_(torch.tensor([1.0, -2.0, 3.0]) + number)
write_caffemodel(sys.argv[2], net.name, layer_records(net))
(again,) = rlossctl.load_net(sys.argv[1], sys.argv[2])(x=torch.full((1, 3, 8, 9), -4.0)).values()
print([float(value) for value in again[0, :, 0, 0]])
"""


def run(*arguments: object, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([path] if path else [])])}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def plugin(tmp_path) -> Path:
    """The example of docs/plugins.md as a file."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.S)
    path = tmp_path / "ghost.py"
    path.write_text(code)
    (tmp_path / "net.prototxt").write_text(NET)
    return path


@pytest.mark.slow
def test_the_example_of_the_docs_runs_converts_and_is_verified(plugin, tmp_path):
    net, weights, out = (tmp_path / name for name in ("net.prototxt", "w.caffemodel", "net.onnx"))
    filled = run("-c", FILL, net, weights, plugin)
    assert filled.returncode == 0, filled.stderr
    # -4 * 0.25 times 1, -2 and 3; then the negative ones halved, times 2, -1 and 4
    assert filled.stdout.strip() == "[-1.0, -2.0, -6.0]"
    converted = run("-m", "rlossctl", "convert", net, weights, "-o", out, "--plugin", plugin)
    assert converted.returncode == 0, converted.stderr
    assert "verified: " in converted.stdout and "2 blobs" in converted.stdout
    without = run("-m", "rlossctl", "convert", net, weights, "-o", out)
    assert without.returncode == 1 and "ghost_param" in without.stderr


@pytest.mark.slow
def test_an_installed_package_offers_its_layers(plugin, tmp_path):
    """The same example, cut in two, as a package with entry points."""
    declaration, layers = plugin.read_text().split("import torch", 1)
    site = tmp_path / "site"
    (site / "ghosts-1.dist-info").mkdir(parents=True)
    (site / "ghosts-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ghosts\nVersion: 1\n")
    (site / "ghosts-1.dist-info" / "entry_points.txt").write_text(
        "[rlossctl.layers]\ng = ghost_layers\n[rlossctl.fields]\ng = ghost_fields:add\n"
    )
    first, call = declaration.strip().rsplit("\n", 1)
    (site / "ghost_fields.py").write_text(f"{first}\n\n\ndef add():\n    {call}\n")
    (site / "ghost_layers.py").write_text(f"import torch{layers}")
    plugin.unlink()
    shown = run("-m", "rlossctl", "inspect", tmp_path / "net.prototxt", path=str(site))
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^g +Ghost +1x3x8x9 +3", shown.stdout, re.M)


DECLARE = "import rlossctl.prototxt.declared as d\nd.declare({text!r}, a_param={number})\n"
READ = "from rlossctl.prototxt.messages import NetParameter\n"
MESSAGE = "message A { optional bool b = 1; }"
TWICE = """
from rlossctl.net.layer import Layer
from rlossctl.net.registry import register
register("ReLU")(type("R", (Layer,), {}))
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "the plugin fails"),
        (DECLARE.format(text="message A {", number=1), "cannot be read"),
        (DECLARE.format(text=MESSAGE, number=100) + READ, "what the schema already has"),
        (READ + DECLARE.format(text=MESSAGE, number=7777), "cannot be declared any more"),
        (TWICE, "registered twice"),
    ],
)
def test_plugins_that_do_not_work(plugin, tmp_path, code, message):
    plugin.write_text(code)
    (tmp_path / "net.prototxt").write_text(NET.partition("layer")[0])
    shown = run("-m", "rlossctl", "inspect", tmp_path / "net.prototxt", "--plugin", plugin)
    assert shown.returncode in (1, 2) and message in shown.stderr, shown.stderr


def test_a_file_that_is_not_there(tmp_path):
    shown = run("-m", "rlossctl", "inspect", tmp_path / "n.prototxt", "--plugin", tmp_path / "none.py")
    assert shown.returncode == 2 and "is not a plugin" in shown.stderr
