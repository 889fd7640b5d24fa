"""The classes and colours of the data sets."""

from __future__ import annotations

from rlossctl.data.sets import registry
from rlossctl.data.sets.palettes import colours_of, find_palette


def test_published_classes_and_palettes():
    known = registry.data_sets()
    counts = {name: len(entry.classes) for name, entry in known.items()}
    assert counts == {
        "ade20k": 150,
        "camvid": 11,
        "cityscapes": 19,
        "cocostuff10k": 171,
        "cocostuff10k_182": 182,
        "cocostuff164k": 171,
        "cocostuff164k_182": 182,
        "context59": 59,
        "context60": 60,
        "kitti360": 19,
        "kvasir": 2,
        "scenes": 5,
        "voc": 21,
    }
    for name, entry in known.items():
        palette = find_palette(name)
        assert palette.colours.keys() == {*range(counts[name]), 255}
        assert palette.names[counts[name] - 1] == entry.classes[-1]
        assert len(entry.colours) in (0, counts[name])
    assert find_palette("ade20k").colours[149] == (92, 0, 255) and find_palette("voc").colours[255] == (
        224,
        224,
        192,
    )


def test_classes_have_the_colours_of_their_data_set() -> None:
    names = registry.data_sets()["camvid"].classes
    assert colours_of(names, 11)[:2] == [[128, 128, 128], [128, 0, 0]]  # sky, building
    assert colours_of(["a", "b"], 2) == colours_of(None, 2) == [[0, 0, 0], [128, 0, 0]]
