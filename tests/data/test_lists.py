from __future__ import annotations

import os

import pytest

from rlossctl.data.lists import Sample, find_label_dir, join_root, read_class_list, read_list
from rlossctl.errors import DataError


def write(tmp_path, text):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_tokens_blank_lines_and_line_numbers(tmp_path):
    path = write(tmp_path, "a.jpg\t b.png\r\n\n  c.jpg d.png extra\n")
    assert read_list(path, "r/") == [Sample("r/a.jpg", "r/b.png", 1), Sample("r/c.jpg", "r/d.png", 3)]


def test_last_line_without_newline_counts_and_bom_is_no_name(tmp_path):
    assert read_list(write(tmp_path, b"\xef\xbb\xbfa b\nc d")) == [Sample("a", "b", 1), Sample("c", "d", 2)]


def test_root_is_concatenated_as_caffe_does(tmp_path):
    (tmp_path / "prefix_a.jpg").touch()
    assert join_root(tmp_path / "prefix_", "a.jpg") == f"{tmp_path}/prefix_a.jpg"
    assert join_root(tmp_path, "a.jpg") == f"{tmp_path}/a.jpg"
    assert join_root(tmp_path, "/a.jpg") == f"{tmp_path}/a.jpg"
    assert join_root(f"{tmp_path}/", "/a.jpg") == f"{tmp_path}//a.jpg"
    assert join_root("", "/abs.jpg") == "/abs.jpg"


def test_one_column_is_named_by_line(tmp_path):
    path = write(tmp_path, "a.jpg b.png\nc.jpg\n")
    with pytest.raises(DataError) as caught:
        read_list(path)
    assert caught.value.where == f"{path}:2"
    assert caught.value.found == "c.jpg" and "image label" in caught.value.expected and caught.value.advice
    assert read_list(path, labels="optional")[1] == Sample("c.jpg", None, 2)


def test_integer_labels_are_left_alone(tmp_path):
    assert read_list(write(tmp_path, "a.jpg 3"), "r/", labels="integer") == [Sample("r/a.jpg", "3", 1)]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_is_an_error(tmp_path, text):
    with pytest.raises(DataError, match="empty"):
        read_list(write(tmp_path, text))


def test_a_missing_list_and_a_picture_are_no_lists(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_list(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="binary"):
        read_list(write(tmp_path, b"\x89PNG\0\0"))


def test_names_in_any_encoding_survive(tmp_path):
    sample = read_list(write(tmp_path, b"\xe4.jpg b.png"))[0]
    assert sample.image.encode("utf-8", "surrogateescape") == b"\xe4.jpg"


def test_voc_ids(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "JPEGImages/two.png").touch()
    path = write(tmp_path, "2007_000033\ntwo\n")
    with pytest.raises(DataError, match="SegmentationClassAug or SegmentationClass"):
        find_label_dir(path, tmp_path)
    (tmp_path / "SegmentationClass").mkdir()
    assert find_label_dir(path, tmp_path) == "SegmentationClass"
    (tmp_path / "SegmentationClassAug").mkdir()
    assert find_label_dir(path, tmp_path) == "SegmentationClassAug"
    first, second = read_list(path, tmp_path, label_dir="SegmentationClassAug")
    assert first.image == f"{tmp_path}/JPEGImages/2007_000033.jpg"
    assert first.label == f"{tmp_path}/SegmentationClassAug/2007_000033.png"
    assert second.image == f"{tmp_path}/JPEGImages/two.png"
    with pytest.raises(DataError, match="list of VOC ids"):
        read_list(path, tmp_path)


def test_a_list_of_files_is_no_list_of_ids(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    path = write(tmp_path, "a.jpg b.png\n")
    assert find_label_dir(path, tmp_path) is None
    with pytest.raises(DataError, match="not a VOC id"):
        read_list(path, tmp_path, label_dir="SegmentationClass")


def test_an_absolute_name_needs_no_root(tmp_path):
    """Lists that `data scribble` writes for scribbles elsewhere; Caffe's own lists may start with a slash."""
    (tmp_path / "a.png").touch()
    assert join_root("/data/", f"{tmp_path}/a.png") == f"{tmp_path}/a.png"
    assert join_root(str(tmp_path), "/a.png") == f"{tmp_path}/a.png"
    assert join_root("/data", "/nowhere.png") == "/data/nowhere.png"


def test_names_in_quotes_may_hold_spaces(tmp_path):
    (tmp_path / "l.txt").write_text('"my photos/a.jpg" "my labels/a.png"\nb.jpg "l b.png" ignored\n')
    samples = read_list(tmp_path / "l.txt")
    assert [(s.image, s.label) for s in samples] == [
        ("my photos/a.jpg", "my labels/a.png"),
        ("b.jpg", "l b.png"),
    ]
    (tmp_path / "c.txt").write_text('"my photos/a.jpg" 3\n')
    assert [(s.image, s.label) for s in read_class_list(tmp_path / "c.txt")] == [("my photos/a.jpg", "3")]


@pytest.mark.parametrize("ending", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_of_other_systems(tmp_path, ending, encoding):
    text = "".join(f"{name}.jpg {name}.png{ending}" for name in ("a", "ü", "c"))
    (tmp_path / "l.txt").write_bytes(text.encode(encoding))
    samples = read_list(tmp_path / "l.txt")
    assert [(s.image, s.label, s.line) for s in samples] == [
        ("a.jpg", "a.png", 1),
        ("ü.jpg", "ü.png", 2),
        ("c.jpg", "c.png", 3),
    ]


@pytest.mark.parametrize(("line", "mark"), [("a.jpg,a.png", "commas"), ("a.jpg;a.png", "semicolons")])
def test_other_separators_are_named(tmp_path, line, mark):
    (tmp_path / "l.csv").write_text(f"{line}\n")
    with pytest.raises(DataError, match=f"separated by {mark}"):
        read_list(tmp_path / "l.csv")


def test_only_files_are_lists(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="not a regular file"):
            read_list(path)
