"""Inputs of other people that once went wrong: each command of the shared cases, and what it says now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rlossctl.cli import main

TRAIN = "train --prototxt runs/{} --set ROOT=data/mini --set EXP=a --set LIST={} --out T/r"
PREPARED = "--data data/mini/val01.txt --root data/mini --mean 0,0,0 --scale 1 --rgb"
IMAGENET = "--mean 103.53,116.28,123.675 --std 57.375,57.12,58.395".join(PREPARED.split("--mean 0,0,0"))
Run = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="module")
def copied(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shared / "cases").is_dir():
        pytest.skip(f"needs the cases in {shared}")
    return Path(shutil.copytree(shared / "cases", tmp_path_factory.mktemp("cases") / "cases"))


@pytest.fixture
def run(copied: Path, tmp_path: Path, monkeypatch, capfd) -> Run:
    """Runs a command in the cases folder, T/ being a fresh one: exit status, and all that was printed."""
    monkeypatch.chdir(copied)

    def call(command: str) -> tuple[int, str]:
        words = [word.replace("T/", f"{tmp_path}/", 1) for word in command.split()]
        monkeypatch.setattr("sys.argv", ["rlossctl", *words])
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        printed = capfd.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return call


ONE = [
    # runs
    (TRAIN.format("solver.prototxt", "train255.txt"), 0, "the ids are 0 and 255"),
    (TRAIN.format("solver_rare.prototxt", "last_is_cut.txt --max-iter 40"), 1, "snapshot of iteration"),
    (TRAIN.format("solver_weights.prototxt", "train01.txt"), 0, "weight_by_label_freqs: true"),
    (TRAIN.format("solver_crf.prototxt", "train01.txt"), 0, "bi_rgb_std 15"),
    (TRAIN.format("solver_hdf5.prototxt", "train01.txt"), 1, "phase TEST"),
    # labels
    ("data verify data/mini/train255.txt --root data/mini --num-classes 2", 1, "one class only"),
    ("data stats data/mini/train255.txt --root data/mini", 0, "WARNING: one class only"),
    ("data verify labels/commas.csv --root data/mini", 1, "separated by commas"),
    ("data verify labels/cr_only.txt --root data/mini", 0, "6 pairs, 6 without a fault"),
    ("data verify labels/utf16.txt --root data/mini", 0, "6 pairs, 6 without a fault"),
    ("data verify labels/quoted.txt --root labels", 0, "3 pairs, 3 without a fault"),
    # hostile
    ("inspect hostile/bad_name.pt", 1, "damaged"),
    ("inspect hostile/struct.pth", 1, "damaged"),
    ("inspect hostile/nul_location.onnx", 1, "hostile/nul_location.onnx"),
    ("inspect hostile/input_2_62.prototxt", 1, "hostile/input_2_62.prototxt"),
    ("train --prototxt hostile/solver_2_31.prototxt --out T/r", 1, "layer"),
    ("train --prototxt hostile/solver_momentum2.prototxt --out T/r", 1, "momentum2"),
    ("train --prototxt hostile/solver_empty.prototxt --out T/r", 1, "has no layers"),
    ("train --prototxt hostile/solver_std.prototxt --out T/r", 1, "std"),
    ("data verify hostile/list_dev_zero.txt", 1, "not a regular file"),
    # archives
    ("data prepare voc -o T/v archives/cut.tgz", 1, "the archive ends too early"),
    ("data prepare voc -o T/v archives/deflate.zip", 1, "damaged content"),
    ("data prepare voc -o T/v archives/lzma.zip", 1, "damaged content"),
    ("data scribbles archives/scribbles_cut.zip -o T/s", 1, "the archive ends too early"),
    # annotations
    ("data scribbles annotations/size_60000.xml -o T/s", 1, "3,600,000,000 pixels"),
    ("data scribbles annotations/far_1e9.xml -o T/s", 0, "1 point outside"),
    ("data scribbles annotations/far_1e300.xml -o T/s", 1, "a point at 1e+300"),
    ("data scribbles annotations/labelme.json -o T/s", 1, "a labelme file, which is not read"),
    ("data scribbles annotations/mask_rle -o T/s", 1, "an export of CVAT"),
    # foreign_onnx
    *(
        (f"eval foreign_onnx/{name}.onnx {PREPARED}", 0, "mIoU 88.24")
        for name in ("fixed_size", "classes_nhw", "one_logit", "nhwc_uint8", "nhwc_float", "multiple_of_8")
    ),
    (f"eval foreign_onnx/float16.onnx {PREPARED}", 0, "mIoU 88.2"),
    (f"eval foreign_onnx/grey_input.onnx {PREPARED}", 0, "photos are made grey (ITU-R 601)"),
    (f"eval foreign_onnx/main_then_auxiliary.onnx {PREPARED}", 1, "--output NAME or its number: y, aux"),
    (f"eval foreign_onnx/auxiliary_then_main.onnx {PREPARED} --output y", 0, "mIoU 88.24"),
    (f"eval foreign_onnx/imagenet_input.onnx {IMAGENET}", 0, "mIoU 88.24"),
    (f"eval foreign_onnx/external_data_gone.onnx {PREPARED}", 1, "gone.bin"),
]


@pytest.mark.parametrize(("command", "code", "words"), ONE, ids=[row[0][:60] for row in ONE])
def test_one_command(run: Run, command: str, code: int, words: str) -> None:
    found, printed = run(command)
    assert found == code, printed
    assert words in printed and "Traceback" not in printed


def test_a_folder_belongs_to_one_run(run: Run) -> None:
    first = TRAIN.format("solver.prototxt", "train01.txt")
    assert run(first)[0] == 0
    code, printed = run(f"{first} --seed 9 --max-iter 4")
    assert code == 1 and "holds another run" in printed and "--resume auto" in printed
    code, printed = run(f"{first} --seed 9 --max-iter 12 --resume auto")
    assert code == 0 and "small_iter_8" in printed and "Seed 9" in printed


def test_a_classifier_without_weights_is_refused(run: Run) -> None:
    trained = TRAIN.format("solver.prototxt", "train01.txt --max-iter 4").replace("EXP=a", "EXP=mine")
    assert run(trained)[0] == 0
    evaluated = "eval runs/test.prototxt T/r/small_iter_4.caffemodel --set EXP=other --mean 104,117,123 "
    evaluated += "--data data/mini/val01.txt --root data/mini"
    code, printed = run(evaluated)
    assert code == 1 and "score_other" in printed and "--allow-missing" in printed
    code, printed = run(f"{evaluated} --allow-missing")
    assert code == 0 and "warning" in printed.lower() and "score_other" in printed
