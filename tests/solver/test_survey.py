"""What is looked at before the first iteration: files, labels, rotations, fields that do not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.errors import DataError, NetError
from rlossctl.net import DataOverrides
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import train

TEST_LAYERS = """
layer { name: "test" type: "ImageSegData" top: "data" top: "label" include { phase: TEST }
  image_data_param { source: "%s" root_folder: "." batch_size: 1 label_type: PIXEL }
  transform_param { crop_size: 9 } }
layer { name: "accuracy" type: "SegAccuracy" bottom: "fc8" bottom: "label" top: "accuracy"
  include { phase: TEST } seg_accuracy_param { ignore_label: 255 reset: %s } }
"""


def warnings(**options) -> list[str]:
    """The warnings of a short training, all of which stand above its first iteration."""
    options = {"out": "a", "device": "cpu", "max_iter": 1, "overwrite": True, **options}
    train(SolverOrigin("solver.prototxt").read(), DataOverrides(), TrainOptions(**options))
    lines = Path("a/train.log").read_text().splitlines()
    (start,) = [place for place, line in enumerate(lines) if "Iteration 0, loss" in line]
    found = [place for place, line in enumerate(lines) if line.startswith("W")]
    assert all(place < start for place in found)
    return [lines[place].partition("] ")[2] for place in found]


def with_tests(folder: Path, source: str, reset: str = "false") -> None:
    text = (
        (folder / "net.prototxt")
        .read_text()
        .replace('top: "label"\n', 'top: "label" include { phase: TRAIN }\n')
    )
    loss = "  loss_param { ignore_label: 255 }"
    text = text.replace(loss, f"{loss} include {{ phase: TRAIN }}")
    layers, rest = (TEST_LAYERS % (source, reset)).split('layer { name: "accuracy"')
    name = 'name: "small"'
    (folder / "net.prototxt").write_text(
        text.replace(name, f"{name}\n{layers}", 1) + 'layer { name: "accuracy"' + rest
    )
    solver = (folder / "solver.prototxt").read_text().replace("train_net", "net")
    (folder / "solver.prototxt").write_text(solver + "test_iter: 2 test_interval: 5\n")


def relabel(folder: Path, ids: list[int]) -> None:
    random = np.random.default_rng(2)
    for index in range(7):
        labels = random.choice(np.array(ids, np.uint8), (11, 12))
        Image.fromarray(labels).save(folder / f"{index}_label.png")


def test_a_sound_run_is_not_commented_on(folder: Path) -> None:
    assert warnings() == []


def test_masks_of_0_and_255(folder: Path) -> None:
    relabel(folder, [0, 255])
    (warning,) = warnings()
    assert warning.startswith(f"{folder}/list.txt: the ids are 0 and 255; 255, ")
    assert "write class 1 as 1" in warning
    assert warning.endswith("(7 of 7 label images looked at)")


@pytest.mark.slow
def test_a_class_that_no_label_has(folder: Path) -> None:
    relabel(folder, [0, 1, 255])
    assert warnings() == [
        f"{folder}/list.txt: 1 class of the net in no label: 2 (7 of 7 label images looked at)"
    ]


def test_few_labels_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relabel(folder, [0, 255])
    monkeypatch.setattr("rlossctl.solver.survey.LOOKED_AT", 3)
    (warning,) = warnings()
    assert warning.endswith("(3 of 7 label images looked at)")


def test_photos_with_a_rotation(folder: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    Image.open("3.png").save("3.png", exif=turned)
    first, *drawn = warnings()
    assert f"1 photo of 7 looked at with an EXIF rotation, such as {folder}/3.png" in first
    assert all("EXIF says that" in line for line in drawn)  # where it is in the first batch
    text = Path("net.prototxt").read_text().replace("label_type: PIXEL", "label_type: PIXEL upright: true")
    Path("net.prototxt").write_text(text)
    Image.fromarray(np.zeros((12, 11), np.uint8)).save("3_label.png")
    assert warnings() == []


def test_class_weights_that_do_not_count(folder: Path) -> None:
    text = (folder / "net.prototxt").read_text()
    weights = "class_weighting: 1 class_weighting: 2 class_weighting: 3"
    (folder / "net.prototxt").write_text(
        text.replace("ignore_label: 255 }", f"ignore_label: 255 {weights} }}")
    )
    (warning,) = warnings()
    assert "layer 'loss' (SoftmaxWithLoss): class_weighting does not count without" in warning
    assert warning.startswith("net.prototxt:")
    weights += " weight_by_label_freqs: true"
    (folder / "net.prototxt").write_text(
        text.replace("ignore_label: 255 }", f"ignore_label: 255 {weights} }}")
    )
    assert warnings() == []


@pytest.mark.parametrize(("reset", "count"), [("false", 1), ("true", 0)])
def test_running_averages_of_seg_accuracy(folder: Path, reset: str, count: int) -> None:
    with_tests(folder, str(folder / "list.txt"), reset)
    found = warnings()
    assert len(found) == count
    assert all("layer 'accuracy' (SegAccuracy, reset: false) counts on" in line for line in found)


def test_a_net_that_learns_nothing(folder: Path) -> None:
    text = (
        (folder / "net.prototxt")
        .read_text()
        .replace("lr_mult: 1", "lr_mult: 0")
        .replace("lr_mult: 2", "lr_mult: 0")
    )
    fc8 = 'bottom: "frozen" top: "fc8"'
    frozen = "param { lr_mult: 0 } param { lr_mult: 0 }"
    (folder / "net.prototxt").write_text(text.replace(fc8, f"{fc8} {frozen}"))
    assert warnings() == ["net.prototxt: no layer learns: the net has no weights, or every lr_mult is 0"]


def test_missing_files_are_counted_before_anything_is_read(folder: Path, monkeypatch) -> None:
    for index in (2, 4, 5):
        (folder / f"{index}.png").unlink()
        (folder / f"{index}_label.png").unlink()
    monkeypatch.setattr(
        "rlossctl.data.sources.stream.Source.next_batch", lambda _self: pytest.fail("a batch was drawn")
    )
    with pytest.raises(DataError, match=r"list\.txt:3: .*6 files of the list are missing") as caught:
        warnings()
    assert "2.png (line 3)" in caught.value.found and caught.value.found.endswith("and 1 more")


def test_those_of_test_nets_too(folder: Path) -> None:
    (folder / "test.txt").write_text("/0.png /0_label.png\n/no.png /0_label.png\n")
    with_tests(folder, str(folder / "test.txt"))
    with pytest.raises(DataError, match=r"test\.txt:2: .*1 file of the list is missing"):
        warnings()


def test_a_test_net_that_cannot_be_built_names_its_layer(folder: Path) -> None:
    text = (folder / "net.prototxt").read_text()
    data = 'layer { name: "rows" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }'
    data += ' hdf5_data_param { source: "nowhere.txt" batch_size: 1 } }'
    train_only = text.replace('top: "label"\n', 'top: "label" include { phase: TRAIN }\n')
    (folder / "net.prototxt").write_text(train_only.replace('name: "small"', f'name: "small"\n{data}', 1))
    solver = (folder / "solver.prototxt").read_text().replace("train_net", "net")
    (folder / "solver.prototxt").write_text(solver + "test_iter: 2 test_interval: 5\n")
    with pytest.raises(DataError) as caught:
        warnings()
    assert "layer 'rows' (HDF5Data, phase TEST, net.prototxt:3): the list cannot be read" in str(caught.value)
    assert caught.value.where == "nowhere.txt"
    assert "--data" not in caught.value.advice
    assert "--val LIST" in caught.value.advice


def test_the_list_of_a_test_net_is_not_that_of_training(folder: Path) -> None:
    with_tests(folder, "nowhere.txt")
    with pytest.raises((DataError, NetError)) as caught:
        train(
            SolverOrigin("solver.prototxt").read(),
            DataOverrides(str(folder / "list.txt")),
            TrainOptions(out="a", device="cpu"),
        )
    text = str(caught.value)
    assert "nowhere.txt" in text
    assert "layer 'test' (ImageSegData, phase TEST, net.prototxt:" in text
    assert "--data" not in text and "--image-shape" not in text
