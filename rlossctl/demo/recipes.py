"""The rows of the demo's table: what is trained on which labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rlossctl.errors import UsageError


class Recipe(NamedTuple):
    """One row.

    Attributes:
        name: in the table.
        folder: of its runs.
        full: whether it is trained on full masks, not on scribbles.
        net: of the second phase.
    """

    name: str
    folder: str
    full: bool
    net: str

    @property
    def train_list(self) -> str:
        """The list that it is trained on."""
        return "train_full.txt" if self.full else "train.txt"


SCRIBBLES = Recipe("pCE", "pce", False, "demo/train")
FULL_MASKS = Recipe("full masks", "full", True, "demo/train")
DENSECRF = Recipe("pCE + DenseCRF", "densecrf", False, "demo/trainwithdensecrfloss")
_ON_SCRIBBLES = {
    "normalizedcut": "NormalizedCut",
    "kernelcut": "KernelCut",
    "gatedcrf": "GatedCRF",
    "potts_bilinear": "Potts, bilinear",
    "potts_quadratic": "Potts, quadratic",
    "potts_normalized": "Potts, normalized",
    "potts_collision_cross_entropy": "Potts, collision CE",
    "potts_collision_divergence": "Potts, collision div.",
    "potts_log_quadratic": "Potts, log quadratic",
    "tree": "TreeEnergy",
    "entropy": "Entropy",
    "size": "Size",
    "selflabelling": "soft self-labelling",
}
_ON_FULL_MASKS = {
    "focal": "Focal, not CE",
    "bce": "binary CE, not CE",
    "dice": "CE + Dice",
    "lovasz": "CE + Lovasz",
}
LOSSES = {
    "densecrf": DENSECRF,
    **{
        name: Recipe(f"pCE + {title}", name, False, f"demo_losses/{name}")
        for name, title in _ON_SCRIBBLES.items()
    },
    **{name: Recipe(title, name, True, f"demo_losses/{name}") for name, title in _ON_FULL_MASKS.items()},
}


def chosen(losses: str) -> list[Recipe]:
    """The rows for names of losses with commas between them, or "all": beside them the two that have none.

    `potts` stands for its six relaxations.

    Raises:
        UsageError: there is no loss of a name.
    """
    rows = (
        list(LOSSES.values()) if losses == "all" else [row for name in losses.split(",") for row in _of(name)]
    )
    return [
        SCRIBBLES,
        *(row for row in dict.fromkeys(rows) if not row.full),
        FULL_MASKS,
        *(row for row in dict.fromkeys(rows) if row.full),
    ]


def _of(name: str) -> Sequence[Recipe]:
    name = name.strip()
    found = [row for key, row in LOSSES.items() if name in (key, key.partition("_")[0])]
    if not found:
        raise UsageError(
            "the demo has no loss of this name",
            found=name,
            expected="all, potts, or some of " + ", ".join(LOSSES),
            advice="rlossctl demo --help shows how they are written",
        )
    return found
