"""The demo's wiring, with a few images and updates; what it reaches is docs/demo.md's business."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rlossctl import load_net
from rlossctl.cli.demo import command
from rlossctl.demo import chosen, job
from rlossctl.demo.recipes import DENSECRF, FULL_MASKS, LOSSES, SCRIBBLES
from rlossctl.errors import UsageError
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import Trained


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six images; the list collects what is trained."""
    names: list[str] = []
    train = job.train

    @functools.wraps(train)
    def noted(file: SolverFile, options: TrainOptions) -> Trained:
        names.append(f"{file.net.path} on {Path(file.placeholders['TRAIN_LIST']).stem}")
        return train(file, options=options)

    monkeypatch.setattr(job, "train", noted)
    monkeypatch.setattr(job, "TRAIN_IMAGES", 6)
    monkeypatch.setattr(job, "VAL_IMAGES", 2)
    return names


def run(*words: object) -> Result:
    words = ("--max-iter", 2, *words)
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.slow
def test_demo(trained: list[str], tmp_path: Path) -> None:
    result = run("--out", tmp_path / "out")
    assert result.exit_code == 0
    assert trained == [
        "demo/train on train",
        "demo/train on train",
        "demo/trainwithdensecrfloss on train",
        "demo/train on train_full",
        "demo/train on train_full",
    ]
    rows = {line.split("  ")[0]: line.split() for line in result.output.splitlines() if "3 %" in line}
    assert list(rows) == ["pCE", "pCE + DenseCRF"]
    assert rows["pCE + DenseCRF"][-1] == "5e-06"
    assert "full masks" in result.output
    page = tmp_path / "out/report/index.html"
    assert f"report: {page}" in result.output
    assert page.is_file()
    assert (tmp_path / "out/densecrf/model.onnx").is_file()


@pytest.mark.slow
def test_losses_over_seeds_and_on_from_where_it_stopped(trained: list[str], tmp_path: Path) -> None:
    words = ("--losses", "tree,focal", "--seeds", 2, "--seed", 5, "--set", "PULL=0.5", "--out", tmp_path)
    first = run(*words)
    table = first.output[first.output.index("trained with") :]
    assert [line.split("  ")[0] for line in table.splitlines()[2:6]] == [
        "pCE",
        "pCE + TreeEnergy",
        "full masks",
        "Focal, not CE",
    ]
    assert "pull 0.5: 0.4" not in table and table.count("+-") == 4 * 3 - 2
    assert len(trained) == 2 * 6

    (tmp_path / "seed6/focal/model.onnx").unlink()
    trained.clear()
    again = run(*words, "--resume")
    assert trained == ["demo/train on train_full", "demo_losses/focal on train_full"]
    assert again.output[again.output.index("trained with") :].split("report:")[0] == table.split("report:")[0]
    with pytest.raises(UsageError, match="other settings"):
        run(*words, "--resume", "--set", "PULL=1")


def test_the_rows_of_names() -> None:
    assert chosen("densecrf") == [SCRIBBLES, DENSECRF, FULL_MASKS]
    assert set(chosen("all")) == {SCRIBBLES, FULL_MASKS, *LOSSES.values()}
    assert len(chosen("potts, potts_quadratic")) == 2 + 6
    with pytest.raises(UsageError, match="no loss of this name") as caught:
        chosen("densecrf,pots")
    assert caught.value.found == "pots"


@pytest.mark.parametrize("row", LOSSES.values(), ids=LOSSES)
def test_a_row_has_its_loss_and_the_demos_weights(row) -> None:
    """A regularizer stands beside the cross-entropy; every net has the blobs of the first phase."""
    first = load_net("demo/train", phase="TRAIN", device="meta", NUM_LABELS=5)
    net = load_net(row.net, phase="TRAIN", device="meta", NUM_LABELS=5)
    shapes = [{name: [b.shape for b in blobs] for name, blobs in one.params.items()} for one in (first, net)]
    assert shapes[0] == shapes[1]
    others = [name for name, weight in net.loss_weights.items() if weight and name != "loss"]
    assert len(others) == (2 if row.folder == "kernelcut" else 1)
    assert row.full or "loss" in net.loss_weights
