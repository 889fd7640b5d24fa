"""What a net's data layer gives: a sheet of photos with the supervision over them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlossctl.data.drawing import Panel, legend, marked, montage, thumbnail
from rlossctl.data.palette import voc_palette
from rlossctl.data.seg_transform import read_mean, read_std
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.data.sources.stream import Source
from rlossctl.errors import DataError
from rlossctl.files import atomic_write
from rlossctl.net import registry
from rlossctl.net.build import build_net
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.prototxt import phase as phases
from rlossctl.prototxt.messages import LayerParameter, NetParameter, TransformationParameter
from rlossctl.prototxt.text import NetFile
from rlossctl.weights.mean import load_mean
from rlossctl.words import counted

_LONGER_SIDE = 360  # of a panel, in pixels
_ACROSS = 4  # panels in a row, where photos have one draw each
_SQUARE = 8  # pixels of the padding's squares
_UNLABELLED = 255
_LINE = 20  # pixels of the title


@dataclass(frozen=True)
class Choice:
    """Which samples are shown.

    Attributes:
        phase: "TRAIN" or "TEST".
        seed: of the training's random numbers.
        photos: how many, from the first one of the stream on.
        draws: how often each is shown, as further epochs give it.
    """

    phase: str = "TRAIN"
    seed: int = 0
    photos: int = 4
    draws: int = 4


@dataclass(frozen=True)
class Drawn:
    """One sample as the net gets it.

    Attributes:
        photo: uint8 [h, w, 3] BGR, the mean added back.
        label: uint8 [h, w] of class ids; None if the label is not an image.
        labelled: bool [h, w], which pixels count.
        valid: bool [h, w], False in the padding.
        caption: the photo's name, with a label that is not an image.
    """

    photo: np.ndarray
    label: np.ndarray | None
    labelled: np.ndarray
    valid: np.ndarray
    caption: str


def save_preview(
    origin: NetOrigin,
    out: str | os.PathLike[str],
    choice: Choice,
    *,
    data: DataOverrides | None = None,
    names: Sequence[str] = (),
    colours: np.ndarray | None = None,
) -> str:
    """Writes a PNG of the chosen samples: a row for each photo, with one panel for each draw.

    Args:
        names: class names in the order of ids, as far as they are known.
        colours: uint8 [256, 3] RGB; VOC's palette by default.

    Returns:
        One line that says what the sheet shows.

    Raises:
        PrototxtError, NetError: the net cannot be read.
        DataError: it has no layer that reads photos, or a photo or label cannot be read.
    """
    layer, source = _source(origin, choice, data or DataOverrides())
    rows = [[_drawn(layer, source, number) for number in numbers] for numbers in _numbers(source, choice)]
    sizes = {one.photo.shape[:2] for row in rows for one in row}
    height, width = rows[0][0].photo.shape[:2]
    title = (
        f"{counted(len(rows), 'photo')} of {source.count()}, {counted(choice.draws, 'draw')} each, "
        f"{width}x{height} (width x height){' and other sizes' if len(sizes) > 1 else ''}, "
        f"layer {layer.name!r}, phase {choice.phase}, seed {choice.seed}"
    )
    sheet = _sheet(rows, title, names, voc_palette() if colours is None else colours)
    with atomic_write(out) as file:
        sheet.save(file, format="PNG")
    return title


def _source(origin: NetOrigin, choice: Choice, data: DataOverrides) -> tuple[LayerParameter, Source]:
    """The net's first layer that reads photos, and its source; no other layer is built."""
    file = origin.read()
    file = _data_layers(phases.filter_net(file, phases.net_state(choice.phase, file.param.state)))
    net = build_net(file, device="meta", data=data.options(seed=choice.seed))
    for layer in net.layers:
        source = net.sources.get(layer.name)
        if isinstance(source, Source) and len(next(iter(source.shapes().values()))) == 4:
            return layer.message, source
    raise DataError(
        "there is nothing to preview",
        where=file.path,
        found=f"no layer that reads photos in phase {choice.phase}",
        expected="ImageSegData, ImageData or another layer that reads a list or a database",
        advice="name a training net, or give --phase test",
    )


def _data_layers(file: NetFile) -> NetFile:
    """The data layers alone; those that can say which pixels are valid do."""
    kinds, lines = registry.kinds(), []
    param = NetParameter()
    param.state.CopyFrom(file.param.state)
    for index, layer in enumerate(file.param.layer):
        if layer.type in kinds and kinds[layer.type].role == "data":
            param.layer.add().CopyFrom(layer)
            lines.append(file.lines[index] if index < len(file.lines) else 0)
    for layer in param.layer:
        if layer.type == "ImageSegData":
            layer.top.extend(f"{layer.name} {number}" for number in range(len(layer.top), 4))
    return replace(file, param=param, lines=tuple(lines))


def _numbers(source: Source, choice: Choice) -> list[list[int]]:
    """For each of the stream's first photos, the numbers of its samples."""
    source.read(0)  # which draws the order, with the layer's shuffle and rand_skip
    order, total = source.order(), source.count()
    found: dict[int, list[int]] = {order.index(number): [] for number in range(min(choice.photos, total))}
    for number in range(total * (choice.draws + 1)):
        numbers = found.get(order.index(number), [])
        if len(numbers) < choice.draws:
            numbers.append(number)
        if all(len(numbers) == choice.draws for numbers in found.values()):
            break
    return list(found.values())


def _drawn(layer: LayerParameter, source: Source, number: int) -> Drawn:
    item = source.read(number)
    photo = _photo(layer.transform_param, item.arrays[0])
    size = photo.shape[:2]
    name = Path(item.sample.image).stem if item.sample else f"sample {number}"
    label, labelled = None, np.zeros(size, bool)
    if len(item.arrays) > 1 and item.arrays[1].shape[-2:] == size:
        label = np.rint(item.arrays[1]).reshape(size).clip(0, 255).astype(np.uint8)
        ignore = source.transform.ignore_label if isinstance(source, ImageSegSource) else _UNLABELLED
        labelled = label != ignore
    elif len(item.arrays) > 1:
        name = f"{name}: class {item.arrays[1].ravel()[0]:g}"
    valid = item.arrays[3].reshape(size) > 0 if len(item.arrays) > 3 else np.ones(size, bool)
    return Drawn(photo, label, labelled & valid, valid, name)


def _photo(param: TransformationParameter, data: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] BGR of a data top's [C, h, w]."""
    mean = load_mean(param.mean_file).mean(axis=(1, 2)) if param.mean_file else read_mean(param) or (0,)
    std = np.reshape(read_std(param) or (1,), (-1, 1, 1))
    pixels = data * std / (param.scale or 1) + np.reshape(mean, (-1, 1, 1))
    planes = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(planes, (3, *data.shape[1:])).transpose(1, 2, 0))


def _sheet(
    rows: Sequence[Sequence[Drawn]], title: str, names: Sequence[str], colours: np.ndarray
) -> Image.Image:
    height, width = rows[0][0].photo.shape[:2]
    scale = _LONGER_SIDE / max(height, width)
    box = round(width * scale), round(height * scale)
    panels: list[list[Panel]] = [
        [(_caption(one, number), thumbnail(_panel(one, colours), box)) for number, one in enumerate(row)]
        for row in rows
    ]
    if len(panels[0]) == 1:
        flat = [panel for row in panels for panel in row]
        panels = [flat[start : start + _ACROSS] for start in range(0, len(flat), _ACROSS)]
    grid = montage(panels)
    ids = sorted({int(place) for row in rows for one in row for place in _ids(one)})
    key = Image.fromarray(legend(ids, names, colours, grid.width))
    sheet = Image.new("RGB", (grid.width, _LINE + grid.height + key.height), "white")
    note = "" if all(one.valid.all() for row in rows for one in row) else "; squares: outside of the photo"
    ImageDraw.Draw(sheet).text((8, 5), title + note, fill="black", font=ImageFont.load_default())
    sheet.paste(grid, (0, _LINE))
    sheet.paste(key, (0, _LINE + grid.height))
    return sheet


def _ids(one: Drawn) -> np.ndarray:
    return np.unique(one.label[one.labelled]) if one.label is not None else np.empty(0, int)


def _caption(one: Drawn, number: int) -> str:
    share = f", labelled {one.labelled.sum() / max(one.valid.sum(), 1):.2%}" if one.label is not None else ""
    return f"{one.caption}{share}" if number == 0 else f"draw {number + 1}{share}"


def _panel(one: Drawn, colours: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] RGB; small crops are enlarged by a whole factor, so that edges of strokes stay thin."""
    factor = max(1, _LONGER_SIDE // max(one.valid.shape))
    photo, valid, labelled = (_enlarged(each, factor) for each in (one.photo, one.valid, one.labelled))
    y, x = np.indices(valid.shape) // _SQUARE
    squares = np.where((y + x) % 2, 205, 235).astype(np.uint8)[:, :, None]
    under = np.where(valid[:, :, None], photo[:, :, ::-1], squares)
    if one.label is None:
        return under
    return marked(photo, under, _enlarged(one.label, factor), labelled, colours)


def _enlarged(array: np.ndarray, factor: int) -> np.ndarray:
    return array.repeat(factor, axis=0).repeat(factor, axis=1)
