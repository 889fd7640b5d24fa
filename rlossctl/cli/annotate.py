"""`rlossctl annotate`: parses its arguments, opens photos and model, and calls rlossctl.annotating."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlossctl.cli import groups, options, prediction
from rlossctl.words import counted

if TYPE_CHECKING:
    import numpy as np

    from rlossctl.annotating.advisor import Model
    from rlossctl.annotating.album import Album
    from rlossctl.annotating.server import Server
    from rlossctl.annotating.store import Store
    from rlossctl.data.palette import Palette
    from rlossctl.evaluation.predicting.protocol import Protocol
    from rlossctl.evaluation.running.named import Reading
    from rlossctl.evaluation.running.open_model import PreprocessOverrides
    from rlossctl.net.origin import NetOrigin

EPILOG = """\b
Examples:
  # a folder of photos; classes.txt has a name a line
  rlossctl annotate photos -o labels --classes classes.txt
\b
  # the photos first of which a model is least sure
  rlossctl annotate VOC2012/ImageSets/Segmentation/train.txt --root VOC2012 -o VOC2012/mine --classes voc \\
      --model net.onnx
\b
DIR/NAME.png has class ids, 255 for unlabelled pixels; DIR/list.txt has a line `image label` for each photo
with strokes. DIR/strokes/NAME.json has the strokes themselves, for label_type STROKES and
`rlossctl data clicks`. The same command goes on where it stopped.
"""


@groups.command("annotate", epilog=EPILOG)
@click.argument("images", nargs=-1, required=True)
@groups.option_group(
    "Labels",
    click.option(
        "--out",
        "-o",
        required=True,
        type=click.Path(file_okay=False),
        metavar="DIR",
        help="Folder to write to.",
    ),
    options.classes("Class names in the order of their ids (required)"),
    options.palette("Colours of the classes", "voc"),
    click.option(
        "--list", "list_file", metavar="FILE", help="List of `image label` lines.  [default: DIR/list.txt]"
    ),
    click.option("--root", default="", metavar="DIR", help="Folder of the names in lists.  [default: none]"),
    click.option(
        "--width",
        type=click.IntRange(1, 99),
        default=5,
        show_default=True,
        help="Width of the brush at first, in pixels of the photo.",
    ),
    click.option(
        "--upright/--no-upright",
        default=False,
        show_default=True,
        help="Turn photos as their EXIF orientation says; data layers then need upright: true.",
    ),
)
@groups.option_group(
    "Page",
    click.option(
        "--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1.  [default: as last time]"
    ),
    click.option("--open", "browser", is_flag=True, help="Open the page in the default browser."),
)
@groups.option_group(
    "Model",
    click.option("--model", metavar="FILE", help="An ONNX file, a prototxt or a checkpoint that predicts."),
    click.option("--weights", metavar="FILE", help="The weights of a prototxt."),
    options.placeholders,
    options.dialect,
    options.allow_missing,
    options.device,
)
@prediction.reading_options
@prediction.input_options
@prediction.protocol_options
@options.unread_paths(always=["source", "root_folder", "/name"])
def command(
    images: tuple[str, ...],
    out: str,
    classes: str | None,
    palette: Palette | None,
    list_file: str | None,
    root: str,
    width: int,
    upright: bool,
    port: int,
    browser: bool,
    model: str | None,
    weights: str | None,
    placeholders: Mapping[str, object],
    dialect: str,
    allow_missing: bool,
    device: str,
    reading: Reading,
    overrides: PreprocessOverrides,
    protocol: Protocol,
) -> None:
    """Draw strokes, points and boxes on photos, in a browser.

    IMAGES are photos, folders, patterns in quotes or .txt lists. The page is served to this machine alone, at
    an address with a token. Every stroke is on disk before the page says so.

    With --model, photos come in the order of the model's doubt, and the page shows its prediction and what
    mean field makes of it with the strokes (--crf with its options says how).
    """
    from rlossctl.annotating.album import Album
    from rlossctl.annotating.server import Look
    from rlossctl.annotating.session import Job, run
    from rlossctl.annotating.store import Places
    from rlossctl.data.palette import voc_palette
    from rlossctl.evaluation.predicting.photos import find_inputs
    from rlossctl.net.origin import NetOrigin

    names = _class_names(classes)
    colours = palette.table if palette else voc_palette()
    named = None
    if model is not None:
        origin = NetOrigin(model, weights, placeholders, dialect, allow_missing)
        named = _open(origin, device, reading, overrides, protocol, colours)
    album = Album(find_inputs(images, root), upright)
    places = Places(Path(out), Path(list_file or Path(out, "list.txt")), root)
    _warn(album)
    store = run(
        Job(album, places, names, Look(colours, width), named),
        port,
        lambda server: _announce(server, browser),
    )
    _say(store)


def _class_names(classes: str | None) -> list[str]:
    from rlossctl.data.sets.names import class_names
    from rlossctl.errors import UsageError

    names = class_names(classes)
    if not names or len(names) > 255 or len(set(names)) < len(names):
        raise UsageError(
            "the classes cannot be drawn",
            where="--classes",
            found="none" if not names else f"{len(names)} names, {len(set(names))} different",
            expected="1 to 255 different names: a data set's, or a file with one per line",
            advice="add --classes voc, or --classes FILE",
        )
    return names


def _open(
    origin: NetOrigin,
    device: str,
    reading: Reading,
    overrides: PreprocessOverrides,
    protocol: Protocol,
    colours: np.ndarray,
) -> Model:
    from rlossctl.annotating.advisor import Model
    from rlossctl.evaluation.predicting.predictor import Predictor
    from rlossctl.evaluation.predicting.protocol import Crf
    from rlossctl.evaluation.reporting import table
    from rlossctl.evaluation.running.named import Named
    from rlossctl.evaluation.running.open_model import open_model

    opened = open_model(Named("", origin, reading, prediction.import_checkpoint), device)
    without = replace(protocol, crf=None)
    predictor = Predictor(opened.runner, overrides.apply(opened.preprocess), without)
    click.echo(table.format_run(opened, predictor))
    for warning in opened.warnings:
        click.echo(f"warning  {warning}")
    return Model(predictor, opened.fingerprint, colours, protocol.crf or Crf())


def _warn(album: Album) -> None:
    for text in album.unreadable:
        click.echo(f"warning: left out: {text}", err=True)
    if album.turned and not album.upright:
        click.echo(
            f"warning: EXIF would turn {counted(album.turned, 'photo')}; they are shown as they are stored, "
            "which is how data layers read them (--upright turns them)",
            err=True,
        )


def _announce(server: Server, browser: bool) -> None:
    store = server.site.store
    drawn = len(store.counts())
    click.echo(
        f"{counted(len(store.album.entries), 'photo')}, {drawn} with strokes, labels in {store.places.out}"
    )
    click.echo(f"open {server.url} in a browser; Ctrl-C ends")
    sys.stdout.flush()
    if browser:
        click.launch(server.url)


def _say(store: Store) -> None:
    drawn = counted(len(store.counts()), "photo")
    click.echo(f"\n{drawn} with strokes, {store.coverage():.2%} of their pixels labelled")
    click.echo(f'list {store.places.list_file}, for root_folder: "{store.root_folder()}"')
