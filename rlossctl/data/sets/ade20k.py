"""ADE20K in the form of the scene parsing challenge of 2016: 20,210 and 2,000 photos, 150 classes.

With the scribbles of Scribbles for All (Boettcher et al. 2024), if they are given.
"""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.data.archives import Sources
from rlossctl.data.classes import read_classes
from rlossctl.data.sets.ids import grey_image, renumbered
from rlossctl.data.sets.laying_out import Layout, Part, Prepared, by_stem
from rlossctl.data.sets.registry import DataSet, Download, data_set

CLASSES, _COLOURS = read_classes("ade20k")
_SCRIBBLES = "scribbles"
DOWNLOADS = (
    Download(
        "ade20k",
        "ADEChallengeData2016.zip",
        ("https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
        md5="7328b3957e407ddae1d3cbf487f149ef",
        what="photos and labels of the challenge of 2016",
        terms="https://ade20k.csail.mit.edu/terms/",
    ),
)


@data_set(
    DataSet(
        name="ade20k",
        title="ADE20K",
        classes=CLASSES,
        colours=_COLOURS,
        ignore_label_free=True,
        published={"train.txt": 20210, "val.txt": 2000},
        ids="0 does not count, others move down by one",
        downloads=DOWNLOADS,
        folder="ADE20K",
        help="ADEChallengeData2016.zip, with Scribbles for All's scribbles/training where it is given",
    )
)
def prepare_ade20k(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """ADE20K from ADEChallengeData2016: images/training, annotations/training, and the same in validation.

    Ids 1..150 are written as 0..149, and 0 ("other") as `void`. scribbles/training has scribbles in the same
    ids, as s4ADE20K unpacks them.

    Raises:
        DataError: no photo with its label, labels with other ids.
    """
    ids = {0: void, **{label: label - 1 for label in range(1, len(CLASSES) + 1)}}
    convert = renumbered(ids, f"0..{len(CLASSES)}", read=grey_image)
    with Sources(sources) as opened:
        files = opened.entries
        train, val = by_stem(files, "images/training"), by_stem(files, "images/validation")
        layout = Layout(Path(out), opened, "images/training/NAME.jpg with annotations/training/NAME.png")
        layout.add(
            Part("train", train, by_stem(files, "annotations/training"), convert),
            Part("val", val, by_stem(files, "annotations/validation"), convert),
            Part(
                "train_scribbles", train, by_stem(files, "scribbles/training", (".png",)), convert, _SCRIBBLES
            ),
        )
        return layout.done()
