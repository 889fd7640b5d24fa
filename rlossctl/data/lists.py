"""List files: Caffe's, with one sample `image [label]` per line, and VOC's, with bare ids."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlossctl import remote
from rlossctl.errors import DataError
from rlossctl.files import LARGEST_LISTING, atomic_write, read_regular

LabelColumn = Literal["path", "integer", "optional"]
VOC_LABEL_FOLDERS = ("SegmentationClassAug", "SegmentationClass")
_NAME = re.compile(r'"([^"]+)"|(\S+)')
_MARKS = {",": "commas", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True)
class Sample:
    """One line of a list: image path; label (a path, an integer as text, or None); line number."""

    image: str
    label: str | None
    line: int


def read_list(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str] = "",
    *,
    labels: LabelColumn = "path",
    label_dir: str | None = None,
) -> list[Sample]:
    """Reads a list as Caffe's ImageSegData does: tokens separated by spaces; tokens after the second ignored.

    Beyond Caffe: a name in double quotes may hold spaces; UTF-16 text and lines that end in a lone carriage
    return, which spreadsheets and Windows editors write, are read.

    Args:
        path: the list file.
        root: prefix of every name, joined by plain concatenation as in Caffe (see `join_root`).
        labels: the second column. "path": a file, required; "integer": a class id, required and kept as
            text; "optional": a file, or nothing.
        label_dir: if given, the list holds bare VOC ids (`2007_000033`): images are root/JPEGImages/ID.jpg
            (or .png), labels root/label_dir/ID.png. `find_label_dir` finds the folder.

    Raises:
        DataError: the list is missing, empty or not text, or a line lacks a required column.
    """
    samples = []
    for number, line in enumerate(_read_lines(path), start=1):
        tokens = split_names(line)
        if not tokens:
            continue
        if label_dir is not None:
            samples.append(_voc_sample(path, tokens, str(root), label_dir, number))
            continue
        if len(tokens) == 1 and labels != "optional":
            raise _one_column(path, number, line.strip(), labels)
        label = tokens[1] if len(tokens) > 1 else None
        if label is not None and labels != "integer":
            label = join_root(root, label)
        samples.append(Sample(join_root(root, tokens[0]), label, number))
    return _not_empty(samples, path, "image label")


def read_class_list(
    path: str | os.PathLike[str], root: str | os.PathLike[str] = "", *, spaces_in_names: bool = True
) -> list[Sample]:
    """Reads `image class` lines as Caffe's ImageData does; the class is an integer, kept as text.

    Args:
        path: the list file.
        root: prefix of every name (see `join_root`).
        spaces_in_names: the class follows the last space, as in BVLC Caffe. Otherwise a line has two tokens,
            as in the forks. Spaces at the end of a line or a name are dropped: Caffe would read class 0, or
            look for a name that ends in a space.

    Raises:
        DataError: the list is missing, empty or not text, or a line has no class. If there is no number,
            BVLC Caffe reads 0, and the forks silently stop there.
    """
    samples = []
    for number, line in enumerate(_read_lines(path), start=1):
        line = line.strip() if spaces_in_names else " ".join(line.split())
        if not line:
            continue
        name, _, label = line.rpartition(" ")
        if not name or not re.fullmatch(r"[+-]?\d{1,9}", label) or (" " in name and not spaces_in_names):
            raise DataError(
                "the line does not hold an image and a class",
                where=f"{path}:{number}",
                found=line,
                expected="an image, a space and an integer" + ("" if spaces_in_names else "; no other space"),
                advice="correct the list; DenseImageData and ImageSegData read lists of label images",
            )
        samples.append(Sample(join_root(root, _unquoted(name.rstrip())), label, number))
    return _not_empty(samples, path, "image class")


def find_label_dir(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str | None:
    """The label folder for a list of bare VOC ids, or None if the list names files itself.

    A list holds ids if its first line is a single token without a suffix and `root` has JPEGImages. The
    folder is SegmentationClassAug if it exists, otherwise SegmentationClass. Folders at an address (see
    `rlossctl.remote`) are not searched: None.

    Raises:
        DataError: the list holds ids, and neither folder exists.
    """
    first = next((line.split() for line in _read_lines(path) if line.strip()), [])
    if len(first) != 1 or os.path.splitext(first[0])[1] or not (Path(root) / "JPEGImages").is_dir():
        return None
    for name in VOC_LABEL_FOLDERS:
        if (Path(root) / name).is_dir():
            return name
    raise DataError(
        "a list of VOC ids needs a folder of labels",
        where=root,
        found=", ".join(sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir())),
        expected=" or ".join(VOC_LABEL_FOLDERS),
        advice="unpack the labels there, or use a list with `image label` lines",
    )


def join_root(root: str | os.PathLike[str], name: str) -> str:
    """root + name, as in Caffe. If that is not a file: root/name, or an absolute name by itself.

    A root that is an address (see `rlossctl.remote`) is a folder, and nobody asks there whether files exist.
    """
    root = str(root)
    if remote.is_remote(name) or remote.is_remote(root):
        return remote.joined(root, name)
    plain = root + name
    if not root or os.path.exists(plain):
        return plain
    if name.startswith("/"):
        return name if os.path.exists(name) else plain
    return plain if root.endswith("/") else f"{root}/{name}"


def write_lines(path: str | os.PathLike[str], lines: list[str]) -> None:
    """Writes a list file. Names that came from `read_list` keep their bytes."""
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def split_names(line: str) -> list[str]:
    """A line's names, separated by spaces; a name that contains spaces is in double quotes."""
    if '"' not in line:
        return line.split()
    return [quoted or plain for quoted, plain in _NAME.findall(line)]


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    return _read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _read_text(path: str | os.PathLike[str]) -> str:
    try:
        if remote.is_remote(path):
            content = remote.read(str(path), LARGEST_LISTING)
        else:
            content = read_regular(path, LARGEST_LISTING)
    except OSError as error:
        raise DataError(
            "the list cannot be read",
            where=path,
            found=error.strerror or str(error),
            expected="a text file with one sample per line, `image label`",
            advice="check the name, and --set or --data if a prototxt names the list by a placeholder",
        ) from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decode_utf16(content, path)
    if b"\0" in content:
        raise _not_a_list(path, "binary content", "name the list, not an image or a database")
    # File names are bytes: surrogateescape returns them unchanged in any encoding.
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def _decode_utf16(content: bytes, path: object) -> str:
    try:
        text = content.decode("utf-16")
    except UnicodeDecodeError as error:
        advice = "save it as UTF-8"
        raise _not_a_list(path, f"the byte order mark of UTF-16, but {error.reason}", advice) from error
    if "\0" in text:
        raise _not_a_list(path, "UTF-16 text with NUL characters", "save it as UTF-8")
    return text


def _not_a_list(path: object, found: str, advice: str) -> DataError:
    return DataError(
        "this is not a list",
        where=path,
        found=found,
        expected="a text file with one sample per line, `image label`",
        advice=advice,
    )


def _not_empty(samples: list[Sample], path: object, line: str) -> list[Sample]:
    if not samples:
        raise DataError(
            "the list is empty",
            where=path,
            found="no line with a name",
            expected=f"one sample per line, `{line}`",
            advice="name another list, or check the program that should have written this one",
        )
    return samples


def _voc_sample(path: object, tokens: list[str], root: str, label_dir: str, line: int) -> Sample:
    if len(tokens) != 1 or os.path.splitext(tokens[0])[1]:
        raise DataError(
            "this line is not a VOC id",
            where=f"{path}:{line}",
            found=" ".join(tokens),
            expected="one id without suffix, such as 2007_000033",
            advice="read a list of `image label` lines without a label folder",
        )
    stem = os.path.join(root, "JPEGImages", tokens[0])
    image = f"{stem}.png" if os.path.exists(f"{stem}.png") else f"{stem}.jpg"
    return Sample(image, os.path.join(root, label_dir, f"{tokens[0]}.png"), line)


def _one_column(path: object, line: int, text: str, labels: LabelColumn) -> DataError:
    wanted = "a label image" if labels == "path" else "an integer label"
    advice = "add the label's column; for pictures without labels set label_type: NONE"
    separator = next((mark for mark in ",;|" if mark in text), None)
    if separator is not None:
        advice = f"the columns are separated by {_MARKS[separator]}: put a space between the names instead"
    elif not os.path.splitext(text)[1]:
        advice = "this looks like a list of VOC ids, which eval and the data commands read below --root; "
        advice += "for a data layer, write a list of `image label` lines"
    return DataError(
        "the line has one column",
        where=f"{path}:{line}",
        found=text,
        expected=f"`image label`: two names separated by a space, the second {wanted}",
        advice=advice,
    )
