"""benchmarks/study: its page shows what its results say, and its rows are nets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlossctl.prototxt.text import parse_net


def study(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(repository / "benchmarks/study"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_is_current(repository: Path) -> None:
    done = study(repository, "page", "--check")
    assert done.returncode == 0, done.stderr + "run `python benchmarks/study page`"


def page(repository: Path, call: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs one function of page.py on paths."""
    program = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import page; "
    program += f"print(page.{call}(*map(Path, sys.argv[2:])))"
    command = [sys.executable, "-c", program, str(repository / "benchmarks/study"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def result(folder: Path, row: str, seed: int, right: int, labels: str = "clicks") -> None:
    """Two photos of two classes: `right` of ten pixels of class 1 found."""
    place = folder / f"voc-{labels}-val-300+150x0.25" / row / f"seed{seed}"
    place.mkdir(parents=True)
    counts = np.zeros((2, 3, 21), np.int64)
    counts[:, 0, 0], counts[:, 0, 1] = 90, right  # found rightly
    counts[:, 1, 0], counts[:, 1, 1] = 90, 10  # in the truth
    counts[:, 2, 0], counts[:, 2, 1] = 100 - right, right  # predicted
    np.savez_compressed(place / "counts.npz", counts=counts)
    (place / "result.json").write_text(
        json.dumps(
            {
                "row": row,
                "seed": seed,
                "pulls": {},
                "miou": (90 / (100 - right) + right / 10) / 2,
                "pixel_accuracy": (90 + right) / 100,
                "seconds": 1.5,
                "bytes": None,
                "weights_found": {"loss": 1.0, "tree": 2.5},
            }
        )
    )


def test_the_share_of_the_gap(repository: Path, tmp_path: Path) -> None:
    for row, right, labels in (("pce", 2, "clicks"), ("tree", 6, "clicks"), ("full", 10, "masks")):
        result(tmp_path, row, 0, right, labels)
    (tmp_path / "voc-clicks-val-300+150x0.25/recipe.json").write_text("{}")
    table = study(repository, "table", "--out", tmp_path).stdout
    pce, tree, full = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[-4:-1])
    assert [row[0] for row in (pce, tree, full)] == ["pCE", "+ tree energy", "full masks"]
    low, middle, high = (float(row[1]) / 100 for row in (pce, tree, full))
    assert float(tree[4].strip("%")) / 100 == pytest.approx((middle - low) / (high - low), abs=0.01)
    assert tree[3].startswith(f"+{100 * (middle - low):.2f} (") and tree[6] == "tree 2.5" and tree[8] == ""


def test_the_iou_of_each_class(repository: Path, tmp_path: Path) -> None:
    for seed, right in ((0, 2), (1, 4)):
        result(tmp_path, "pce", seed, right)
    recipe = {"first": 300, "second": 150, "slower": 0.25}
    (tmp_path / "voc-clicks-val-300+150x0.25/recipe.json").write_text(json.dumps(recipe))
    lines = page(repository, "tables", tmp_path).stdout.splitlines()
    assert lines[lines.index("| class | pCE |") - 2] == "IoU of each class, the mean over seeds 0, 1:"
    assert "| aeroplane | 30.0 |" in lines  # two and four of ten found, none too many
    assert "| bicycle | - |" in lines
    result(tmp_path, "tree", 0, 6)  # columns compare: only seeds that all have
    result(tmp_path, "ncut", 1, 6)  # but one without the first seed does not take it from the others
    lines = page(repository, "tables", tmp_path).stdout.splitlines()
    assert lines[lines.index("| class | pCE | + tree energy |") - 2] == "IoU of each class, with seed 0:"
    assert "| aeroplane | 20.0 | 60.0 |" in lines


def test_full_masks_have_the_seeds_of_the_rows_beside_them(repository: Path, tmp_path: Path) -> None:
    result(tmp_path, "pce", 0, 2)
    for seed, right in ((0, 6), (1, 10)):
        result(tmp_path, "full", seed, right, "masks")
    (tmp_path / "voc-clicks-val-300+150x0.25/recipe.json").write_text("{}")
    full = study(repository, "table", "--out", tmp_path).stdout.splitlines()[-2]
    assert full.startswith(f"| full masks | {100 * (90 / 94 + 0.6) / 2:.2f} |") and "| 0 |" in full


def test_kinds_of_labels_side_by_side(repository: Path, tmp_path: Path) -> None:
    """Of one seed; the full masks serve all kinds; what one kind alone has is left out."""
    for labels, row, right in (
        ("clicks", "pce", 2), ("clicks", "tree", 6), ("strokes50", "pce", 6), ("strokes50", "ncut", 6),
        ("masks", "full", 10),
    ):  # fmt: skip
        result(tmp_path, row, 0, right, labels)
    result(tmp_path, "pce", 1, 4)
    recipe = {"first": 300, "second": 150, "slower": 0.25}
    for labels in ("clicks", "strokes50"):
        (tmp_path / f"voc-{labels}-val-300+150x0.25/recipe.json").write_text(json.dumps(recipe))
    lines = page(repository, "tables", tmp_path).stdout.splitlines()
    assert lines[0] == "### VOC: fewer and fewer labels, 300+150x0.25 updates"
    assert "mIoU with seed 0, and what it has over pCE:" in lines
    assert "| labels | pCE | full masks |" in lines
    low, middle, high = (100 * (90 / (100 - right) + right / 10) / 2 for right in (2, 6, 10))
    assert f"| strokes on 1.5 % of the pixels | {middle:.2f} | {high:.2f} (+{high - middle:.2f}) |" in lines
    assert f"| one click in each object | {low:.2f} | {high:.2f} (+{high - low:.2f}) |" in lines


def test_every_row_is_a_text_of_layers(repository: Path) -> None:
    rows = re.findall(r"^(\w+) ", study(repository, "rows").stdout, re.MULTILINE)
    assert {"pce", "densecrf", "full"} <= set(rows)
    for file in (repository / "benchmarks/study/layers").glob("*.prototxt"):
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text())
        assert parse_net(text, str(file)).param.layer


def test_the_script_for_a_gpu_names_rows(repository: Path) -> None:
    script = repository / "benchmarks/study/gpu.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    (names,) = re.findall(r"--rows ([\w,]+)", script.read_text())
    assert set(names.split(",")) <= set(
        re.findall(r"^(\w+) ", study(repository, "rows").stdout, re.MULTILINE)
    )


def test_results_are_kept_without_their_runs(repository: Path, tmp_path: Path) -> None:
    """The page needs nothing but small files."""
    for place in (repository / "docs/study").rglob("*"):
        assert place.is_dir() or place.name in {"result.json", "counts.npz", "recipe.json"}
    shutil.copytree(repository / "docs/study", tmp_path / "kept")
    assert "| row |" in study(repository, "table", "--out", tmp_path / "kept").stdout


def test_results_of_another_recipe_are_not_mixed(repository: Path, tmp_path: Path) -> None:
    """Rows of other nets or other rates do not compare."""
    result(tmp_path / "runs", "pce", 0, 2)
    kept = tmp_path / "kept" / "voc-clicks-val-300+150x0.25"
    kept.mkdir(parents=True)
    for folder, rate in ((tmp_path / "runs/voc-clicks-val-300+150x0.25", 0.1), (kept, 0.2)):
        (folder / "recipe.json").write_text(json.dumps({"rate": rate}))
    done = page(repository, "collect", tmp_path / "runs", tmp_path / "kept")
    assert done.returncode == 1 and "another recipe" in done.stderr
    assert not list(kept.glob("pce"))
