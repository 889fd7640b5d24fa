"""How much of each photo weak labels mark, and how often they agree with full masks of the same name.

    python benchmarks/weak_labels.py VOC2012/pascal_2012_scribble VOC2012/SegmentationClassAug

Both are folders of label images. Prints over all images that both have: the share of pixels that are
labelled, the share of these that carry the mask's class (pixels that the mask ignores left out), and classes
per image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from rlossctl.data.images import read_label


def main() -> None:
    arguments = parse()
    folders = arguments.weak, arguments.full
    weak_names, full_names = ({path.name for path in folder.glob("*.png")} for folder in folders)
    names = sorted(weak_names & full_names)
    pixels = labelled = judged = right = classes = 0
    for name in names:
        weak, full = read_label(arguments.weak / name), read_label(arguments.full / name)
        marked = weak != arguments.ignore
        known = marked & (full != arguments.ignore)
        pixels, labelled, judged = pixels + weak.size, labelled + marked.sum(), judged + known.sum()
        right += (weak == full)[known].sum()
        classes += len(np.unique(weak[marked]))
    if not judged:
        raise SystemExit("the folders share no labelled image")
    print(
        f"{len(names)} images, {labelled / pixels:.2%} of the pixels labelled, {right / judged:.2%} of them "
        f"right, {classes / len(names):.2f} classes per image"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weak", type=Path, help="folder of weak labels")
    parser.add_argument("full", type=Path, help="folder of full masks")
    parser.add_argument("--ignore", type=int, default=255, help="label of what is not marked (default 255)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
