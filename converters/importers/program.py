"""Describes one program's checkpoints, and how their tensors become a net's blobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rlossctl.errors import UsageError, WeightsError
from rlossctl.weights import TensorFile
from rlossctl.weights.tensors import Entry

Rules = tuple[tuple[str, str], ...]
# PyTorch's batch counters mean nothing to a net, and losses are not part of one.
NOT_WEIGHTS = (r".*\.num_batches_tracked", r"loss\w*\..*")

STRIDE = "OUTPUT_STRIDE"  # the placeholder for the output stride, which the tensors do not show
# ResNets: (bottleneck or not, number of blocks in the third stage) -> depth
DEPTHS = {(False, 2): 18, (False, 6): 34, (True, 6): 50, (True, 23): 101, (True, 36): 152}


class Facts(NamedTuple):
    """The known facts about a checkpoint.

    Attributes:
        tensors: by name, without DataParallel's `module.`.
        extra: everything else in the file.
        given: placeholders that the user set.
    """

    tensors: Mapping[str, Entry]
    extra: Mapping[str, Any]
    given: Mapping[str, object]

    def lookup(self, *keys: str) -> Any:
        """The value under these nested keys in the file; None if it is missing."""
        found: Any = self.extra
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


class Fit(NamedTuple):
    """The net that a checkpoint fits.

    Attributes:
        network: its name, as in `rlossctl net --list`.
        placeholders: values for its placeholders.
        words: tells the user what had to be assumed; "" for nothing.
    """

    network: str
    placeholders: Mapping[str, object]
    words: str = ""

    @property
    def net(self) -> str:
        """The name of the network's net for inference."""
        return self.network if "/" in self.network else f"{self.network}/test"


class Colours(NamedTuple):
    """What a program subtracts from an image in 0..1, then divides it by, red first; `words` says why."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    words: str = ""


IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def imagenet(facts: Facts) -> Colours:
    """The colours that most programs use."""
    return IMAGENET


NO_LAYER = r"(?!)"


@dataclass(frozen=True)
class Program:
    """One program's checkpoints.

    Attributes:
        name: its name in messages.
        title: the network and its program, in words.
        marks: tensors that identify it; a checkpoint must have all of them.
        absent: tensors that a checkpoint must not have.
        rename: (pattern, replacement) for modules; the first pattern that matches the whole path counts. The
            results are the layers' names in our prototxts.
        aliases: the same for tensors that repeat others and must be equal to them.
        first: the layer that reads the image, whose weights are for RGB; NO_LAYER if the net itself changes
            the order of the colours.
        config: chooses the net that fits.
        colours: says how the program normalises an image.
        diagonal: patterns of fixed deconvolutions that do not mix channels, although their weights could;
            ours have a group for each channel.
        idle: patterns of modules that the program has but does not use.
        head: patterns of modules to leave out if the checkpoint only fills another network's backbone, whose
            other layers keep their fillers. Without patterns, the checkpoint must fill the whole net.
    """

    name: str
    title: str
    marks: tuple[str, ...]
    config: Callable[[Facts], Fit]
    first: str
    colours: Callable[[Facts], Colours] = imagenet
    absent: tuple[str, ...] = ()
    rename: Rules = ()
    aliases: Rules = ()
    diagonal: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    head: tuple[str, ...] = ()

    def fits(self, tensors: Mapping[str, Entry]) -> bool:
        """Whether a checkpoint is from this program."""
        return all(mark in tensors for mark in self.marks) and not any(
            name in tensors for name in self.absent
        )


@dataclass
class Tensors:
    """A checkpoint's tensors under the layer names of a net.

    Attributes:
        by_module: layer name -> tensor name ("weight", "running_mean") -> name in the file.
        entries: name in the file -> tensor.
    """

    by_module: dict[str, dict[str, str]] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def shape(self, module: str, tensor: str) -> tuple[int, ...] | None:
        """A tensor's shape; None if the checkpoint lacks it."""
        name = self.by_module.get(module, {}).get(tensor)
        return None if name is None else self.entries[name].shape

    def values(self, module: str, tensor: str) -> np.ndarray:
        """A tensor's values as float32."""
        return self.entries[self.by_module[module][tensor]].read().astype(np.float32, copy=False)


def unwrapped(tensors: Mapping[str, Entry]) -> dict[str, Entry]:
    """The tensors, without the `module.` that DataParallel puts before every name."""
    out = dict(tensors)
    while out and all(name.startswith("module.") for name in out):
        out = {name.removeprefix("module."): entry for name, entry in out.items()}
    return out


def renamed(program: Program, file: TensorFile, prefix: str = "") -> Tensors:
    """A checkpoint's tensors, by the net's layers.

    Args:
        prefix: put before every layer name if the network is only a part of the net.

    Raises:
        WeightsError: an alias differs from the tensor that it repeats, or a layer mixes channels although the
            program's does not.
    """
    entries = unwrapped(file.tensors)
    out = Tensors({}, entries)
    for name, entry in list(entries.items()):
        if _matches(NOT_WEIGHTS, name) or _matches(program.idle, name.rpartition(".")[0]):
            continue
        if _matches(program.diagonal, name.rpartition(".")[0]):
            entries[name] = _diagonal(file, name, entry)
        twin = _replaced(program.aliases, name)
        if twin != name and twin in entries:
            _check_alias(file, name, entry, twin, entries[twin])
            continue
        module, _, tensor = name.rpartition(".")
        out.by_module.setdefault(prefix + _replaced(program.rename, module), {})[tensor] = name
    return out


def labels(tensors: Mapping[str, Entry], name: str, axis: int = 0) -> dict[str, int]:
    """NUM_LABELS from an axis of the classifier's weights."""
    shape = tensors[name].shape if name in tensors else ()
    return {"NUM_LABELS": shape[axis]} if axis < len(shape) else {}


def facts_of(file: TensorFile, given: Mapping[str, object] | None = None) -> Facts:
    """A file's facts about its net, with the user's placeholders."""
    return Facts(unwrapped(file.tensors), file.extra, given or {})


def strided(facts: Facts, network: str, placeholders: Mapping[str, object], *path: str) -> Fit:
    """The net with output stride 16, or its variant with stride 8, `<network>_os8`.

    Args:
        path: the keys under which the file may give the stride.

    Raises:
        UsageError: the stride is neither 8 nor 16.
    """
    stride, words = facts.given.get(STRIDE), ""
    if stride is None and path and (stride := facts.lookup(*path)) is not None:
        words = f"output stride {stride}, from the file's {path[0]}"
    if stride is None:
        stride, words = 16, f"output stride 16 assumed, since tensors do not show it; or --set {STRIDE}=8"
    if str(stride) not in ("8", "16"):
        raise UsageError(
            "rlossctl does not have a net with this output stride",
            found=stride,
            expected="8 or 16",
            advice=f"--set {STRIDE}=8 or --set {STRIDE}=16",
        )
    return Fit(network + ("_os8" if str(stride) == "8" else ""), placeholders, words)


def resnet_depth(
    tensors: Mapping[str, Entry], prefix: str = "", known: tuple[int, ...] = (50, 18, 34, 101, 152)
) -> int:
    """The depth of the ResNet whose stages are under `prefix`, one of `known`. For any other depth, the first
    of `known`, whose tensors then do not fit."""
    place = prefix.count(".") + 1
    blocks = {name.split(".")[place] for name in tensors if name.startswith(f"{prefix}layer3.")}
    depth = DEPTHS.get((f"{prefix}layer1.0.conv3.weight" in tensors, len(blocks)))
    return depth if depth in known else known[0]


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _diagonal(file: TensorFile, name: str, entry: Entry) -> Entry:
    """Turns weights (C, C, h, w) that are 0 between different channels into (C, 1, h, w); keeps others."""
    if len(entry.shape) != 4 or entry.shape[0] != entry.shape[1]:
        return entry
    values = entry.read()
    channels = np.arange(len(values))
    own = values[channels, channels][:, None]
    if np.count_nonzero(values) != np.count_nonzero(own):
        raise WeightsError(
            f"tensor {name!r} mixes channels",
            where=file.path,
            found="weights between different channels",
            expected="a fixed zoom of each channel on its own, as in the program",
            advice="download the checkpoint again; a modified network is not supported",
        )
    return Entry(own.shape, entry.dtype, lambda: own)


def _replaced(rules: Rules, name: str) -> str:
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return name


def _check_alias(file: TensorFile, name: str, entry: Entry, twin: str, other: Entry) -> None:
    if entry.shape == other.shape and np.array_equal(entry.read(), other.read(), equal_nan=True):
        return
    raise WeightsError(
        f"tensor {name!r} differs from {twin!r}, but it is a copy of it in the program",
        where=file.path,
        found=f"shapes {entry.shape} and {other.shape}, or different values",
        expected="the same tensor under both names",
        advice="download the checkpoint again, or save the model's state_dict again",
    )
