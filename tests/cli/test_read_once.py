"""A command reads and parses the text of every prototxt once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl.cli import cli
from rlossctl.prototxt import text

SOLVER = """net: "net.prototxt" test_iter: 1 test_iter: 1 test_interval: 9 max_iter: 1
base_lr: 0 lr_policy: "fixed" solver_mode: CPU random_seed: ${SEED} snapshot_prefix: "${EXP}/a" """
NET = """name: "a"
layer { name: "data" type: "DummyData" top: "x" top: "t"
  dummy_data_param { shape { dim: 1 dim: 2 } shape { dim: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "t" top: "loss" }
"""
TRAIN = "train --prototxt solver.prototxt --set SEED=1 --out run --device cpu"


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """("read" or "parsed", file) -> how often, from here on; in a folder with a solver and its net."""
    monkeypatch.chdir(tmp_path)
    Path("solver.prototxt").write_text(SOLVER)
    Path("net.prototxt").write_text(NET)
    found: Counter[tuple[str, str]] = Counter()
    read, parse = text.read_text, text.parse

    def counting_read(path: str | Path) -> str:
        found["read", Path(path).name] += 1
        return read(path)

    def counting_parse(content: str, kind: type, where: str) -> object:
        found["parsed", Path(where).name] += 1
        return parse(content, kind, where)

    monkeypatch.setattr(text, "read_text", counting_read)
    monkeypatch.setattr(text, "parse", counting_parse)
    return found


@pytest.mark.parametrize(
    ("command", "files"),
    [
        (TRAIN, ["solver", "net"]),
        (f"{TRAIN} --prototxt net.prototxt --solver solver.prototxt", ["solver", "net"]),
        ("test net.prototxt run/a_iter_1.caffemodel --iterations 1 --device cpu", ["net"]),
        ("inspect net.prototxt", ["net"]),
        ("inspect solver.prototxt --set SEED=1", ["solver"]),
        ("convert net.prototxt -o new.prototxt", ["net"]),
        ("convert net.prototxt run/a_iter_1.caffemodel -o a.safetensors", ["net"]),
    ],
)
def test_once(counted: Counter[tuple[str, str]], command: str, files: list[str]) -> None:
    if "run/a_iter_1" in command:
        assert CliRunner().invoke(cli, TRAIN.split()).exit_code == 0
        counted.clear()
    result = CliRunner().invoke(cli, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    counted.pop(("parsed", "new.prototxt"), None)  # read back to be compared
    assert counted == {(what, f"{name}.prototxt"): 1 for what in ("read", "parsed") for name in files}
