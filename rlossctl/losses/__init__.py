"""Regularized losses as functions and torch modules, usable without a prototxt.

Each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.losses.densecrf import DenseCRFLoss as DenseCRFLoss
    from rlossctl.losses.densecrf import caffe_mask as caffe_mask
    from rlossctl.losses.densecrf import densecrf_loss as densecrf_loss
    from rlossctl.losses.dice import DiceLoss as DiceLoss
    from rlossctl.losses.dice import dice_loss as dice_loss
    from rlossctl.losses.entropy import EntropyLoss as EntropyLoss
    from rlossctl.losses.entropy import entropy_loss as entropy_loss
    from rlossctl.losses.focal import FocalLoss as FocalLoss
    from rlossctl.losses.focal import focal_loss as focal_loss
    from rlossctl.losses.gated_crf import GatedCRFLoss as GatedCRFLoss
    from rlossctl.losses.gated_crf import GatedKernel as GatedKernel
    from rlossctl.losses.gated_crf import gated_crf_loss as gated_crf_loss
    from rlossctl.losses.inputs import LossInputWarning as LossInputWarning
    from rlossctl.losses.lovasz import LovaszLoss as LovaszLoss
    from rlossctl.losses.lovasz import lovasz_loss as lovasz_loss
    from rlossctl.losses.modes import compare_modes as compare_modes
    from rlossctl.losses.modes import weight_factor as weight_factor
    from rlossctl.losses.normalized_cut import NormalizedCutLoss as NormalizedCutLoss
    from rlossctl.losses.normalized_cut import normalized_cut_loss as normalized_cut_loss
    from rlossctl.losses.potts import PottsLoss as PottsLoss
    from rlossctl.losses.potts import potts_loss as potts_loss
    from rlossctl.losses.self_labelling import CollisionCrossEntropyLoss as CollisionCrossEntropyLoss
    from rlossctl.losses.self_labelling import SoftPseudoLabel as SoftPseudoLabel
    from rlossctl.losses.self_labelling import (
        collision_cross_entropy_loss as collision_cross_entropy_loss,
    )
    from rlossctl.losses.self_labelling import soft_pseudo_label as soft_pseudo_label
    from rlossctl.losses.size import SizeBounds as SizeBounds
    from rlossctl.losses.size import SizeLoss as SizeLoss
    from rlossctl.losses.size import size_loss as size_loss
    from rlossctl.losses.tree_energy import TreeEnergyLoss as TreeEnergyLoss
    from rlossctl.losses.tree_energy import tree_energy_loss as tree_energy_loss

_HOMES = {
    "CollisionCrossEntropyLoss": ".self_labelling",
    "DenseCRFLoss": ".densecrf",
    "DiceLoss": ".dice",
    "EntropyLoss": ".entropy",
    "FocalLoss": ".focal",
    "GatedCRFLoss": ".gated_crf",
    "GatedKernel": ".gated_crf",
    "LossInputWarning": ".inputs",
    "LovaszLoss": ".lovasz",
    "NormalizedCutLoss": ".normalized_cut",
    "PottsLoss": ".potts",
    "SizeBounds": ".size",
    "SizeLoss": ".size",
    "SoftPseudoLabel": ".self_labelling",
    "TreeEnergyLoss": ".tree_energy",
    "caffe_mask": ".densecrf",
    "collision_cross_entropy_loss": ".self_labelling",
    "compare_modes": ".modes",
    "densecrf_loss": ".densecrf",
    "dice_loss": ".dice",
    "entropy_loss": ".entropy",
    "focal_loss": ".focal",
    "gated_crf_loss": ".gated_crf",
    "lovasz_loss": ".lovasz",
    "normalized_cut_loss": ".normalized_cut",
    "potts_loss": ".potts",
    "size_loss": ".size",
    "soft_pseudo_label": ".self_labelling",
    "tree_energy_loss": ".tree_energy",
    "weight_factor": ".modes",
}

__all__ = [*_HOMES]

__getattr__ = lazy.exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
