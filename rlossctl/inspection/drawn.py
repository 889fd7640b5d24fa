"""Nets as pages: what `inspect` knows of one, and what `diff` finds between two."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.drawing import message_boxes
from rlossctl.drawing.boxes import Box, net_boxes
from rlossctl.errors import UsageError
from rlossctl.files import atomic_write, sha256_of
from rlossctl.inspection.contents import Content
from rlossctl.inspection.difference import Change, Difference
from rlossctl.pages.cells import Cell, head
from rlossctl.pages.origin import happened
from rlossctl.viewing import BlobCard, Changed, LayerCard, NetPage, NetView, blob_card, render_nets
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.net import Net
    from rlossctl.net.draft import Draft, Drafted
    from rlossctl.net.outline import Outline
    from rlossctl.net.summary import LayerSummary
    from rlossctl.prototxt.messages import LayerParameter

_HEADS = ("layer", "type", "tops", "parameters", "mult-adds, M", "receptive field")


def write_net_page(
    out: Path, files: Sequence[Path], net: Draft[Outline], weights: Mapping[str, list[BlobCard]]
) -> None:
    """Writes the page of a net.

    Args:
        files: the prototxt, and the weights if there are any: for where the page comes from.
        weights: layer -> its blobs; see `weight_cards`.

    Raises:
        RlossError: the file cannot be written.
    """
    from rlossctl.net.summary import summarize

    summary = summarize(net)
    cards = [
        _card(net, node, layer, weights.get(node.name, []))
        for node, layer in zip(net.layers, summary.layers, strict=True)
    ]
    without = [node.name for node in net.layers if node.layer.blob_shapes and node.name not in weights]
    words = (
        counted(len(summary.layers), "layer"),
        f"phase {summary.phase}",
        counted(summary.parameters, "parameter"),
        f"{summary.multiply_adds / 1e6:,.1f} M multiply-adds per pass",
    )
    notes = [f"{', '.join(words)}."]
    if weights and without:
        notes.append(f"{counted(len(without), 'layer')} without weights in {files[-1]}: {', '.join(without)}")
    view = NetView.of(net.name or "net", net_boxes(net), cards)
    rows = [_row(layer) for layer in summary.layers]
    _write(out, NetPage(net.name or "net", [view], _origin(files), _HEADS, rows, notes=notes))


def weight_cards(net: Net, path: Path) -> dict[str, list[BlobCard]]:
    """Layer -> the cards of its blobs, for the layers that a weights file fills.

    Args:
        net: built with memory for its weights.

    Raises:
        WeightsError: the file is damaged or does not fit the net, or fills none of its layers.
    """
    from rlossctl.errors import WeightsError
    from rlossctl.net.saved import as_array

    filled, _ = net.copy_from(path)
    if not filled:
        raise WeightsError(
            "has weights for none of the net's layers",
            where=path,
            expected=f"blobs of {net.file.path}",
            advice="name this net's weights; convert those of another program first (rlossctl convert)",
        )
    known = {name: net.layer(name).module.blobs for name in filled}
    return {name: [blob_card(as_array(blob)) for blob in blobs] for name, blobs in known.items()}


def write_difference_page(
    out: Path, files: tuple[Path, Path], contents: tuple[Content, Content], difference: Difference
) -> None:
    """Writes a page with two nets side by side and what differs.

    Raises:
        UsageError: one of the files has no net.
        RlossError: the file cannot be written.
    """
    names = _short(*files), _short(*reversed(files))
    parts = zip(names, files, contents, "+-", strict=True)
    views = [
        NetView.of(name, *_side(file, content, difference.found, absent))
        for name, file, content, absent in parts
    ]
    changes = [Changed(change.sign, _layer_of(change), change.line[2:]) for change in difference.found]
    notes = [difference.lines()[-1].capitalize() + "."]
    _write(out, NetPage(" and ".join(names), views, _origin(files), changes=changes, notes=notes))


def _side(
    file: Path, content: Content, changes: Iterable[Change], absent: str
) -> tuple[list[Box], list[LayerCard]]:
    """The boxes and layers of one of two nets; changes of sign `absent` are about the other one."""
    if content.net is None or content.layers is None:
        raise UsageError(
            "only nets can be drawn beside each other",
            where=file,
            found="a file without a net",
            expected="two net prototxts, or binary caffemodels",
            advice="compare them without --draw",
        )
    mine: dict[str, list[Change]] = {}
    for change in changes:
        if change.sign != absent:
            mine.setdefault(_layer_of(change), []).append(change)
    blobs: dict[str, list[BlobCard]] = {}
    for name, blob in (content.blobs or {}).items():
        blobs.setdefault(name.rpartition("/")[0], []).append(blob_card(blob.read()))
    cards = [
        LayerCard(
            name,
            layer.type,
            _text(layer),
            [(bottom, "") for bottom in layer.bottom],
            [(top, "") for top in layer.top],
            blobs=blobs.get(name, []),
            sign=_sign(mine.get(name, [])),
            changes=[change.text for change in mine.get(name, []) if change.sign == "~"],
        )
        for name, layer in zip(content.layers, content.net.layer, strict=True)
    ]
    return message_boxes(content.net), cards


def _layer_of(change: Change) -> str:
    return change.name.rpartition("/")[0] if change.kind == "blobs" else change.name


def _sign(changes: Sequence[Change]) -> str:
    """The sign of the layer itself where it is missing on the other side, else that something differs."""
    own = next((change.sign for change in changes if change.kind == "layers"), "~")
    return own if changes else ""


def _card(
    net: Draft[Outline], node: Drafted[Outline], layer: LayerSummary, blobs: Sequence[BlobCard]
) -> LayerCard:
    shapes = {
        name: " x ".join(map(str, net.shapes[name])) or "scalar" for name in (*node.bottoms, *node.tops)
    }
    facts = {
        "parameters": f"{layer.parameters:,}" + (", shared" if layer.shared else ""),
        "multiply-adds": f"{layer.multiply_adds:,}",
        "receptive field": f"{layer.receptive_field:g} pixels, stride {layer.stride:g}"
        if layer.receptive_field and layer.stride
        else "",
        "blobs": ", ".join(" x ".join(map(str, shape)) for shape in node.layer.blob_shapes),
        "where": layer.where,
    }
    return LayerCard(
        node.name,
        node.type,
        _text(node.message),
        [(name, shapes[name]) for name in node.bottoms],
        [(name, shapes[name]) for name in node.tops],
        {name: text for name, text in facts.items() if text and text != "0"},
        blobs,
    )


def _row(layer: LayerSummary) -> list[Cell]:
    return [
        head(layer.name),
        Cell(layer.type),
        Cell(", ".join(" x ".join(map(str, shape)) for shape in layer.shapes)),
        Cell(f"{layer.parameters:,}", layer.parameters),
        Cell(f"{layer.multiply_adds / 1e6:,.1f}", layer.multiply_adds),
        Cell(f"{layer.receptive_field:g}" if layer.receptive_field else "-", layer.receptive_field or -1),
    ]


def _text(layer: LayerParameter) -> str:
    """The layer as prototxt, without its values."""
    from rlossctl.prototxt.text import to_text

    bare = type(layer).FromString(layer.SerializeToString()) if layer.blobs else layer
    if layer.blobs:
        bare.ClearField("blobs")
    return f"layer {{\n{textwrap.indent(to_text(bare), '  ')}}}"


def _origin(files: Sequence[Path]) -> dict[str, str]:
    hashes = {str(file): f"SHA-256 {sha256_of(file)}" for file in files if file.is_file()}
    return {**happened(), **hashes}


def _short(file: Path, other: Path) -> str:
    """A file's name, with its folder if the other one has the same name."""
    return file.name if file.name != other.name else str(Path(file.parent.name) / file.name)


def _write(out: Path, page: NetPage) -> None:
    with atomic_write(out) as file:
        file.write(render_nets(page).encode())
