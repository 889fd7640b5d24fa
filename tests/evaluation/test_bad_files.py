"""Photos and labels as they come: what is refused, with the line that names it, and what is read."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.palette import save_label_png
from rlossctl.errors import DataError
from rlossctl.evaluation import OnnxRunner, evaluate
from rlossctl.evaluation.running.open_model import open_list

SIZE = (24, 30)


@pytest.fixture
def photo() -> np.ndarray:
    """RGB; every pixel has a strongest channel after the mean."""
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def label() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, SIZE, dtype=np.uint8)


@pytest.fixture
def score(tiny_model, tmp_path):
    """Evaluates photo.* with label.* and gives the result."""

    def run(photo_name: str = "photo.png", label_name: str = "label.png"):
        (tmp_path / "list.txt").write_text(f"{photo_name} {label_name}\n")
        samples = open_list(tmp_path / "list.txt", tmp_path)
        return evaluate(
            OnnxRunner(tiny_model, "cpu"), samples, list_name="list.txt", pictures=1, progress=False
        )

    return run


def save(folder, photo=None, label=None, **options) -> None:
    if photo is not None:
        Image.fromarray(photo).save(folder / "photo.png", **options)
    if label is not None:
        save_label_png(folder / "label.png", label)


def test_a_truncated_jpeg_is_refused(score, photo, label, tmp_path):
    save(tmp_path, label=label)
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    content = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "photo.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"photo\.jpg \(named in list\.txt:1\).*cannot be read"):
        score("photo.jpg")


def test_sixteen_bit_photos_are_read_as_eight(score, label, tmp_path):
    grey = np.random.default_rng(2).integers(0, 1 << 16, SIZE).astype(np.uint16)
    save(tmp_path, label=label)
    Image.fromarray(grey).save(tmp_path / "photo.png")
    picture = score().pictures[0]
    np.testing.assert_array_equal(picture.photo, np.repeat((grey >> 8)[:, :, None], 3, axis=2))


def test_sixteen_bit_labels_are_read_while_they_are_ids(score, photo, label, tmp_path):
    save(tmp_path, photo)
    Image.fromarray(label.astype(np.uint16)).save(tmp_path / "label.png")
    np.testing.assert_array_equal(score().pictures[0].truth, label)
    Image.fromarray(label.astype(np.uint16) * 300).save(tmp_path / "label.png")
    with pytest.raises(DataError, match="ids from 0 to 600"):
        score()


def test_a_palette_with_holes_gives_its_indices(score, photo, label, tmp_path):
    """The file has no colours for the ids that it uses; pillow would not write it so."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    label[0, :5] = 255
    rows = b"".join(b"\0" + row.tobytes() for row in label)
    header = struct.pack(">IIBBBBB", SIZE[1], SIZE[0], 8, 3, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"PLTE", bytes(3)), chunk(b"IDAT", zlib.compress(rows)))
    save(tmp_path, photo)
    (tmp_path / "label.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b""))
    result = score()
    np.testing.assert_array_equal(result.pictures[0].truth, label)
    assert result.confusion.ignored == 5


def test_alpha_is_dropped_from_photos_and_refused_in_labels(score, photo, label, tmp_path):
    save(tmp_path, photo, label)
    plain = score().confusion.matrix
    clear = np.concatenate([photo, np.zeros((*SIZE, 1), np.uint8)], axis=2)
    save(tmp_path, clear)
    np.testing.assert_array_equal(score().confusion.matrix, plain)
    Image.fromarray(clear).save(tmp_path / "label.png")
    with pytest.raises(DataError, match="colour image"):
        score()


def test_exif_rotation_is_not_applied_and_named_where_sizes_differ(score, photo, label, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by a quarter
    save(tmp_path, photo, label, exif=exif)
    np.testing.assert_array_equal(score().pictures[0].photo, photo[:, :, ::-1])
    save(tmp_path, label=np.ascontiguousarray(label.T))
    with pytest.raises(DataError, match=r"list\.txt:1.*differ in size") as caught:
        score()
    assert "EXIF" in str(caught.value)


def test_a_label_larger_than_its_photo_is_refused(score, photo, label, tmp_path):
    save(tmp_path, photo, np.pad(label, 4))
    with pytest.raises(DataError, match=r"30x24 pixels.*38x32"):
        score()


def test_an_empty_list_is_refused(score, tmp_path):
    (tmp_path / "list.txt").write_text("\n\n")
    with pytest.raises(DataError, match="the list is empty"):
        open_list(tmp_path / "list.txt", tmp_path)


def test_labels_of_more_classes_than_the_model_has_are_refused(score, photo, label, tmp_path):
    label[3, 3] = 3
    save(tmp_path, photo, label)
    with pytest.raises(DataError, match=r"label\.png.*out of range") as caught:
        score()
    assert "0..2" in str(caught.value)
    assert "3 (1 of 720 pixels)" in str(caught.value)
