"""A file in half precision or eight bits: written, and what that costs measured."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.onnx import noise, precision
from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.onnx.fewest import fewest
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.onnx.saving import save
from rlossctl.converters.verifying import trials
from rlossctl.converters.verifying.comparison import Noise
from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.progress import stage
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto

LISTENED = 4  # photos on which the noise of every blob is measured


class ReducedFile:
    """One conversion to a lower precision.

    Args:
        model: the net in float32, without the ends.
    """

    def __init__(
        self,
        model: ModelProto,
        card: ModelCard,
        ends: Ends,
        preprocess: Preprocess | None,
        options: OnnxOptions,
    ) -> None:
        self._model, self._card, self._ends = model, card, ends
        self._preprocess, self._options = preprocess, options

    def write(
        self, written: Path, keep: Collection[str], inputs: Iterable[tuple[str, np.ndarray]]
    ) -> tuple[list[str], list[Noise]]:
        """Writes the file.

        Args:
            keep: layers that int8 leaves in float32.
            inputs: random inputs of the finished file, in case there is no list.

        Returns:
            Sentences on what the precision costs, and the noise of every blob.
        """
        options = self._options
        with tempfile.TemporaryDirectory(prefix="rlossctl") as folder:
            single = Path(folder) / "float32.onnx"
            ranges = Path(folder) / "ranges.json" if options.auto is not None else None
            save(_copy(self._model), self._ends, replace(self._card, precision="fp32"), single)
            reduced = self._reduce(written, keep, ranges)
            with stage("measuring the noise of every blob"):
                found = noise.measure(self._model, reduced, self._card.blobs, self._listened())
            with stage(f"measuring what {options.precision} costs"):
                judge = precision.judge(single, options)
                kept: list[str] = []
                if options.auto is not None:
                    kept = self._keep_enough(judge, written, keep, reduced, ranges)
                cost = precision.change(single, written, options, inputs, judge)
            return [*noise.lines(found, options.precision), *kept, *cost], found

    def _reduce(self, path: Path, keep: Collection[str], ranges: Path | None) -> ModelProto:
        with stage(f"converting to {self._options.precision}"):
            reduced = precision.reduce(
                self._model, self._card.blobs, keep, self._options, self._preprocess, ranges
            )
        save(_copy(reduced), self._ends, self._card, path)
        return reduced

    def _keep_enough(
        self,
        judge: precision.Judge | None,
        path: Path,
        keep: Collection[str],
        reduced: ModelProto,
        ranges: Path | None,
    ) -> list[str]:
        """Writes the file with as many layers in float32 as the allowed loss takes, and names them."""
        allowed = self._options.auto
        assert allowed is not None
        if judge is None:
            raise UsageError(
                "--int8-auto needs to measure label maps",
                found=self._ends.head,
                expected="label maps of the photos of --verify-images or --calibrate",
                advice="leave out --int8-auto, or name layers with --int8-keep",
            )

        def loss(more: Sequence[str]) -> float:
            self._reduce(path, {*keep, *more}, ranges)
            return judge.cost(path).loss

        with stage("ranking the layers by their harm"):
            trial = next(self._listened())
            layers = noise.most_harmful_first(self._model, reduced, self._card.blobs, trial)
        kept = fewest([layer for layer in layers if layer not in keep], loss, allowed)
        self._reduce(path, {*keep, *kept}, ranges)
        if not kept:
            return [f"int8: all {counted(len(layers), 'layer')} lose at most {allowed:g}"]
        return [f"int8: kept {counted(len(kept), 'layer')} in float32: {', '.join(kept)}"]

    def _listened(self) -> Iterator[trials.Trial]:
        """Images on which the noise is measured: photos if there is a list."""
        image = self._model.graph.input[0].type.tensor_type.shape.dim
        shape = tuple(size.dim_value or None for size in image)
        list_file = self._options.verify_images or self._options.calibrate
        if list_file and self._preprocess is not None:
            return islice(
                trials.photo_trials(list_file, self._options.root, self._preprocess, shape), LISTENED
            )
        drawn = trials.random_trials(shape, self._preprocess)
        return (trial for trial in drawn if not trial.optional)


def _copy(model: ModelProto) -> ModelProto:
    """A model to attach ends to."""
    copy = type(model)()
    copy.CopyFrom(model)
    return copy
