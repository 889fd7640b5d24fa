"""type: "DenseImageData" against what SegNet's and ENet's forks read from the same small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlossctl.data.images import read_image, read_label

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "dense"
# Drawn from the forks' own generators: ours draws other numbers from the same choices.
RANDOM = {"segnet_crop_test", "segnet_crop_train", "segnet_mirror_test", "segnet_shuffle"}
# Defects: image and label drawn apart; a palette read as grey levels.
NOT_REPRODUCED = {"enet_transform_crop", "enet_transform_mirror", "segnet_palette_label"}
CASES = sorted(file.stem for file in FOLDER.glob("*.npz"))


@pytest.fixture
def source(build):
    def make(name: str, **options):
        case = np.load(FOLDER / f"{name}.npz")
        text = str(case["prototxt"]).replace('source: "', f'source: "{FOLDER}/files/')
        net = build(text, str(case["phase"]), data={"root": str(FOLDER / "files"), **options})
        return net, net.sources["d"], steps(case)

    return make


def steps(case):
    count = len({key.split("/")[0] for key in case if key.startswith("step")})
    return [(case[f"step{index}/data"], case[f"step{index}/label"]) for index in range(count)]


def cuts(batch):
    """All (file, flip, top, left) whose part of image and label is the batch's first sample."""
    data, label = batch[0][0], batch[1][0, 0]
    rows, columns = label.shape
    found = []
    for index in range(3):
        image = read_image(FOLDER / f"files/im{index}.png").transpose(2, 0, 1)
        ids = read_label(FOLDER / f"files/lab{index}.png")
        for flip in (False, True):
            one, two = (image[..., ::-1], ids[:, ::-1]) if flip else (image, ids)
            for top in range(ids.shape[0] - rows + 1):
                for left in range(ids.shape[1] - columns + 1):
                    part = np.s_[..., top : top + rows, left : left + columns]
                    if np.array_equal(one[part], data) and np.array_equal(two[part], label):
                        found.append((index, flip, top, left))
    return found


@pytest.mark.proves("DenseImageData")
@pytest.mark.parametrize("name", [name for name in CASES if name not in RANDOM | NOT_REPRODUCED])
@pytest.mark.parametrize("workers", [0, 2])
def test_recorded_batches(source, name, workers):
    net, data, expected = source(name, workers=workers)
    assert [net.shapes["data"], net.shapes["label"]] == [array.shape for array in expected[0]]
    for batch in expected:
        assert all(
            np.array_equal(ours, theirs) for ours, theirs in zip(data.next_batch(), batch, strict=True)
        )
    data.close()


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_batches_are_drawn_from_the_same_choices(source, name):
    _, data, expected = source(name)
    theirs = [cuts(batch)[0] for batch in expected]
    ours = [cuts(data.next_batch())[0] for _ in range(60)]
    assert {cut[1] for cut in ours} == ({False, True} if "mirror" in name else {False})
    assert len({cut[2:] for cut in ours}) > (10 if "crop" in name else 0)
    if "shuffle" not in name:
        assert [cut[0] for cut in theirs] == [cut[0] for cut in ours[: len(theirs)]]
    for epoch in (*zip(*[iter(ours)] * 3, strict=True), *zip(*[iter(theirs)] * 3, strict=True)):
        assert sorted(cut[0] for cut in epoch) == [0, 1, 2]


@pytest.mark.parametrize("name", ["enet_transform_crop", "enet_transform_mirror"])
def test_image_and_label_are_drawn_together_unlike_in_the_fork(source, name):
    _, data, expected = source(name)
    assert any(not cuts(batch) for batch in expected), "the recorded defect"
    ours = [cuts(data.next_batch())[0] for _ in range(30)]
    assert len({cut[1:] for cut in ours}) > 1


def test_a_palette_gives_indices_unlike_in_the_forks(source):
    _, data, expected = source("segnet_palette_label")
    image, label = data.next_batch()
    assert np.array_equal(image, expected[0][0])
    assert np.array_equal(label[0, 0], read_label(FOLDER / "files/labpal.png")) and label.max() < 12
    assert not np.array_equal(label, expected[0][1])
