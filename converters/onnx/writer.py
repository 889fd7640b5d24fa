"""Writes ONNX: one file, dynamic sizes, compared with the net blob by blob before it gets its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.folding.scale import fold_scale
from rlossctl.converters.nets.inference_net import TrainedNet
from rlossctl.converters.onnx import finished_file
from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.onnx.export import export
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.onnx.quantize import chosen_layers
from rlossctl.converters.onnx.reduced_file import ReducedFile
from rlossctl.converters.onnx.saving import place_data, remove_older_data, save
from rlossctl.converters.verifying import trials
from rlossctl.converters.verifying.blob_streams import OnnxModel, TorchModel
from rlossctl.converters.verifying.comparison import TOLERANCE, Comparison, Noise, Verification, accept
from rlossctl.converters.verifying.index_blobs import is_mask
from rlossctl.converters.verifying.rounding import errors_of, judged
from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.data.sets.palettes import colours_of
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.running.open_model import PreprocessOverrides
from rlossctl.files import atomic_path
from rlossctl.net.deploy import (
    FIXED_SIZE_TYPES,
    Deploy,
    loss_types,
    own_head,
    preprocess_of,
    size_rule,
    takes_any_size,
)
from rlossctl.progress import stage
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto


def write(trained: TrainedNet, out: Path, options: OnnxOptions | None = None) -> Verification:
    """Exports the scores (or the chosen outputs) as a function of the image batch; see OnnxOptions.

    The file's metadata is a `ModelCard`. Models of 2 GB and more get a second file, `<out>.HASH.data`. Its
    name identifies its content, so that even after a crash a graph never meets another graph's weights. The
    weights of an overwritten file are removed afterwards.

    Raises:
        NetError: a layer cannot be exported.
        UsageError: options do not fit the net.
        VerificationError: ONNX Runtime computes something else; then nothing is written.
    """
    with stage("writing the graph"):
        job, model, card = _exported(trained, options or OnnxOptions())
    found = job.compare_blobs(model, card.blobs)
    accept(Verification(str(out), "", job.tolerance, tuple(found)))
    with atomic_path(out) as written:
        notes = [*job.notes, *job.finish(model, card, written)]
        found += job.compare_file(written)
        verification = accept(job.verification(out, found, notes))
        notes, data = place_data(written, out)
    remove_older_data(out, data)
    return replace(verification, notes=(*verification.notes, *notes))


def _exported(trained: TrainedNet, options: OnnxOptions) -> tuple[_Job, ModelProto, ModelCard]:
    """The conversion with its graph in float32, of one size if sizes cannot vary."""
    job = _Job(trained, options)
    try:
        return job, *job.export()
    except NetError as error:
        if not job.dynamic:
            raise
        job = _Job(trained, options, fixed=f"variable sizes cannot be exported ({error.found})")
        return job, *job.export()


class _Job:
    """One conversion: decisions made once, and its steps."""

    def __init__(self, trained: TrainedNet, options: OnnxOptions, fixed: str = "") -> None:
        self.trained, self.options = trained, options
        self.deploy = trained.deploy()
        _refuse_unexportable(self.deploy)
        if len(self.deploy.input_shape) != 4:
            raise UsageError(
                f"a model cannot take the blob {self.deploy.input_name!r}",
                where=trained.prototxt,
                found=f"shape {self.deploy.input_shape}",
                expected="(N, C, H, W)",
                advice="cut the net at a blob with height and width (--input BLOB)",
            )
        for layer in self.deploy.layers:
            layer.module.settle()
        self.keep = chosen_layers((layer.name for layer in self.deploy.layers), self.options.keep)
        rounding = any(layer.module.rounds_size for layer in self.deploy.layers)
        self.dynamic = not (fixed or rounding) and takes_any_size(self.deploy)
        self.preprocess = self._preprocess()
        self.ends = self._ends()
        self.net = TorchModel(self.deploy, self.preprocess, dynamic=self.dynamic)
        self.outputs = list(self.deploy.output_names)
        self.noise: list[Noise] = []
        self._refuse_masks_in_half()
        self.notes = list(trained.notes)
        if not self.dynamic:
            layers = [
                layer
                for layer in self.deploy.layers
                if layer.type in FIXED_SIZE_TYPES or layer.module.rounds_size
            ]
            reason = (
                f"by layer {layers[0].name!r} ({layers[0].type})" if layers else f"(the prototxt's): {fixed}"
            )
            rows, columns = self._plane
            self.notes.append(f"note: height and width are fixed at {rows} x {columns} {reason}")

    def export(self) -> tuple[ModelProto, ModelCard]:
        """The net in float32, and its file's metadata."""
        part = self.deploy
        into: dict[str, str] = {}
        if self.options.fold or self.options.precision == "int8":  # more int8 layers would cost precision
            part, into = fold_scale(self.deploy)
            self.keep = {into.get(name, name) for name in self.keep}
        if self.options.fold or into:
            self.notes.append(f"folded {counted(len(into), 'layer')} into the weights before them")
        sizes = trials.export_sizes(self.preprocess) if self.dynamic else [self._plane]
        model, values = export(part, sizes)
        model.graph.name = self.trained.net.name or self.trained.prototxt.stem
        return model, self._card({value.name: value.layer for value in values}, len(into))

    def compare_blobs(self, model: ModelProto, blobs: dict[str, str]) -> list[Comparison]:
        """Compares every blob of the graph, without the ends and in float32, with the net's."""
        if not self.options.verify:
            return []
        with stage(f"comparing {counted(len(blobs), 'blob')} with the net's"):
            graph = OnnxModel(model, blobs, self.preprocess)
            found = trials.compare_models(self.net, graph, self._trials())
            return judged(
                found,
                self.tolerance,
                lambda name, names: errors_of(self.net, graph, self._trial(name), names),
            )

    def finish(self, model: ModelProto, card: ModelCard, written: Path) -> list[str]:
        """Adds precision, ends and metadata, writes the file, and says what the precision costs."""
        if self.options.precision == "fp32":
            self.outputs.append(save(model, self.ends, card, written))
            return []
        reduced = ReducedFile(model, card, self.ends, self.preprocess, self.options)
        notes, self.noise = reduced.write(written, self.keep, self._inputs())
        return notes

    def compare_file(self, written: Path) -> list[Comparison]:
        """Compares the finished float32 file, run as users run it, with predictions from the net."""
        if not self.options.verify or self.options.precision != "fp32":
            return []
        with stage("comparing the finished file"):
            file = finished_file.FinishedFile(written, self.net, self.ends)
            if self.ends.preprocess is None:
                found = file.compare_trials(self._trials())
                return judged(found, self.tolerance, lambda name, _: file.errors_of_trial(self._trial(name)))
            found = file.compare_photos(self._photos())
            return judged(
                found, self.tolerance, lambda name, _: file.errors_of_photo(name, self._photo(name))
            )

    def verification(self, out: Path, found: list[Comparison], notes: list[str]) -> Verification:
        """The result that the command prints."""
        import onnxruntime

        method = f"ONNX Runtime {onnxruntime.__version__} on the CPU against {self.net.label}"
        if self.options.precision != "fp32":
            method = f"before the conversion to {self.options.precision}: {method}"
        if not found:
            method = "nothing was compared with the net (--no-verify)"
        lists = tuple(found), tuple(notes), tuple(self.outputs), tuple(self.noise)
        return Verification(str(out), method, self.tolerance, *lists)

    @property
    def tolerance(self) -> float:
        """The difference that is accepted."""
        return TOLERANCE if self.options.tolerance is None else self.options.tolerance

    def _refuse_masks_in_half(self) -> None:
        for layer in self.deploy.layers:
            for index, top in enumerate(layer.tops):
                if self.options.precision == "fp16" and is_mask(layer, index) and top in self.outputs:
                    raise layer.module.error(
                        f"its mask {top!r} cannot be an output in half precision",
                        found="positions in the plane",
                        expected="whole numbers up to 2048, the limit of fp16",
                        advice="choose another output (--output BLOB), or use --precision int8 or fp32",
                    )

    @property
    def _plane(self) -> tuple[int, int]:
        """Height and width of the net's input."""
        rows, columns = self.deploy.input_shape[2:]
        return rows, columns

    def _preprocess(self) -> Preprocess | None:
        options, base = self.options, preprocess_of(self.trained.net, self.deploy)
        if base is None and options.mean is not None:
            stride, offset = size_rule(self.deploy) if self.dynamic else (1, 0)
            base = Preprocess(stride=stride, offset=offset)
        preprocess = PreprocessOverrides(options.mean, options.scale, options.rgb).apply(base)
        if preprocess is not None and not self.dynamic:
            preprocess = replace(preprocess, crop=self._plane, stride=1, offset=0)
        return preprocess

    def _ends(self) -> Ends:
        options, inside = self.options, self.options.preprocessing
        head = options.head or ("argmax" if inside else "scores")
        if not options.has_ends:
            return Ends()
        names, shape = self.deploy.output_names, self.trained.net.shapes[self.deploy.output_names[0]]
        if len(names) != 1 or len(shape) != 4:
            raise UsageError(
                "heads, upsampling and preprocessing need a net with one map of scores",
                where=self.trained.prototxt,
                found=", ".join(f"{name} {self.trained.net.shapes[name]}" for name in names),
                expected="one output (N, C, H, W)",
                advice="choose the scores with --output BLOB, or leave out these options",
            )
        if head == "softmax" and self.deploy.layers[-1].type == "Softmax":
            raise UsageError(
                "the net's output is already a softmax",
                where=self.trained.prototxt,
                found=f"layer {self.deploy.layers[-1].name!r} (Softmax)",
                advice="leave out --head, or choose the scores before the softmax with --output BLOB",
            )
        if inside and (self.preprocess is None or self.deploy.input_shape[1] != 3):
            raise UsageError(
                "it is unknown how photos become the net's input",
                where=self.trained.prototxt,
                found=f"input {self.deploy.input_name!r} of shape {self.deploy.input_shape}",
                expected="three channels, and a data layer that reads photos, or the mean",
                advice="add --mean B,G,R (and --scale, --rgb if they differ from Caffe's)",
            )
        return Ends(head, options.upsample or inside, self.preprocess if inside else None)

    def _card(self, blobs: dict[str, str], folded: int) -> ModelCard:
        scores = self.deploy.output_names[0]
        shape = self.trained.net.shapes[scores]
        origin = self.trained.provenance()
        count = shape[1] if len(shape) > 1 else None
        classes = self.trained.classes
        return ModelCard(
            input=self.deploy.input_name,
            output=scores,
            head=own_head(self.deploy) if self.ends.head == "scores" else self.ends.head,
            preprocessing_inside=self.ends.preprocess is not None,
            largest_photo=self.ends.preprocess.crop if self.ends.preprocess and not self.dynamic else None,
            preprocess=self.preprocess,
            num_classes=count,
            classes=list(classes) if classes else None,
            palette=colours_of(classes, count) if count and len(shape) == 4 and count <= 256 else None,
            precision=self.options.precision,
            folded=folded,
            losses=loss_types(self.trained.net),
            blobs=blobs,
            source=origin,
            version=origin["tool"]["version"],
            dialect=self.trained.net.dialect,
            untrained=list(self.trained.untrained),
        )

    def _trials(self) -> Iterator[trials.Trial]:
        listed: Iterable[trials.Trial] = ()
        if self.options.verify_images:
            listed = trials.photo_trials(
                self.options.verify_images, self.options.root, self.preprocess, self.net.input_shape
            )
        return chain(trials.random_trials(self.net.input_shape, self.preprocess), listed)

    def _photos(self) -> Iterator[tuple[str, np.ndarray]]:
        listed: Iterable[tuple[str, np.ndarray]] = ()
        if self.options.verify_images:
            listed = finished_file.listed_photos(self.options.verify_images, self.options.root)
        return chain(finished_file.random_photos(self.ends, fixed=not self.dynamic), listed)

    def _trial(self, name: str) -> trials.Trial:
        return next(trial for trial in self._trials() if trial.name == name)

    def _photo(self, name: str) -> np.ndarray:
        return next(photo for found, photo in self._photos() if found == name)

    def _inputs(self) -> Iterator[tuple[str, np.ndarray]]:
        """Random inputs of the finished file."""
        if self.ends.preprocess is not None:
            photos = finished_file.random_photos(self.ends, fixed=not self.dynamic)
            return ((name, photo[None, :, :, ::-1].copy()) for name, photo in photos)
        drawn = trials.random_trials(self.net.input_shape, self.preprocess)
        return ((trial.name, trial.image) for trial in drawn if not trial.optional)


def _refuse_unexportable(deploy: Deploy) -> None:
    for layer in deploy.layers:
        if not layer.node.kind.onnx:
            raise layer.module.error(
                "this type cannot be exported to ONNX",
                found=layer.module.unexportable or layer.type,
                expected="layers that compute their tops from the image alone",
                advice="choose an output before this layer (--output BLOB)",
            )
        if layer.module.unexportable:
            raise layer.module.error(
                "this layer cannot be exported to ONNX",
                found=layer.module.unexportable,
                expected="layers that give one answer, computed from the image alone",
                advice="change or delete what was found, or choose an earlier output (--output BLOB)",
            )
