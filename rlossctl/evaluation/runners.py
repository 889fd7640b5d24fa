"""What runs a model: the one small interface that evaluation needs, and ONNX Runtime behind it."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError

MOST_CLASSES = 255  # labels are bytes, and 255 is none of them
_WHOLE = ("tensor(uint8)", "tensor(int32)", "tensor(int64)")  # types of class ids
_CPU = "CPUExecutionProvider"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class Runner(Protocol):
    """A model that turns preprocessed images into class scores.

    Attributes:
        backend: what really computes, in words ("ONNX Runtime 1.31.1, CPUExecutionProvider, 2 threads").
        preprocess: how the model's own data layer prepares images, or None where nothing says it.
        num_classes: how many classes it scores.
        classes: their names, or None where the model does not carry them.
    """

    backend: str
    preprocess: Preprocess | None
    num_classes: int
    classes: list[str] | None

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w] with C = num_classes; h, w may be smaller."""
        ...


@runtime_checkable
class LabelRunner(Protocol):
    """A model that takes photos and answers with classes: preprocessing and argmax are inside it.

    Attributes:
        backend, num_classes, classes: as for `Runner`.
    """

    backend: str
    num_classes: int
    classes: list[str] | None

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Photos uint8 [N, H, W, 3], blue first, to class ids uint8 [N, H, W]."""
        ...


def open_onnx(path: str | os.PathLike[str], device: str = "auto") -> OnnxRunner | OnnxLabelRunner:
    """The runner for an ONNX file: OnnxLabelRunner where it gives whole numbers, else OnnxRunner.

    Args:
        device: "cpu", "cuda", "cuda:1", "tensorrt", "tensorrt:1", or "auto" (CUDA where it works, else the
            CPU, and why is said).

    Raises:
        NetError: the file is no usable model, or the device was asked for and not obtained.
    """
    model = _Model(Path(path), device)
    whole = any(entry.type in _WHOLE for entry in model.session.get_outputs())
    return OnnxLabelRunner(model) if whole else OnnxRunner(model)


class _Model:
    """A session on one device, its metadata, and calls that fail with the house's errors."""

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        self.session, self.provider, note = _open_session(path, device)
        self.backend = _backend(self.session, self.provider, note)
        self.card = _card(self.session, path)

    def run(self, source: Any, target: Any, batch: np.ndarray) -> np.ndarray:
        """One input to one output.

        Raises:
            NetError: the model does not take this size, or fails while it runs.
        """
        for axis, size in enumerate(source.shape):
            if isinstance(size, int) and size != batch.shape[axis]:
                raise NetError(
                    "the model takes images of one size only",
                    where=self.path,
                    found=f"a batch of shape {batch.shape}",
                    expected=f"shape {source.shape}",
                    advice="name the size with --crop H,W, or convert with dynamic sizes",
                )
        try:
            if self.provider == _CPU:
                return self.session.run([target.name], {source.name: batch})[0]
            return self._run_bound(source.name, target.name, batch)
        except Exception as error:  # ONNX Runtime raises its own types, one per status code
            raise NetError(
                "ONNX Runtime failed on a batch",
                where=self.path,
                found=f"{error} (batch of shape {batch.shape})",
                expected="scores",
                advice="try --device cpu; if that fails too, convert the model again",
            ) from error

    def _run_bound(self, source: str, target: str, batch: np.ndarray) -> np.ndarray:
        """One copy to the device and one back."""
        binding = self.session.io_binding()
        binding.bind_cpu_input(source, np.ascontiguousarray(batch))
        binding.bind_output(target)
        self.session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]


class OnnxRunner:
    """A model that gives class scores or probabilities, float [N, C, h, w]; see `open_onnx`.

    Its input is a float image [N, 3, H, W]. Files that `rlossctl convert` wrote carry preprocessing and class
    names in their metadata.

    Args:
        path: the file, or a model that `open_onnx` has opened.
        device: as for `open_onnx`.
    """

    def __init__(self, path: str | os.PathLike[str] | _Model, device: str = "auto") -> None:
        self._model = path if isinstance(path, _Model) else _Model(Path(path), device)
        session, card, self.path = self._model.session, self._model.card, self._model.path
        self._input = _image_input(session, card and card.input, self.path)
        self._output = _score_output(session, card and card.output, self.path)
        self.backend = self._model.backend
        self.preprocess = card and card.preprocess
        self.classes: list[str] | None = card and card.classes
        self.num_classes = _num_classes(card, self._output.shape[1], self.path)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w]."""
        return self._model.run(self._input, self._output, batch)


class OnnxLabelRunner:
    """A model that gives class ids, [N, h, w], whole numbers; see `open_onnx`.

    Its input is photos, uint8 [N, H, W, 3], red first where its metadata says that the preprocessing is
    inside, else blue first; or a float image [N, 3, H, W], which the metadata say how to make.
    """

    def __init__(self, model: _Model) -> None:
        self._model, card = model, model.card
        session = model.session
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(outputs) != 1 or len(outputs[0].shape) != 3:
            raise _no_such_blob(model.path, "output", outputs, "one output of class ids [N, H, W]")
        self._output = outputs[0]
        self._preprocess: Preprocess | None = None
        self._red_first = card is not None and card.preprocessing_inside
        if inputs[0].type == "tensor(uint8)":
            if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 3:
                raise _no_such_blob(model.path, "input", inputs, "one input of photos, uint8 [N, H, W, 3]")
            self._input = inputs[0]
        else:
            self._input = _image_input(session, card and card.input, model.path)
            self._preprocess = card and card.preprocess
            if self._preprocess is None:
                raise _no_such_blob(
                    model.path, "input", inputs, "photos, or metadata that say how to make its input of them"
                )
        self.backend = model.backend
        self.classes: list[str] | None = card and card.classes
        self.num_classes = _num_classes(card, None, model.path)

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Photos uint8 [N, H, W, 3], blue first, to uint8 [N, H, W].

        Raises:
            NetError: ids that do not fit, or as for `OnnxRunner.scores`.
        """
        ids = self._model.run(self._input, self._output, self._prepared(batch))
        ids = ids[:, : batch.shape[1], : batch.shape[2]]  # without the padding
        if ids.shape != batch.shape[:3] or (ids.size and not 0 <= ids.min() <= ids.max() < self.num_classes):
            raise NetError(
                "the model's answer is no map of class ids",
                where=self._model.path,
                found=f"shape {ids.shape}" + (f", ids {ids.min()}..{ids.max()}" if ids.size else ""),
                expected=f"shape {batch.shape[:3]}, ids 0..{self.num_classes - 1}",
                advice="convert the net again (--upsample brings labels to the photo's size)",
            )
        return ids.astype(np.uint8, copy=False)

    def _prepared(self, batch: np.ndarray) -> np.ndarray:
        if self._preprocess is not None:
            return np.stack([self._preprocess.apply(photo)[0] for photo in batch])
        return np.ascontiguousarray(batch[..., ::-1] if self._red_first else batch)


def _open_session(path: Path, device: str) -> tuple[Any, str, str]:
    """The session, the provider that it really uses, and why CUDA is not used where it might have been."""
    import onnxruntime

    # Its log would print provider errors in several lines of colour; they are reported as errors here.
    onnxruntime.set_default_logger_severity(4)
    kind, index = _parse_device(device)
    wanted = _PROVIDERS.get("cuda" if kind == "auto" else kind)
    if wanted is None:
        return _session(path, [_CPU]), _CPU, ""
    reason = f"this onnxruntime is built without {wanted}"
    if wanted in onnxruntime.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            getattr(onnxruntime, "preload_dlls", lambda: None)()
        try:
            session = _session(path, [(wanted, {"device_id": index}), _CPU])
        except NetError as error:
            reason = str(error.found)
        else:
            if session.get_providers()[0] == wanted:
                return session, wanted, ""
            reason = "its libraries, cuDNN or a GPU are missing"
    if kind != "auto":
        raise NetError(
            f"{kind} was asked for, but ONNX Runtime does not use it",
            where=path,
            found=reason,
            expected=wanted,
            advice="install onnxruntime-gpu with the libraries that it names, or use --device cpu",
        )
    return _session(path, [_CPU]), _CPU, reason


def _session(path: Path, providers: list[Any]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Its own choice counts the machine's cores, not those that this process may use.
    options.intra_op_num_threads = cpu_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises its own types, one per status code
        raise NetError(
            "ONNX Runtime cannot load the model",
            where=path,
            found=str(error).splitlines()[0] if path.exists() else "no such file",
            expected="a whole .onnx file",
            advice="check the name, or convert the model again",
        ) from error


def cpu_threads() -> int:
    """How many CPUs this process may use; processes that torchrun has started share them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _parse_device(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":")
    known = kind in ("auto", "cpu", *_PROVIDERS)
    if not known or (index and (kind not in _PROVIDERS or not index.isdigit())):
        raise UsageError(
            "unknown device", found=device, expected="auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N"
        )
    return kind, int(index or os.environ.get("LOCAL_RANK", "0"))


def _backend(session: Any, provider: str, note: str) -> str:
    import onnxruntime

    text = f"ONNX Runtime {onnxruntime.__version__}, {provider}"
    if provider == _CPU:
        text += f", {session.get_session_options().intra_op_num_threads} threads"
    return f"{text} (no CUDA: {note})" if note else text


def _card(session: Any, path: Path) -> ModelCard | None:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    return None if text is None else ModelCard.from_json(text, where=path)


def _image_input(session: Any, name: str | None, path: Path) -> Any:
    inputs = session.get_inputs()
    chosen = [entry for entry in inputs if entry.name == name] or inputs
    image = chosen[0]
    if len(chosen) > 1 or image.type != "tensor(float)" or len(image.shape) != 4 or image.shape[1] != 3:
        raise _no_such_blob(path, "input", inputs, "one float image input [N, 3, H, W]")
    return image


def _score_output(session: Any, name: str | None, path: Path) -> Any:
    outputs = session.get_outputs()
    chosen = [entry for entry in outputs if entry.name == name] or outputs
    if len(chosen) > 1 or chosen[0].type != "tensor(float)" or len(chosen[0].shape) != 4:
        raise _no_such_blob(path, "output", outputs, "one float output of class scores [N, C, h, w]")
    return chosen[0]


def _no_such_blob(path: Path, kind: str, found: list[Any], expected: str) -> NetError:
    return NetError(
        f"the model's {kind}s are not those of a segmentation net",
        where=path,
        found=", ".join(f"{entry.name} {entry.type}{entry.shape}" for entry in found),
        expected=expected,
        advice="convert the net with `rlossctl convert`, which leaves the data layer and the metrics out",
    )


def _num_classes(card: ModelCard | None, channels: object, path: Path) -> int:
    count = (card and card.num_classes) or channels
    if not isinstance(count, int) or not 1 <= count <= MOST_CLASSES:
        raise NetError(
            "the number of classes is unknown or impossible",
            where=path,
            found=f"{count} (from rlossctl's metadata, or the output's channels)",
            expected=f"a fixed number of channels, or metadata; 1 to {MOST_CLASSES}",
            advice="export the model with a fixed number of channels",
        )
    return count
