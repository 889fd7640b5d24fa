"""`rlossctl data preview`: the panels show what the net gets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from PIL import Image

from rlossctl.cli import cli
from rlossctl.data.drawing import marked
from rlossctl.data.palette import voc_palette
from rlossctl.data.sources.imagelist import DenseImageSource, ImageSource
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.prototxt.messages import NetParameter

SIDE = 360  # of a panel
TRANSFORM = "crop_size: 24 mirror: true mean_value: 100 scale: 0.5"
AUGMENT = "std_value: 3 rotate: 20 scale_min: 0.5 scale_max: 1.5"


def layer(kind: str, param: str, folder: Path, transform: str = "", more: str = "label_type: PIXEL") -> str:
    return f"""layer {{ name: "data" type: "{kind}" top: "data" top: "label"
      transform_param {{ {TRANSFORM} {transform} }}
      {param} {{ source: "{folder}/list.txt" root_folder: "{folder}/" batch_size: 2 shuffle: true {more} }} }}
      layer {{ name: "conv" type: "NoSuchType" bottom: "data" top: "conv" }}"""


@pytest.fixture
def draw(folder):
    """Runs the command on a net's text: draw(text, *arguments) gives its output and the sheet."""

    def run(text: str, *arguments: str):
        (folder / "net.prototxt").write_text(text)
        sheet = folder / "sheet.png"
        command = ["data", "preview", str(folder / "net.prototxt"), "-o", str(sheet), *arguments]
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.output, np.asarray(Image.open(sheet))

    return run


def panel(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The 24 x 24 pixels of a panel, each of which is a square of 15 x 15."""
    top, left = 20 + 6 + row * (SIDE + 28) + 22, 6 + column * (SIDE + 6)
    return sheet[top + 7 : top + SIDE : 15, left + 7 : left + SIDE : 15]


def test_panels_are_the_draws_of_epochs_with_the_mean_added_back(folder, draw):
    text = layer("ImageSegData", "image_data_param", folder, AUGMENT)
    output, sheet = draw(text, "--seed", "5", "--photos", "3", "--draws", "2")
    assert "3 photos of 7, 2 draws each, 24x24 (width x height), layer 'data', phase TRAIN, seed 5" in output
    message = text_format.Parse(text, NetParameter()).layer[0]
    message.top.extend(["dim", "valid"])
    source = ImageSegSource(message, "TRAIN", seed=5)
    first = [source.read(number) for number in range(3)]
    later = [source.read(number) for number in range(7, 14)]
    for row, item in enumerate(first):
        again = next(one for one in later if one.sample == item.sample)
        for column, drawn in enumerate((item, again)):
            found = panel(sheet, row, column)
            valid = drawn.arrays[3][0] > 0
            photo = np.rint(drawn.arrays[0] * 3 / 0.5 + 100).astype(np.uint8).transpose(1, 2, 0)
            ids = drawn.arrays[1][0].astype(np.uint8)
            wanted = marked(photo, found, ids, valid)
            assert np.array_equal(found[valid], wanted[valid]) and valid.any()
            assert set(np.unique(found[~valid])) <= {205, 235}


def test_strokes_are_solid_with_an_edge_and_padding_is_checkered(folder, draw):
    (folder / "clicks.json").write_text(json.dumps({str(n): [{"x": 4, "y": 4, "cls": 2}] for n in range(7)}))
    more = f'label_type: STROKES annotation: "{folder}/clicks.json" stroke_width: 3'
    text = layer("ImageSegData", "image_data_param", folder, more=more)
    _, sheet = draw(text, "--photos", "7", "--draws", "1", "--classes", "voc")
    colour = np.all(sheet == voc_palette()[2], axis=2)
    top, left = 20 + 6 + 22, 6
    dots = 0
    for number in range(7):  # four in a row
        y, x = top + number // 4 * (SIDE + 28), left + number % 4 * (SIDE + 6)
        dot = colour[y : y + SIDE, x : x + SIDE]
        rows, columns = np.nonzero(dot)
        if len(rows) == 5 * 15 * 15:  # a brush 3 pixels wide has no corners
            dots += 1
            edge = sheet[y + rows.min() - 1, x + int(columns.mean())]
            assert (edge == 255).all()
    assert dots >= 3


@pytest.mark.parametrize(
    ("kind", "param", "source"),
    [
        ("ImageData", "image_data_param", ImageSource),
        ("DenseImageData", "dense_image_data_param", DenseImageSource),
    ],
)
def test_other_layers(folder, draw, kind, param, source):
    big = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    Image.fromarray(big).save(folder / "images/0.png")
    Image.fromarray(big[:, :, 0] % 5).save(folder / "labels/0.png")
    second = "7" if kind == "ImageData" else "labels/0.png"
    (folder / "list.txt").write_text(f"images/0.png {second}\n")
    text = layer(kind, param, folder, more="")
    output, sheet = draw(text, "--draws", "1")
    assert "1 photo of 1" in output
    item = source(text_format.Parse(text, NetParameter()).layer[0], "TRAIN").read(0)
    photo = np.rint(item.arrays[0] * 2 + 100).astype(np.uint8).transpose(1, 2, 0)
    wanted = photo[:, :, ::-1]
    if kind == "DenseImageData":
        ids = item.arrays[1].reshape(24, 24).astype(np.uint8)
        wanted = marked(photo, wanted, ids, ids != 255)
    assert np.array_equal(panel(sheet, 0, 0), wanted)


def test_a_net_without_photos(tmp_path):
    (tmp_path / "net.prototxt").write_text('input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 }')
    result = CliRunner().invoke(cli, ["data", "preview", str(tmp_path / "net.prototxt"), "-o", "sheet.png"])
    assert result.exit_code == 1 and "there is nothing to preview" in str(result.exception)
