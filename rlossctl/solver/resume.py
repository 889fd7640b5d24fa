"""The resume file: what Caffe's snapshots lack for going on exactly as if training had not stopped.

JSON: the state of torch's generators, the position of every data source, the window of the displayed loss.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from rlossctl.errors import WeightsError
from rlossctl.net import Net
from rlossctl.solver.monitor import SmoothedLoss, Window

FORMAT = "rlossctl resume 1"
ADVICE = "delete it to resume as Caffe does, without data position and random state"


def file_name(state: str | Path) -> Path:
    """The resume file that belongs to a solver state (its path, with or without suffixes)."""
    return Path(re.sub(r"\.solverstate(\.h5)?$", "", str(state)) + ".resume.json")


class Content(TypedDict):
    """What a resume file holds; generators in base64, the sources of each net by layer."""

    format: str
    iter: int
    seed: int
    torch_rng: str
    cuda_rng: str | None
    sources: list[dict[str, dict[str, Any]]]
    smoothed_loss: Window


def capture(nets: Sequence[Net], iteration: int, seed: int, smoothed: SmoothedLoss) -> bytes:
    """The file's content; `nets` are the training net and the test nets."""
    device = nets[0].device
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    content: Content = {
        "format": FORMAT,
        "iter": iteration,
        "seed": seed,
        "torch_rng": _packed(torch.get_rng_state()),
        "cuda_rng": None if cuda is None else _packed(cuda),
        "sources": [{name: source.state() for name, source in net.sources.items()} for net in nets],
        "smoothed_loss": smoothed.state(),
    }
    return json.dumps(content).encode()


def read(path: Path) -> Content | None:
    """The content of a resume file; None if there is none.

    Raises:
        WeightsError: it is damaged or of another format.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _error(path, str(error)) from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise _error(path, f"format {found!r}")
    return cast(Content, content)  # entries that are missing or damaged are found where they are applied


def apply(content: Content, path: Path, nets: Sequence[Net], smoothed: SmoothedLoss) -> int:
    """Puts generators, sources and the displayed loss where they were; returns the seed of that run.

    Raises:
        WeightsError: entries are missing or damaged.
        DataError: a source's list has another length now.
    """
    try:
        for net, known in zip(nets, content["sources"], strict=False):
            for name, source in net.sources.items():
                if name in known:
                    source.restore(known[name])
        smoothed.restore(content["smoothed_loss"])
        torch.set_rng_state(_unpacked(content["torch_rng"]))
        if content["cuda_rng"] is not None and nets[0].device.type == "cuda":
            torch.cuda.set_rng_state(_unpacked(content["cuda_rng"]), nets[0].device)
        return int(content["seed"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _error(path, f"{type(error).__name__}: {error}") from error


def _packed(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _unpacked(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _error(path: Path, found: str) -> WeightsError:
    return WeightsError(
        "is not a resume file of rlossctl, or is damaged",
        where=path,
        found=found,
        expected=f"JSON with format {FORMAT!r}, as written beside a snapshot",
        advice=ADVICE,
    )
