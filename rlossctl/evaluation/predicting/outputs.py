"""Where predictions are written, and how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rlossctl.counts import VOID
from rlossctl.data.drawing import legend, overlay
from rlossctl.data.palette import Palette, voc_palette
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.running.runners import names_for

KINDS = ("labels", "overlay", "npz", "png16", "labelme", "coco", "video")
COCO = "predictions.coco.json"
_FOR_ALL = ("coco", "video")  # one file for many photos


@dataclass(frozen=True)
class Look:
    """How predictions are drawn.

    Attributes:
        palette: the classes' colours; None for VOC's.
        opacity: of the colours over the photo, 0 to 1.
        legend: whether overlays show the names of their classes below.
        names: the classes' names; None for the model's own, else the palette's.
    """

    palette: Palette | None = None
    opacity: float = 0.5
    legend: bool = False
    names: Sequence[str] | None = None

    @property
    def colours(self) -> np.ndarray:
        """uint8 [256, 3] RGB."""
        return voc_palette() if self.palette is None else self.palette.table

    def names_of(self, predictor: Predictor) -> list[str]:
        """The names of a model's classes; raises DataError if `names` has another number of them."""
        names, own = self.names, self.palette.names if self.palette else {}
        if names is None and predictor.runner.classes is None:
            ids = range(predictor.num_classes)
            names = [own[index] for index in ids] if set(ids) <= set(own) else None
        return names_for(predictor.runner, names)

    def overlay(
        self,
        photo: np.ndarray,
        labels: np.ndarray,
        names: Sequence[str],
        classes: Sequence[int] | None = None,
    ) -> np.ndarray:
        """The photo under its labels; a legend makes it higher.

        Args:
            photo: uint8 [H, W, 3] BGR.
            labels: uint8 [H, W].
            classes: those in the legend; None for those that occur.

        Returns:
            uint8 [h, W, 3] RGB.
        """
        picture = overlay(photo, labels, self.opacity, self.colours)
        if not self.legend:
            return picture
        present = [int(place) for place in np.unique(labels) if place != VOID]
        shown = present if classes is None else classes
        return np.concatenate([picture, legend(shown, names, self.colours, picture.shape[1])])


@dataclass(frozen=True)
class Outputs:
    """Where predictions go, and how they look.

    Attributes:
        folder: the files' folder, or None to write only the archive.
        kinds: the kinds of files, from KINDS: NAME.png (palette, class ids), NAME_overlay.png, NAME.npz
            (`probabilities` float16 [C, H, W], `classes` with their names, and `masks` bool [C, H, W] if the
            rule gives masks), NAME_CLASS.png (one for each class id: 16 bits, 65535 times the probability),
            NAME.json (labelme's polygons), COCO for all photos (run lengths), and a film of the overlays of
            every video.
        archive: a .tgz for the VOC evaluation server, or None.
        look: how they are drawn.
    """

    folder: Path | None
    kinds: tuple[str, ...] = ("labels",)
    archive: Path | None = None
    look: Look = field(default_factory=Look)

    def paths(self, name: str, classes: int) -> dict[str, list[Path]]:
        """The files of one photo, by kind."""
        if self.folder is None:
            return {}
        stem = self.folder / name
        all_kinds = {
            "labels": [stem.with_name(f"{stem.name}.png")],
            "overlay": [stem.with_name(f"{stem.name}_overlay.png")],
            "labelme": [stem.with_name(f"{stem.name}.json")],
            "npz": [stem.with_name(f"{stem.name}.npz")],
            "png16": [stem.with_name(f"{stem.name}_{index}.png") for index in range(classes)],
        }
        return {kind: all_kinds[kind] for kind in self.kinds if kind not in _FOR_ALL}

    @property
    def coco(self) -> Path | None:
        """COCO's file for all photos."""
        return self.folder / COCO if self.folder and "coco" in self.kinds else None

    @property
    def film_folder(self) -> Path | None:
        """Where films go; None if none are wanted."""
        return self.folder if "video" in self.kinds else None

    def film(self, name: str) -> Path | None:
        """The film of a video."""
        return self.film_folder / f"{name}_overlay.mp4" if self.film_folder else None
