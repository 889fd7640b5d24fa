"""The study's rows: which labels a net learns from, and which losses stand beside the cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LAYERS = Path(__file__).parent / "layers"
SIZES = {
    "densecrf": "half",
    "densecrf_wide": "half",
}  # the image and probabilities that a loss reads; the others' are at a quarter


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: of its folder.
        title: as the table shows it.
        losses: files in layers/.
        full: learns from full masks, whatever the labels of the others.
        main: with all seeds; the others with the first alone.
    """

    name: str
    title: str
    losses: tuple[str, ...] = ()
    full: bool = False
    main: bool = False

    def layers(self) -> str:
        """What its training net has beside the cross-entropy, as lines of a prototxt."""
        sizes = dict.fromkeys(SIZES.get(loss, "quarter") for loss in self.losses)
        return "".join("\n" + (LAYERS / f"{name}.prototxt").read_text() for name in (*sizes, *self.losses))


ROWS = {
    row.name: row
    for row in (
        Row("pce", "pCE", main=True),
        Row("densecrf", "+ DenseCRF", ("densecrf",), main=True),
        Row("densecrf_wide", "+ DenseCRF, sigma 100", ("densecrf_wide",)),
        Row("gatedcrf", "+ Gated CRF", ("gatedcrf",), main=True),
        Row("ncut", "+ normalised cut", ("ncut",)),
        Row("kernelcut", "+ KernelCut", ("ncut", "densecrf")),
        Row("potts_bilinear", "+ Potts, bilinear", ("potts_bilinear",)),
        Row("potts_collision", "+ Potts, collision divergence", ("potts_collision",)),
        Row("tree", "+ tree energy", ("tree",)),
        Row("selflabel", "+ soft self-labelling", ("selflabel",), main=True),
        Row("mixture", "+ Gated CRF, self-labelling", ("gatedcrf", "selflabel"), main=True),
        Row("full", "full masks", full=True, main=True),
    )
}
