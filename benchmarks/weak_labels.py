"""Measures how much of each photo weak labels cover, and how often they agree with full masks.

    python benchmarks/weak_labels.py VOC2012/pascal_2012_scribble VOC2012/SegmentationClassAug

Both are folders of label images; images with the same name are compared. Prints, over all images that both
folders have: the share of labelled pixels, the share of these with the mask's class (leaving out pixels that
the mask ignores), and the classes per image.
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
        raise SystemExit("the folders have no labelled image in common")
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
    parser.add_argument("--ignore", type=int, default=255, help="label of unmarked pixels (default 255)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
