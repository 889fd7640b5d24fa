"""The generated scenes of `rlossctl demo`. Nothing is downloaded: `rlossctl.data.scenes` draws them."""

from __future__ import annotations

from rlossctl.data.sets.registry import DataSet, register

CLASSES = ("background", "stone", "fruit", "leaf", "animal")

register(DataSet(name="scenes", title="generated scenes", classes=CLASSES))
