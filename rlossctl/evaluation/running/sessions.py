"""An ONNX Runtime session on the requested device; failures become this package's errors."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.running.ports import ImagePort
from rlossctl.weights.onnxfile import missing_files

_CPU = "CPUExecutionProvider"
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class Session:
    """A session on one device, with the file's metadata.

    Attributes:
        path: the file.
        session: ONNX Runtime's session.
        backend: what actually computes, in words.
        gpu: the number of the GPU that it runs on, or None for the CPU.
        card: the file's rlossctl metadata, or None.

    Args:
        device: as for `open_model.open_onnx`.

    Raises:
        NetError: the file is not a usable model, or the requested device is not available.
        UsageError: the device is unknown.
    """

    def __init__(self, path: Path, device: str) -> None:
        self.path = path
        kind, index = _parse_device(device)
        self.session, provider, note = _open(path, kind, index)
        self.gpu = None if provider == _CPU else index
        self.backend = _backend(provider, note)
        self.card = _card(self.session, path)

    @property
    def threads(self) -> int | None:
        """How many of the CPU's threads it uses; None on a GPU."""
        return None if self.gpu is not None else self.session.get_session_options().intra_op_num_threads

    @property
    def builds_engines(self) -> bool:
        """Whether each new size of images costs minutes, so that nothing is tried."""
        return self.session.get_providers()[0] == _PROVIDERS["tensorrt"]

    def memory(self) -> int | None:
        """Bytes that a pass can use on its device; None if that is unknown."""
        from rlossctl.net.memory import available

        if self.gpu is None:
            return available()
        import torch

        return available(torch.device("cuda", self.gpu)) if self.gpu < torch.cuda.device_count() else None

    def run(self, image: ImagePort, output: str, batch: np.ndarray) -> np.ndarray:
        """Runs prepared images [N, C, H, W] to one output as it is, both in the CPU's memory.

        Raises:
            NetError: the model does not take this size, or fails while it runs.
        """
        self.check_size(image, batch.shape)
        with self.failing(batch.shape):
            data = image.fed(batch)
            if self.gpu is None:
                return self.session.run([output], {image.name: data})[0]
            binding = self.session.io_binding()  # one copy to the device and one back
            binding.bind_cpu_input(image.name, data)
            binding.bind_output(output)
            self.session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()[0]

    def check_size(self, image: ImagePort, shape: tuple[int, ...]) -> None:
        """Raises NetError if images [N, C, H, W] of this shape differ from the input's channels and sizes."""
        wanted = (image.at_once, image.channels, *image.size)
        if any(size not in (None, found) for size, found in zip(wanted, shape, strict=True)):
            names = [str(size or letter) for size, letter in zip(wanted, "NCHW", strict=True)]
            raise NetError(
                "the model takes images of one size only",
                where=self.path,
                found=f"a batch of shape {shape}",
                expected=f"shape ({', '.join(names)})",
                advice="leave out --crop, --tile and --protocol caffe: smaller photos are padded to its size "
                "and larger ones run in tiles; --resize H,W resizes them",
            )

    @contextlib.contextmanager
    def failing(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Turns what ONNX Runtime raises while it runs a batch of this shape into NetErrors."""
        try:
            yield
        except Exception as error:  # ONNX Runtime raises its own types, one per status code
            rule = self.card.preprocess if self.card else None
            raise failed("ONNX Runtime", self.path, error, shape, rule) from error


def failed(
    what: str, where: object, error: Exception, shape: tuple[int, ...], rule: Preprocess | None
) -> NetError:
    """The error for a model that fails on a batch; `rule` is its own preprocessing, if known."""
    advice = (
        "if sides must be multiples of a number, give it with --multiple N; if the model takes one size, "
        "give it with --resize H,W or --protocol tiles --tile H,W; if memory is short, try "
        "--device cpu, a smaller --batch or tiles"
    )
    if rule and any((side - rule.offset) % rule.stride for side in shape[2:]):
        advice = f"this net takes sides of {rule.stride} k + {rule.offset}: choose such a --tile or --crop"
    return NetError(
        f"{what} failed on a batch",
        where=where,
        found=f"{error} (batch of shape {shape})",
        expected="scores",
        advice=advice,
    )


def _open(path: Path, kind: str, index: int) -> tuple[Any, str, str]:
    """The session, the provider that it actually uses, and why it is not CUDA where it could have been."""
    import onnxruntime

    # Its log would print provider errors in several coloured lines; they are raised as errors here.
    onnxruntime.set_default_logger_severity(4)
    wanted = _PROVIDERS.get("cuda" if kind == "auto" else kind)
    if wanted is None:
        return _session(path, [_CPU]), _CPU, ""
    reason = f"this onnxruntime is built without {wanted}"
    if wanted in onnxruntime.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot find
            getattr(onnxruntime, "preload_dlls", lambda: None)()
        try:
            gpu = dict.fromkeys((wanted, _PROVIDERS["cuda"]))  # CUDA for what TensorRT does not take
            session = _session(path, [*((provider, {"device_id": index}) for provider in gpu), _CPU])
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
    # Its default counts all cores of the machine, not only those that this process may use.
    options.intra_op_num_threads = cpu_threads()
    # Threads that spin while they wait keep the cores from the threads that decode and count; 10 us of
    # spinning is enough between two operators. (Older versions ignore this option.)
    options.add_session_config_entry("session.intra_op.spin_duration_us", "10")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises its own types, one per status code
        raise _unloadable(path, str(error).splitlines()[0]) from error


def _unloadable(path: Path, reason: str) -> NetError:
    """The error for a file that ONNX Runtime does not load, because of itself or of a file beside it."""
    gone = missing_files(path) if path.exists() else []
    return NetError(
        "ONNX Runtime cannot load the model",
        where=path,
        found=f"{', '.join(gone)}: no such file" if gone else reason if path.exists() else "no such file",
        expected="the files with its weights beside it, in the same folder" if gone else "a whole .onnx file",
        advice="fetch them, too, under the same names" if gone else "check the name, or convert it again",
    )


def cpu_threads() -> int:
    """How many CPUs this process may use; processes started by torchrun share them."""
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


def _backend(provider: str, note: str) -> str:
    import onnxruntime

    text = f"ONNX Runtime {onnxruntime.__version__}, {provider}"
    return f"{text} (no CUDA: {note})" if note else text


def _card(session: Any, path: Path) -> ModelCard | None:
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    return None if text is None else ModelCard.from_json(text, where=path)
