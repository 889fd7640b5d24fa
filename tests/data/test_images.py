from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from rlossctl.data.images import (
    MAX_PIXELS,
    check_labels,
    image_orientation,
    image_size,
    read_image,
    read_label,
    read_photo,
)
from rlossctl.data.palette import save_label_png, voc_palette
from rlossctl.data.sets.camvid import CLASSES as CAMVID_CLASSES
from rlossctl.data.sets.names import class_names
from rlossctl.data.sets.voc import CLASSES as VOC_CLASSES
from rlossctl.errors import DataError, RlossError, UsageError

IDS = np.array([[0, 1, 20], [255, 15, 3]], dtype=np.uint8)


def test_photos_are_blue_first(tmp_path):
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), rgb[:, :, ::-1])
    assert image_size(tmp_path / "a.png") == (2, 3)


def test_grey_alpha_and_deep_photos(tmp_path):
    grey = np.array([[0, 7], [200, 255]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    assert np.array_equal(read_image(tmp_path / "grey.png", color=False), grey[:, :, None])
    rgba = np.dstack([np.full((2, 2, 3), 90, np.uint8), np.zeros((2, 2), np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    assert (read_image(tmp_path / "alpha.png") == 90).all()
    Image.fromarray((grey.astype(np.uint16) << 8) + 17).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[:, :, 0], grey)


def test_palette_labels_are_indices(tmp_path):
    save_label_png(tmp_path / "palette.png", IDS)
    with Image.open(tmp_path / "palette.png") as image:
        assert image.mode == "P"
    assert np.array_equal(read_label(tmp_path / "palette.png"), IDS)
    save_label_png(tmp_path / "plain.png", IDS, palette=False)
    with Image.open(tmp_path / "plain.png") as image:
        assert image.mode == "L"
    assert np.array_equal(read_label(tmp_path / "plain.png"), IDS)
    Image.fromarray(IDS.astype(np.uint16)).save(tmp_path / "deep.png")
    assert np.array_equal(read_label(tmp_path / "deep.png"), IDS)
    Image.fromarray(IDS > 0).save(tmp_path / "bits.png")
    assert np.array_equal(read_label(tmp_path / "bits.png"), (IDS > 0).astype(np.uint8))


def test_pictures_that_are_no_labels(tmp_path):
    Image.fromarray(voc_palette()[IDS]).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="colour image") as caught:
        read_label(tmp_path / "rgb.png", listed="train.txt:4")
    assert "train.txt:4" in caught.value.where and "palette" in caught.value.expected
    Image.fromarray(IDS).save(tmp_path / "lossy.jpg")
    with pytest.raises(DataError, match="JPEG"):
        read_label(tmp_path / "lossy.jpg")
    Image.fromarray(np.full((2, 2), 300, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="300"):
        read_label(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_missing_damaged_and_truncated_files(tmp_path, suffix):
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)).save(whole)
    content = whole.read_bytes()
    (tmp_path / f"half.{suffix}").write_bytes(content[: len(content) // 2])
    (tmp_path / f"text.{suffix}").write_text("no picture")
    (tmp_path / f"empty.{suffix}").touch()
    (tmp_path / f"flipped.{suffix}").write_bytes(content[:20] + bytes(200) + content[220:])
    for name in ("nowhere", "half", "text", "empty"):
        with pytest.raises(DataError) as caught:
            read_image(tmp_path / f"{name}.{suffix}", listed="list.txt:7")
        assert f"{name}.{suffix}" in caught.value.where and "list.txt:7" in caught.value.where
        assert caught.value.advice
    with pytest.raises(DataError):
        read_image(tmp_path / f"flipped.{suffix}")
    with pytest.raises(DataError):
        read_image(tmp_path)


def test_an_absurdly_large_image_is_an_error(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="DecompressionBomb"):
        read_image(tmp_path / "a.png")


def test_check_labels_names_file_ids_and_range():
    check_labels(IDS, 21, 255, "a.png")
    check_labels(IDS[:1].astype(np.float32), 21, None, "a.png")
    with pytest.raises(DataError) as caught:
        check_labels(IDS, 15, 255, "a.png")
    assert caught.value.where == "a.png" and "15, 20" in caught.value.found
    assert "0..14" in caught.value.expected and "255" in caught.value.expected
    with pytest.raises(DataError, match="255"):
        check_labels(IDS, 21, None, "a.png")


def test_palette_and_names():
    palette = voc_palette()
    assert palette[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[20].tolist() == [0, 64, 128] and palette[255].tolist() == [224, 224, 192]
    assert len(VOC_CLASSES) == 21 and VOC_CLASSES[15] == "person" and len(CAMVID_CLASSES) == 11


def test_class_names(tmp_path):
    assert class_names(None) is None
    assert class_names("voc") == list(VOC_CLASSES) and class_names("camvid") == list(CAMVID_CLASSES)
    (tmp_path / "names.txt").write_text("ground\n\n stone \n")
    assert class_names(str(tmp_path / "names.txt")) == ["ground", "stone"]
    with pytest.raises(DataError, match="nowhere"):
        class_names(str(tmp_path / "nowhere"))


def test_labels_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match=r"ids 0\.\.300"):
        save_label_png(tmp_path / "a.png", np.array([[0, 300]]))
    with pytest.raises(RlossError, match="nowhere"):
        save_label_png(tmp_path / "nowhere/a.png", IDS)
    assert list(tmp_path.iterdir()) == []


def test_grey_of_a_colour_photo_is_what_opencv_decodes(tmp_path):
    """PNG by libpng's weights, cut off (recorded in golden/dense); JPEG by the file's own luminance."""
    photo = np.random.default_rng(3).integers(0, 256, (8, 16, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo).save(tmp_path / "a.bmp")
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=90)
    red, green, blue = photo.astype(np.int64).transpose(2, 0, 1)
    grey = (9798 * red + 19235 * green + 3735 * blue) // 32768
    assert np.array_equal(read_image(tmp_path / "a.png", color=False)[:, :, 0], grey)
    grey = (4899 * red + 9617 * green + 1868 * blue + 8192) // 16384
    assert np.array_equal(read_image(tmp_path / "a.bmp", color=False)[:, :, 0], grey)
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft("YCbCr", image.size)
        luminance = np.asarray(image)[:, :, 0]
    assert np.array_equal(read_image(tmp_path / "a.jpg", color=False)[:, :, 0], luminance)


def test_only_files_are_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="not a regular file"):
            read_image(path)


def test_pictures_have_a_largest_size(tmp_path, monkeypatch):
    """The header is enough to refuse one: no memory is taken for its pixels."""
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "p.png")
    monkeypatch.setenv(MAX_PIXELS, "1199")
    with pytest.raises(DataError, match="too large") as caught:
        read_image(tmp_path / "p.png")
    assert "40x30" in str(caught.value) and "1,199" in str(caught.value) and MAX_PIXELS in str(caught.value)
    monkeypatch.setenv(MAX_PIXELS, "1200")
    assert read_image(tmp_path / "p.png").shape == (30, 40, 3)
    monkeypatch.setenv(MAX_PIXELS, "many")
    with pytest.raises(UsageError, match="not a number"):
        read_image(tmp_path / "p.png")


def test_a_large_picture_passes_without_a_word_of_pillow(tmp_path):
    Image.new("1", (10_000, 9_500)).save(tmp_path / "large.png")
    code = "import sys; from rlossctl.data.images import image_size; print(image_size(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "large.png")], capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("(9500, 10000)", "")


def test_damage_that_pillow_warns_of_is_not_told_in_its_words(tmp_path):
    """A TIFF whose second tag is damaged: pillow reads past it with a warning."""
    file = tmp_path / "a.tif"
    Image.new("RGB", (4, 4)).save(file)
    data = bytearray(file.read_bytes())
    entries = int.from_bytes(data[4:8], "little") + 2  # of the first directory, 12 bytes each
    data[entries + 12 + 4 : entries + 12 + 12] = b"\xff\xff\xff\x7f\xff\xff\xff\x7f"
    file.write_bytes(data)

    def said(module: str, call: str) -> str:
        code = f"from {module}\ntry: {call}\nexcept Exception: pass"
        command = [sys.executable, "-W", "default", "-c", code, str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr

    assert "Warning" in said("PIL import Image; import sys", "Image.open(sys.argv[1]).getexif()")
    assert said("rlossctl.data.images import image_size; import sys", "image_size(sys.argv[1])") == ""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_photos_are_turned_as_viewers_turn_them(tmp_path, orientation, suffix):
    rgb = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rgb).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))[:, :, ::-1]
    photo = read_photo(path, upright=True)
    assert np.array_equal(photo.pixels, expected) and photo.orientation == orientation
    assert not photo.rotated and photo.turned == (orientation != 1)
    assert image_size(path, upright=True) == expected.shape[:2]
    assert image_size(path) == (24, 40) == read_image(path).shape[:2]
    assert read_photo(path).rotated == (orientation != 1)
    grey = read_image(path, color=False, upright=True)
    assert grey.shape == (*expected.shape[:2], 1) and grey.flags.c_contiguous


@pytest.mark.parametrize("value", [0, 9, 1000])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert image_orientation(tmp_path / "a.png") == 1
    assert read_image(tmp_path / "a.png", upright=True).shape == (2, 3, 3)


@pytest.mark.parametrize("compression", ["tiff_lzw", "group4"])
def test_damage_in_a_tiff_is_an_error_and_libtiff_says_nothing_by_itself(tmp_path, capfd, compression):
    path = tmp_path / "a.tif"
    dots = np.random.default_rng(0).integers(0, 2, (40, 50), dtype=np.uint8) * 255
    Image.fromarray(dots).convert("1" if compression == "group4" else "L").save(path, compression=compression)
    content = bytearray(path.read_bytes())
    whole = read_image(path)
    middle = content.index(b"II*\0") + 60
    content[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(DataError, match="the image cannot be read") as caught:
        read_image(path)
    says = {"tiff_lzw": "OSError: decoder error -2; Using code", "group4": "Fax4Decode: Bad code word"}
    assert says[compression] in str(caught.value.found) and capfd.readouterr() == ("", "")
    assert whole.shape == (40, 50, 3)
