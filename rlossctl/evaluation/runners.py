"""What runs a model: the one small interface that evaluation needs, and ONNX Runtime behind it."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError

METADATA_KEY = "rlossctl"
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


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


class OnnxRunner:
    """Runs an ONNX file with ONNX Runtime on one device.

    Args:
        path: a model with one float image input [N, 3, H, W] and a score output [N, C, h, w]. Files that
            `rlossctl convert` wrote carry preprocessing and class names in their metadata.
        device: "cpu", "cuda", "cuda:1", or "auto" (CUDA where it works, else the CPU, and why is said).

    Raises:
        NetError: the file is no usable model, or CUDA was asked for and not obtained.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto") -> None:
        self.path = Path(path)
        session, provider, note = _open_session(self.path, device)
        self._session = session
        metadata = _metadata(session, self.path)
        self._input = _image_input(session, metadata.get("input"), self.path)
        self._output = _score_output(session, metadata.get("scores"), self.path)
        self.backend = _backend(session, provider, note)
        self.preprocess = _preprocess(metadata, self.path)
        self.classes: list[str] | None = metadata.get("classes")
        self.num_classes = _num_classes(metadata, self._output, self.path)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w].

        Raises:
            NetError: the model does not take this size, or fails while it runs.
        """
        for axis, size in enumerate(self._input.shape):
            if isinstance(size, int) and size != batch.shape[axis]:
                raise NetError(
                    "the model takes images of one size only",
                    where=self.path,
                    found=f"a batch of shape {batch.shape}",
                    expected=f"shape {self._input.shape}",
                    advice="name the size with --crop H,W, or convert with dynamic sizes",
                )
        try:
            return self._session.run([self._output.name], {self._input.name: batch})[0]
        except Exception as error:  # ONNX Runtime raises its own types, one per status code
            raise NetError(
                "ONNX Runtime failed on a batch",
                where=self.path,
                found=f"{error} (batch of shape {batch.shape})",
                expected="scores",
                advice="try --device cpu; if that fails too, convert the model again",
            ) from error


def _open_session(path: Path, device: str) -> tuple[Any, str, str]:
    """The session, the provider that it really uses, and why CUDA is not used where it might have been."""
    import onnxruntime

    # Its log would print provider errors in several lines of colour; they are reported as errors here.
    onnxruntime.set_default_logger_severity(4)
    wanted, index = _parse_device(device)
    offered = _CUDA in onnxruntime.get_available_providers()
    reason = "" if offered else "this onnxruntime is built without CUDA"
    if wanted != "cpu" and offered:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            getattr(onnxruntime, "preload_dlls", lambda: None)()
        try:
            session = _session(path, [(_CUDA, {"device_id": index}), _CPU])
        except NetError as error:
            reason = str(error.found)
        else:
            if session.get_providers()[0] == _CUDA:
                return session, _CUDA, ""
            reason = "its libraries, cuDNN or a GPU are missing"
    if wanted == "cuda":
        raise NetError(
            "CUDA was asked for, but ONNX Runtime does not use it",
            where=path,
            found=reason,
            expected=_CUDA,
            advice="install onnxruntime-gpu with its CUDA and cuDNN libraries, or use --device cpu",
        )
    return _session(path, [_CPU]), _CPU, reason if wanted == "auto" else ""


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
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parse_device(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and (kind != "cuda" or not index.isdigit())):
        raise UsageError("unknown device", found=device, expected="auto, cpu, cuda or cuda:N")
    return kind, int(index or 0)


def _backend(session: Any, provider: str, note: str) -> str:
    import onnxruntime

    text = f"ONNX Runtime {onnxruntime.__version__}, {provider}"
    if provider == _CPU:
        text += f", {session.get_session_options().intra_op_num_threads} threads"
    return f"{text} (no CUDA: {note})" if note else text


def _metadata(session: Any, path: Path) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        return {}
    try:
        metadata = json.loads(text)
        if not isinstance(metadata, dict):
            raise ValueError("not a JSON object")
    except ValueError as error:
        raise NetError(
            f"the model's metadata {METADATA_KEY!r} cannot be read",
            where=path,
            found=str(error),
            expected="the JSON that `rlossctl convert` writes",
            advice="convert the model again",
        ) from error
    return metadata


def _preprocess(metadata: dict[str, Any], path: Path) -> Preprocess | None:
    content = metadata.get("preprocess")
    if content is None:
        return None
    return Preprocess.from_json(content, where=path)


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


def _num_classes(metadata: dict[str, Any], output: Any, path: Path) -> int:
    count = metadata.get("num_classes", output.shape[1])
    if not isinstance(count, int) or count < 1:
        raise NetError(
            "the number of classes is unknown",
            where=path,
            found=f"output {output.name} of shape {output.shape}",
            expected="a fixed second dimension, or rlossctl's metadata",
            advice="export the model with a fixed number of channels",
        )
    return count
