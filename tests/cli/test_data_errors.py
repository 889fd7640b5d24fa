"""Bad input to the data commands and predict: one paragraph, the right exit code, nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.palette import save_label_png


@pytest.fixture
def data(folder):
    """A photo, a label, lists of both, and files that are broken in the usual ways."""
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(photo).save(folder / "a.jpg")
    save_label_png(folder / "a.png", np.zeros((20, 24), np.uint8))
    save_label_png(folder / "large.png", np.zeros((21, 24), np.uint8))
    Image.fromarray(np.zeros((20, 24, 4), np.uint8)).save(folder / "alpha.png")
    Image.fromarray(np.full((20, 24), 300, np.uint16)).save(folder / "deep.png")
    content = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "list.txt").write_text("a.jpg a.png\n")
    (folder / "empty.txt").write_text("\n\n")
    for name in ("large.png", "alpha.png", "deep.png"):
        (folder / f"{name}.txt").write_text(f"a.jpg {name}\n")
    (folder / "cut.txt").write_text("cut.jpg a.png\n")
    (folder / "bad.json").write_text('{"a": [{"x": 1, "y": 1, "cls": 99}]}')
    (folder / "a.xml").write_text("<annotation><polygon><tag>dragon</tag></polygon></annotation>")
    return folder


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ("data stats none.txt", 1, "none.txt: the list cannot be read"),
        ("data stats empty.txt", 1, "empty.txt: the list is empty"),
        ("data stats cut.txt", 1, "cut.jpg (named in cut.txt:1)"),
        ("data stats large.png.txt", 1, "image 24x20, label 24x21"),
        ("data stats alpha.png.txt", 1, "a colour image (mode RGBA)"),
        ("data stats deep.png.txt", 1, "ids from 300 to 300"),
        ("data stats list.txt --classes none", 1, "none: the class names cannot be read"),
        ("data verify empty.txt", 1, "empty.txt: the list is empty"),
        ("data scribble a.jpg out", 1, "a.jpg: this is not a list"),
        ("data scribble list.txt out --kind clicks --coverage 0.1", 2, "--coverage does not apply to clicks"),
        ("data scribble . .", 2, "would overwrite the masks"),
        ("data clicks bad.json -o out --images . --classes voc", 1, "image 'a', click 0"),
        ("data clicks a.jpg -o out --images .", 1, "a.jpg: the clicks cannot be read"),
        ("data scribbles a.xml -o out", 1, "<tag>dragon</tag>"),
        ("data scribbles none -o out", 1, "none: the scribbles cannot be read"),
        ("data prepare voc . -o out", 1, "the photos are missing"),
        ("data prepare camvid a.jpg -o out", 1, "a.jpg: cannot be read"),
        ("predict none.onnx a.jpg -o out", 1, "none.onnx"),
        ("predict net.prototxt w.caffemodel a.jpg -o out --set LABELS=3", 1, "how to prepare its images"),
        ("predict net.prototxt w.caffemodel 'x*' -o out --set LABELS=3", 1, "no photo found"),
    ],
)
def test_refused_in_one_paragraph(invoke, data, arguments, code, words):
    found, out, error = invoke(*arguments.replace("'", "").split())
    assert found == code, error
    assert out == "" and error.startswith("error: ") and "Traceback" not in error
    assert words in error and "\n\n" not in error.strip()
    assert not (data / "out").exists() or not list((data / "out").iterdir())


def test_verify_names_all_of_them(invoke, data):
    lists = ["cut.txt", "large.png.txt", "alpha.png.txt", "deep.png.txt", "list.txt"]
    code, out, error = invoke("data", "verify", *lists, "--sheet", "sheet.png")
    assert code == 1 and error == ""
    for words in (
        "cut.txt:1: cut.jpg",
        "label 24x21",
        "mode RGBA",
        "ids from 300",
        "list.txt: 1 pairs, 1 without",
    ):
        assert words in out
    assert (data / "sheet.png").exists()


@pytest.mark.parametrize("kind", ["16 bits", "alpha", "grey", "palette", "EXIF rotation"])
def test_photos_of_every_kind_are_predicted_as_they_are_stored(invoke, data, kind):
    grey = np.arange(480, dtype=np.uint8).reshape(20, 24)
    if kind == "16 bits":
        Image.fromarray(grey.astype(np.uint16) * 257).save(data / "p.png")
    elif kind == "EXIF rotation":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(grey).save(data / "p.png", exif=exif)
    else:
        mode = {"alpha": "RGBA", "grey": "L", "palette": "P"}[kind]
        Image.fromarray(grey).convert(mode).save(data / "p.png")
    code, _, error = invoke(
        "predict",
        "net.prototxt",
        "w.caffemodel",
        "p.png",
        "-o",
        "out",
        "--set",
        "LABELS=3",
        "--mean",
        "0,0,0",
        "--no-upright",
    )
    assert code == 0, error
    with Image.open(data / "out/p.png") as image:
        assert image.size == (24, 20), "width and height as in the file; --no-upright applies no rotation"
