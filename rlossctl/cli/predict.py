"""`rlossctl predict`: parses its arguments, opens the model and calls rlossctl.evaluation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlossctl.cli import groups, options, prediction

if TYPE_CHECKING:
    from rlossctl.data.palette import Palette
    from rlossctl.evaluation.predicting.protocol import Protocol
    from rlossctl.evaluation.predicting.rules import Rule
    from rlossctl.evaluation.running.decoders import Decoders
    from rlossctl.evaluation.running.named import Reading
    from rlossctl.evaluation.running.open_model import PreprocessOverrides

EPILOG = """\b
Examples:
  # a palette PNG and a picture for every photo of a folder
  rlossctl predict net.onnx photos --out predictions --write labels,overlay
\b
  # Caffe's files, with a pattern for the photos
  rlossctl predict test.prototxt train_iter_9000.caffemodel 'JPEGImages/2007_*.jpg' --out predictions \\
      --set NUM_LABELS=21 --set EXP=voc
\b
  # names from another program, probabilities as output
  find . -name '*.jpg' | rlossctl predict net.onnx - --out predictions --write npz
\b
  # a photo from another program; a video, as a film
  curl -s https://example.org/photo.jpg | rlossctl predict net.onnx - --out predictions
  rlossctl predict net.onnx clip.mp4 --out predictions --write video --every 5
\b
  # an archive for the VOC evaluation server
  rlossctl predict net.onnx VOC2012/ImageSets/Segmentation/test.txt --root VOC2012 \\
      --voc-archive results.tgz
\b
NAME.png has class ids, with a palette; NAME_overlay.png shows them on the photo; NAME.npz has
probabilities (float16, classes x height x width) and class names; NAME_ID.png (png16) has 65535 times the
probability of class ID in 16 bits; NAME.json (labelme) has a polygon for every region; predictions.coco.json
(coco) has run lengths for all photos. `rlossctl data labels` reads both. NAME_overlay.mp4 (video) is a film
of the overlays. Photos in subfolders go to the same subfolders of the output; frames of a video to NAME/.
"""


class Kinds(click.ParamType):
    """Kinds of files separated by commas."""

    name = "KIND,..."
    _known = ("labels", "overlay", "npz", "png16", "labelme", "coco", "video")

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The kinds, each once."""
        kinds = tuple(dict.fromkeys(value.split(",")))
        if not set(kinds) <= set(self._known):
            self.fail(f"{value!r} is not one or more of {', '.join(self._known)}", param, ctx)
        return kinds


@groups.command("predict", epilog=EPILOG)
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, metavar="[WEIGHTS] INPUT...")
@groups.option_group(
    "Files",
    click.option(
        "--out",
        "-o",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder to write to.",
    ),
    click.option(
        "--write",
        "kinds",
        type=Kinds(),
        default="labels",
        show_default=True,
        help="labels, overlay, npz, png16, labelme, coco, video; several separated by commas.",
    ),
    options.palette("Colours of label images and overlays", "the model's own, else voc"),
    click.option(
        "--opacity",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Opacity of the colours in overlays.",
    ),
    click.option("--legend", is_flag=True, help="Show the names of an overlay's classes below it."),
    options.classes(),
    click.option(
        "--voc-archive",
        "archive",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.tgz",
        help="Write all labels in the layout of the VOC evaluation server.",
    ),
    click.option(
        "--root", default="", metavar="DIR", help="Folder of the names in lists and on standard input."
    ),
)
@groups.option_group("Model", options.placeholders, options.dialect, options.allow_missing)
@prediction.reading_options
@prediction.input_options
@prediction.protocol_options
@prediction.rule_options
@groups.option_group(
    "Photos",
    click.option(
        "--upright/--no-upright",
        default=True,
        show_default=True,
        help="Turn photos as their EXIF orientation says; labels and overlays come out upright.",
    ),
)
@groups.option_group(
    "Videos",
    click.option(
        "--every",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Take every Nth frame.",
    ),
    click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Take at most N frames."),
)
@groups.option_group("Running", options.device, options.decoding)
@options.unread_paths(always=["source", "root_folder", "/name"])
def command(
    model: str,
    inputs: tuple[str, ...],
    out: Path | None,
    kinds: tuple[str, ...],
    palette: Palette | None,
    opacity: float,
    legend: bool,
    classes: str | None,
    archive: Path | None,
    root: str,
    placeholders: Mapping[str, object],
    reading: Reading,
    overrides: PreprocessOverrides,
    protocol: Protocol,
    rule: Rule,
    device: str,
    dialect: str,
    allow_missing: bool,
    workers: int,
    decoders: Decoders,
    upright: bool,
    every: int,
    frames: int | None,
) -> None:
    """Predict the classes of photos: label images, overlays, probabilities.

    MODEL is an ONNX file (run by ONNX Runtime), a prototxt followed by its WEIGHTS, or a checkpoint of a
    known program (.pth, .ckpt; run by PyTorch). INPUT is a photo, a folder, a pattern in quotes, a .txt list,
    a URL, a video, camera:N, or - for standard input: names, one a line, or one photo.

    Photos that cannot be read are left out and listed at the end; the exit status is then 1. Input files are
    never overwritten.
    """
    from rlossctl.data.sets.names import class_names
    from rlossctl.evaluation.predicting import prediction_files
    from rlossctl.evaluation.predicting.outputs import Look, Outputs
    from rlossctl.evaluation.predicting.photos import STDIN, find_inputs
    from rlossctl.evaluation.predicting.predictor import Predictor
    from rlossctl.evaluation.predicting.videos import Frames, split_videos
    from rlossctl.evaluation.reporting import table
    from rlossctl.evaluation.running.named import Named, split_weights
    from rlossctl.evaluation.running.open_model import naming_weights, open_model
    from rlossctl.net.origin import NetOrigin

    weights, named = split_weights(model, inputs)
    videos, named = split_videos(named)
    photos = find_inputs(named, root, sys.stdin.buffer.read() if STDIN in named else b"")
    sources = prediction_files.Sources(photos, videos, Frames(every, frames), upright)
    origin = NetOrigin(model, weights, placeholders, dialect, allow_missing)
    called = Named("", origin, reading, prediction.import_checkpoint)
    opened = open_model(called, device)
    preprocess = overrides.apply(opened.preprocess)
    predictor = Predictor(opened.runner, preprocess, protocol, rule)
    look = Look(palette or opened.palette, opacity, legend, class_names(classes))
    outputs = Outputs(out, kinds if out else (), archive, look)
    click.echo(table.format_run(opened, predictor))
    for warning in opened.warnings:
        click.echo(f"warning  {warning}")
    with naming_weights(called):
        summary = prediction_files.predict_photos(
            predictor, sources, outputs, workers=workers, decoders=decoders
        )
    click.echo(prediction_files.format_summary(summary, outputs))
    sys.exit(1 if summary.failed else 0)
