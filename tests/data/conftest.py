"""A small folder of photos with labels, and layer messages from prototxt text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from rlossctl.data.palette import save_label_png
from rlossctl.prototxt.messages import LayerParameter

SIZES = [(11, 17), (23, 9), (16, 16), (30, 31), (8, 25), (19, 12), (21, 21)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven photos (PNG) of different sizes with palette labels, and list.txt."""
    rng = np.random.default_rng(5)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    lines = []
    for index, (rows, columns) in enumerate(SIZES):
        photo = rng.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / f"images/{index}.png")
        save_label_png(tmp_path / f"labels/{index}.png", rng.integers(0, 5, (rows, columns)))
        lines.append(f"images/{index}.png labels/{index}.png")
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def layer():
    """Makes an ImageSegData message: layer(data="batch_size: 2", transform="crop_size: 9", tops=3)."""

    def make(data: str = "", transform: str = "", tops: int = 3):
        names = ["data", "label", "data_dim"] + [f"extra{index}" for index in range(3, tops)]
        text = 'name: "input" type: "ImageSegData"\n'
        text += "".join(f'top: "{name}"\n' for name in names[:tops])
        text += f"image_data_param {{ {data} }}\ntransform_param {{ {transform} }}\n"
        return text_format.Parse(text, LayerParameter())

    return make
