"""Where two models begin to differ: the smallest part of a net that still shows it, as files of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rlossctl.converters.verifying.blob_streams import CutModel, Part
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.trials import Trial
from rlossctl.errors import UsageError
from rlossctl.files import make_folder
from rlossctl.words import counted

INPUTS = "inputs.safetensors"


@dataclass(frozen=True)
class Reduced:
    """The smallest part found.

    Attributes:
        layers: names of the reference's layers in it.
        difference: how much the two parts differ when both read the reference's blobs.
        command: what shows the difference again, in the folder.
    """

    folder: str
    layers: tuple[str, ...]
    difference: Comparison
    command: str

    def lines(self) -> list[str]:
        """The result as text."""
        which = ", ".join(self.layers[:5]) + (", ..." if len(self.layers) > 5 else "")
        return [
            f"reduced to {counted(len(self.layers), 'layer')} of A ({which}), in {self.folder}: "
            f"{self.difference.place()} differs by {self.difference.error:.2g} of its magnitude",
            f"see it again: cd {self.folder} && {self.command}",
        ]


class Reduction:
    """Looks for the latest place to cut two models so that the parts behind the cut still differ.

    Both parts read the reference's blobs, so that what the candidate got wrong before the cut does not count.

    Args:
        bad: the first blob that differs.
    """

    def __init__(
        self, reference: CutModel, candidate: CutModel, trial: Trial, bad: Comparison, tolerance: float
    ) -> None:
        self._reference, self._candidate = reference, candidate
        self._trial, self._bad, self._tolerance = trial, bad, tolerance
        common = [name for name in reference.values if name in candidate.values]
        self._before = common[: common.index(bad.blob)]

    def write(self, folder: Path) -> Reduced:
        """Finds the part, and writes both forms of it with the blobs that they read.

        Raises:
            UsageError: the folder holds files.
        """
        make_folder(folder)
        if any(folder.iterdir()):
            raise UsageError("--reduce writes into a new or an empty folder", where=folder, found="files")
        start = self._latest_cut()
        given = self._before[:start]
        own, other = (model.part(self._bad.blob, given) for model in (self._reference, self._candidate))
        arrays = self._blobs({*own.feeds, *other.feeds})
        shapes = {name: array.shape for name, array in arrays.items()}
        named = own.save(folder, "a", shapes), other.save(folder, "b", shapes)
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / INPUTS)
        layers = [layer for name, layer in self._reference.values.items() if name in own.values]
        command = f"rlossctl verify {named[0]} {named[1]} --inputs {INPUTS}"
        return Reduced(str(folder), tuple(dict.fromkeys(layers)), self._difference(start), command)

    def _latest_cut(self) -> int:
        """How many of the blobs before the bad one may be given: all if its layer alone differs."""
        if not self._fits(start := len(self._before)):
            return start
        low, high = 0, start  # differs with `low` given, fits with `high`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._fits(middle) else (middle, high)
        return low

    def _fits(self, start: int) -> bool:
        return self._difference(start).error <= self._tolerance

    def _difference(self, start: int) -> Comparison:
        part = self._candidate.part(self._bad.blob, self._before[:start])
        target = self._bad.blob
        arrays = self._blobs({*part.feeds, target})
        (found,) = (blob.array for blob in part.blobs(arrays, {target}))
        return compare("the reference's blobs", target, found, arrays[target], self._bad.layer)

    def _blobs(self, names: Collection[str]) -> dict[str, np.ndarray]:
        """These blobs of the reference, and the image."""
        image = self._trial.image
        found = {blob.name: np.array(blob.array) for blob in self._reference.blobs(image, names)}
        return found | {name: image for name in names if name not in found}


def compare_parts(
    reference: Part, candidate: Part, arrays: Mapping[str, np.ndarray], name: str
) -> list[Comparison]:
    """Compares the outputs of two parts on given blobs."""
    found = {blob.name: blob.array for blob in candidate.blobs(arrays, candidate.outputs)}
    return [
        compare(name, blob.name, found[blob.name], blob.array, reference.values[blob.name])
        for blob in reference.blobs(arrays, [out for out in reference.outputs if out in found])
    ]


def read_inputs(file: str, parts: Sequence[Part]) -> dict[str, np.ndarray]:
    """The blobs that two parts read, from a safetensors file.

    Raises:
        UsageError: the file is not such an archive, or lacks a blob.
    """
    try:
        arrays: dict[str, np.ndarray] = load_file(file)
    except (OSError, SafetensorError) as error:
        raise UsageError("cannot be read as safetensors", where=file, found=str(error)) from error
    missing = {name for part in parts for name in part.feeds if name not in arrays}
    if missing:
        raise UsageError(
            "lacks a blob that the models read",
            where=file,
            found=", ".join(arrays),
            expected=", ".join(sorted(missing)),
        )
    return arrays
