"""A folder of small photos with three classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZES = {"a": (40, 60), "b": (30, 30), "c": (64, 48)}  # height, width


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos a, b and c: blue above, green below; and names.txt with three classes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, (height, width) in SIZES.items():
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[: height // 2, :, 2] = 200
        pixels[height // 2 :, :, 1] = 200
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (tmp_path / "names.txt").write_text("sky\ngrass\nroad\n")
    return folder
