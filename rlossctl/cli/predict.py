"""`rlossctl predict`: parses its arguments, opens the model and calls rlossctl.evaluation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlossctl.cli import groups, options, parts, prediction

if TYPE_CHECKING:
    from rlossctl.data.palette import Palette
    from rlossctl.evaluation.predict_job import PredictJob
    from rlossctl.evaluation.predicting.prediction_files import Summary
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
  # a third of the photos in each of three processes, on any machines (docs/parts.md)
  rlossctl predict net.onnx photos --out predictions --part 1/3 --parts records
  rlossctl predict --merge records
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
@click.argument("model", required=False)
@click.argument("inputs", nargs=-1, metavar="[WEIGHTS] INPUT...")
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
@parts.options
@parts.merge_option("Say what came of the parts in this folder; needs no MODEL.")
@options.unread_paths(always=["source", "root_folder", "/name"])
def command(
    model: str | None,
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
    merge: str | None,
    division: parts.Division,
) -> None:
    """Predict the classes of photos: label images, overlays, probabilities.

    MODEL is an ONNX file (run by ONNX Runtime), a prototxt followed by its WEIGHTS, or a checkpoint of a
    known program (.pth, .ckpt; run by PyTorch). INPUT is a photo, a folder, a pattern in quotes, a .txt list,
    a URL, a video, camera:N, or - for standard input: names, one a line, or one photo.

    Photos that cannot be read are left out and listed at the end; the exit status is then 1. Input files are
    never overwritten.
    """
    from rlossctl.data.sets.names import class_names
    from rlossctl.evaluation.predict_job import PredictJob
    from rlossctl.evaluation.predicting.outputs import Look, Outputs
    from rlossctl.evaluation.predicting.photos import STDIN, find_inputs
    from rlossctl.evaluation.predicting.prediction_files import Sources
    from rlossctl.evaluation.predicting.videos import Frames, split_videos
    from rlossctl.evaluation.running.decoders import Decoding
    from rlossctl.evaluation.running.named import Named, split_weights
    from rlossctl.net.origin import NetOrigin

    if merge is not None:
        sys.exit(_merged(merge, division))
    if model is None or not inputs:
        missing = "MODEL" if model is None else "[WEIGHTS] INPUT..."
        raise click.UsageError(f"Missing argument '{missing}'.", click.get_current_context())
    weights, named = split_weights(model, inputs)
    videos, named = split_videos(named)
    photos = find_inputs(named, root, sys.stdin.buffer.read() if STDIN in named else b"")
    origin = NetOrigin(model, weights, placeholders, dialect, allow_missing)
    job = PredictJob(
        Named("", origin, reading, prediction.import_checkpoint),
        Sources(photos, videos, Frames(every, frames), upright),
        Outputs(out, kinds if out else (), archive, Look(palette, opacity, legend, class_names(classes))),
        device,
        overrides,
        protocol,
        rule,
        Decoding(workers, decoders),
    )
    sys.exit(1 if _predicted(job, division).failed else 0)


def _predicted(job: PredictJob, division: parts.Division) -> Summary:
    """Predicts all photos, or a part of them."""
    from rlossctl.evaluation import predict_job
    from rlossctl.evaluation.parts.jobs import InParts

    if division.part is not None:
        found = InParts(division.place, "predict", division.command)
        return predict_job.make(job, found, division.part, click.echo)
    if division.pool is not None:
        with division.folder() as place:
            found = InParts(place, "predict", division.command)
            return predict_job.make_all(job, found, division.pool_for(job.device), click.echo)
    return predict_job.run(job, click.echo)


def _merged(merge: str, division: parts.Division) -> int:
    """The exit status after the summary of all parts."""
    from rlossctl.evaluation import predict_job
    from rlossctl.evaluation.parts.jobs import InParts

    division.refuse_with_merge()
    parts.refuse_unread([])
    return 1 if predict_job.merge(InParts(merge, "predict"), click.echo).failed else 0
