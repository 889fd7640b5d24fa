"""`rlossctl data scribble` and what is behind it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rlossctl.cli.data import command
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.palette import save_label_png
from rlossctl.data.weak.folders import find_masks, label_list, write_weak_labels
from rlossctl.data.weak.kinds import KINDS
from rlossctl.errors import DataError, UsageError


@pytest.fixture
def voc(tmp_path):
    """Three photos with masks, an `image mask` list and a list of ids."""
    root = tmp_path / "voc"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    for name in "abc":
        Image.fromarray(np.zeros((60, 70, 3), np.uint8)).save(root / f"JPEGImages/{name}.jpg")
        mask = np.zeros((60, 70), np.uint8)
        mask[10:40, 20:50] = 5
        save_label_png(root / f"SegmentationClass/{name}.png", mask)
    lines = [f"JPEGImages/{name}.jpg SegmentationClass/{name}.png\n" for name in "abc"]
    (root / "list.txt").write_text("".join(lines))
    (root / "ids.txt").write_text("a\nb\nc\n")
    (root / "masks.txt").write_text("SegmentationClass/b.png\n")
    return root


def run(*arguments):
    return CliRunner().invoke(command, ["scribble", *map(str, arguments)])


def test_masks_from_folder_list_and_ids(voc):
    assert [mask.path.name for mask in find_masks(voc / "SegmentationClass")] == ["a.png", "b.png", "c.png"]
    for name in ("list.txt", "ids.txt"):
        masks = find_masks(voc / name, voc)
        assert [mask.path for mask in masks] == [voc / f"SegmentationClass/{n}.png" for n in "abc"]
        assert masks[1].image == f"{voc}/JPEGImages/b.jpg" and masks[1].listed == f"{voc / name}:2"
    assert [mask.image for mask in find_masks(voc / "masks.txt", voc)] == [None]


def test_the_command_writes_plain_scribbles_and_a_list(voc):
    out = voc / "scribbles"
    result = run(voc / "list.txt", out, "--root", voc, "--list", voc / "train.txt", "--coverage", "0.05")
    assert result.exit_code == 0, result.output
    assert "3 scribbles" in result.output and f'root_folder: "{voc}/"' in result.output
    for sample in read_list(voc / "train.txt", voc):
        drawn = read_label(sample.label)
        with Image.open(sample.label) as image:
            assert image.mode == "L"
        assert set(np.unique(drawn)) == {0, 5, 255} and 0.04 < (drawn != 255).mean() < 0.06
    assert (voc / "train.txt").read_text().startswith("JPEGImages/a.jpg scribbles/a.png\n")


def test_scribbles_elsewhere_need_absolute_names(voc, tmp_path):
    result = run(voc / "ids.txt", tmp_path / "out", "--root", voc, "--list", tmp_path / "train.txt")
    assert result.exit_code == 0 and 'root_folder: ""' in result.output
    assert len(read_list(tmp_path / "train.txt")) == 3
    assert (tmp_path / "train.txt").read_text().split()[0] == f"{voc.absolute()}/JPEGImages/a.jpg"


def test_scribbles_depend_on_seed_and_name_only(voc, tmp_path):
    masks = find_masks(voc / "SegmentationClass")
    write_weak_labels(masks, tmp_path / "all", seed=3)
    write_weak_labels(masks[1:2], tmp_path / "one", seed=3)
    write_weak_labels(masks[1:2], tmp_path / "other", seed=4)
    drawn = [read_label(tmp_path / folder / "b.png") for folder in ("all", "one", "other")]
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], read_label(tmp_path / "all/a.png"))


def test_errors_name_the_place(voc, tmp_path):
    (voc / "SegmentationClass/b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png .*list\.txt:2"):
        write_weak_labels(find_masks(voc / "list.txt", voc), tmp_path / "out")
    with pytest.raises(UsageError, match="overwrite"):
        write_weak_labels(find_masks(voc / "SegmentationClass"), voc / "SegmentationClass")
    with pytest.raises(DataError, match="no masks"):
        find_masks(tmp_path)
    with pytest.raises(DataError, match="a photo for every mask"):
        label_list(find_masks(voc / "SegmentationClass"), tmp_path / "out")
    (voc / "list.txt").write_text("a.jpg x/m.png\nb.jpg y/m.png\n")
    with pytest.raises(DataError, match="same name"):
        find_masks(voc / "list.txt", voc)


def test_names_with_spaces_cannot_be_listed(voc, tmp_path):
    masks = find_masks(voc / "list.txt", voc)
    with pytest.raises(DataError, match="without spaces"):
        label_list(masks, tmp_path / "my out")


def test_the_command_offers_every_kind():
    (option,) = [option for option in command.commands["scribble"].params if option.name == "kind"]
    assert tuple(option.type.choices) == KINDS


def test_house_errors_leave_the_command_to_the_group(voc, tmp_path):
    result = run(tmp_path / "nowhere", tmp_path / "out")
    assert isinstance(result.exception, DataError)
    assert run(voc / "list.txt", tmp_path / "out", "--coverage", "0").exit_code == 2


@pytest.mark.slow
def test_neither_the_room_nor_the_command_loads_torch():
    code = "import pkgutil, importlib, sys, rlossctl.cli.data, rlossctl.data\n"
    code += "assert 'numpy' not in sys.modules and 'PIL' not in sys.modules\n"
    code += "for module in pkgutil.walk_packages(rlossctl.data.__path__, 'rlossctl.data.'):\n"
    code += "    importlib.import_module(module.name)\n"
    code += "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
