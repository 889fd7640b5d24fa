"""Where a net comes from, and what replaces its data layers' settings: values that commands pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlossctl.data.sources.stream import SourceOptions
    from rlossctl.prototxt.text import NetFile


@dataclass(frozen=True)
class NetOrigin:
    """The files of a net and how its prototxt is read.

    Attributes:
        prototxt: the net prototxt.
        weights: the file that fills its blobs, if any.
        placeholders: values for `${NAME}` in the prototxt; the environment fills the rest.
        dialect: the Caffe fork that the net is for: auto, bvlc, rloss, segnet or enet.
        allow_missing: whether the weights may lack layers that the result needs.
    """

    prototxt: str | Path
    weights: str | Path | None = None
    placeholders: Mapping[str, object] = field(default_factory=dict)
    dialect: str = "auto"
    allow_missing: bool = False

    def read(self) -> NetFile:
        """The prototxt, read and parsed.

        Raises:
            PrototxtError: it cannot be read, is not a net, or placeholders are not set.
        """
        from rlossctl.prototxt.text import load_net_file

        return load_net_file(self.prototxt, self.placeholders, self.dialect)


@dataclass(frozen=True)
class DataOverrides:
    """Replaces settings of the prototxt's data layers; None leaves a setting as it is.

    Attributes:
        list: the list file, instead of the layer's `source`.
        root: the folder of the list's names, instead of `root_folder`.
        image_shape: the (C, H, W) to assume when the images are missing.
    """

    list: str | Path | None = None
    root: str | Path | None = None
    image_shape: tuple[int, int, int] | None = None

    def options(self, *, seed: int = 0, workers: int = 0) -> SourceOptions:
        """The form that a net's data layers take, with the seed of their draws and the number of threads."""
        return {
            "source": self.list,
            "root": self.root,
            "image_shape": self.image_shape,
            "seed": seed,
            "workers": workers,
        }
