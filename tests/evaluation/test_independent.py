"""The whole way from a list to mIoU against thirty lines of numpy that share nothing with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from rlossctl.evaluation import OnnxRunner, evaluate
from rlossctl.evaluation.running.open_model import open_list

MEAN, CROP = (100.0, 110.0, 120.0), (385, 505)


def plain_miou(model: Path, pairs: list[tuple[Path, Path]], classes: int) -> tuple[float, float]:
    """mIoU over the classes that occur, and pixel accuracy."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    right, true, guessed = np.zeros((3, classes), int)
    for image, label in pairs:
        rgb = np.array(Image.open(image).convert("RGB"), np.float32)
        height, width = rgb.shape[:2]
        data = np.zeros((1, 3, max(height, CROP[0]), max(width, CROP[1])), np.float32)
        for channel in range(3):
            data[0, channel, :height, :width] = rgb[:, :, 2 - channel] - MEAN[channel]
        scores = session.run(None, {"data": data})[0][0, :, :height, :width]
        guess = classes - 1 - np.argmax(scores[::-1], axis=0)
        truth = np.array(Image.open(label))
        for c in range(classes):
            right[c] += np.sum((truth == c) & (guess == c))
            true[c] += np.sum(truth == c)
            guessed[c] += np.sum((guess == c) & (truth != 255))
    union = true + guessed - right
    iou = [right[c] / union[c] for c in range(classes) if union[c] > 0]
    return sum(iou) / len(iou), right.sum() / true.sum()


def agree(model: Path, samples: list, classes: int) -> None:
    result = evaluate(OnnxRunner(model, "cpu"), samples, progress=False)
    pairs = [(Path(sample.image), Path(sample.label)) for sample in samples]
    miou, accuracy = plain_miou(model, pairs, classes)
    assert abs(result.miou() - miou) <= 1e-12
    assert abs(result.confusion.pixel_accuracy() - accuracy) <= 1e-12


def colour_model(make_model, path: Path, classes: int) -> Path:
    """Each class is a direction in colour space."""
    weight = np.random.default_rng(classes).normal(size=(classes, 3))
    return make_model(path, weight, {"preprocess": {"mean_bgr": MEAN, "crop": CROP}})


def test_generated_pictures(make_model, voc_folder, tmp_path):
    model = colour_model(make_model, tmp_path / "m.onnx", 3)
    agree(model, open_list(voc_folder / "pairs.txt", voc_folder), 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "listed", "classes"),
    [("camvid", "val.txt", 11), ("voc2012", "ImageSets/Segmentation/val.txt", 21)],
)
def test_real_pictures(shared, make_model, tmp_path, folder, listed, classes):
    root = shared / "data" / folder
    model = colour_model(make_model, tmp_path / "m.onnx", classes)
    agree(model, open_list(root / listed, root)[:8], classes)
