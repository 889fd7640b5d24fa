"""`rlossctl runs`: what differs between runs, their best scores, the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl.cli.runs import command
from rlossctl.errors import RlossError, UsageError
from rlossctl.runs.run import best_scores, differing, read_runs
from rlossctl.solver.snapshots.manifest import Manifest, Settings


def write_run(folder: Path, base_lr: str, tests: dict[int, float]) -> Path:
    folder.mkdir()
    settings = Settings(f"base_lr: {base_lr}\nmax_iter: 4\n", {"training": "a" * 64}, {}, {}, 3)
    Manifest("id", "2026-11-29", f"rlossctl train --out {folder.name}", "small", settings, {}, {}).write(
        folder / "run.json"
    )
    records = [
        {"kind": "train", "iter": n, "loss": 4.0 - n, "lr": 0.1, "terms": {"loss": {"weighted": 4.0 - n}}}
        for n in range(4)
    ]
    records += [
        {
            "kind": "test",
            "iter": n,
            "net": 0,
            "outputs": {"mIoU": [value], "IoU": [value, "nan"]},
            "counted": ["mIoU", "IoU"],
        }
        for n, value in tests.items()
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "a", "0.1", {2: 0.5, 4: 0.25}),
        write_run(tmp_path / "b<i>", "0.2", {2: 0.125, 4: 0.375}),
    ]


def test_best_scores_and_settings_that_differ(folders: list[Path]) -> None:
    runs = read_runs(folders)
    assert [run.name for run in runs] == ["a", "b<i>"]
    assert [best_scores(run)["mIoU"] for run in runs] == [(0.5, 2, 0.25), (0.375, 4, 0.375)]
    assert differing(runs) == {"base_lr": ["0.1", "0.2"]}


def test_the_table_and_the_page(folders: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = CliRunner().invoke(command, [*map(str, folders), "--report", str(page)])
    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.output.splitlines() if line.startswith(("a ", "b<i>"))] == [
        ["a", "4", "2.5", "50.00", "2", "25.00"],
        ["b<i>", "4", "2.5", "37.50", "4", "37.50"],
    ]
    assert max(map(len, done.output.splitlines())) <= 80 + len(str(page))
    text = page.read_text()
    HTMLParser().feed(text)
    assert "b&lt;i&gt;" in text
    assert "b<i>" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_one_run_needs_no_comparison(folders: list[Path]) -> None:
    done = CliRunner().invoke(command, [str(folders[0])])
    assert "50.00" in done.output
    assert "setting" not in done.output


def test_a_folder_without_a_run_and_one_named_twice(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RlossError, match="holds no run"):
        read_runs([tmp_path])
    with pytest.raises(UsageError, match="named twice"):
        read_runs([folders[0], folders[0]])


def test_damaged_metrics_are_named(folders: list[Path]) -> None:
    (folders[0] / "metrics.jsonl").write_text("{")
    with pytest.raises(RlossError, match=r"metrics\.jsonl: is not the metrics of a run"):
        read_runs(folders)
