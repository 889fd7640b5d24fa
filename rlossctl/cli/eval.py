"""`rlossctl eval`: parses its arguments and calls rlossctl.evaluation.job."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlossctl.cli import groups, options, parts, prediction
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from rlossctl.data.palette import Palette
    from rlossctl.evaluation.job import Job, Outcome
    from rlossctl.evaluation.running.decoders import Decoders
    from rlossctl.evaluation.running.named import Reading
    from rlossctl.evaluation.scoring.evaluation import Evaluation

EPILOG = """\b
Examples:
  # a file from `rlossctl convert`, which says itself how to prepare images
  rlossctl eval net.onnx --data val.txt --root VOC2012 --classes voc --json result.json --report out
\b
  # an original test prototxt: list and root come from its data layer
  rlossctl eval test.prototxt train_iter_9000.caffemodel --set DATA_ROOT=VOC2012 --set EXP=voc \\
      --set TEST_SET=val --set NUM_LABELS=21
\b
  # several models on one list, as a paper's table with intervals of the differences from the first
  rlossctl eval pce.onnx crf.onnx --data val.txt --root VOC2012 --names pCE,+DenseCRF --markdown table.md
  rlossctl eval test.prototxt a.caffemodel b.caffemodel --data val.txt --root VOC2012 \\
      --set NUM_LABELS=21 --set EXP=voc
\b
  # three scales, mirrored, then a dense CRF; RankDice instead of argmax
  rlossctl eval net.onnx --data val.txt --root VOC2012 --scales 0.75,1,1.25 --flip --crf
  rlossctl eval net.onnx --data val.txt --root VOC2012 --rule rankdice --masks --classes-of-interest 1-20
\b
  # a long list: resumed after an interruption, or shared among four processes
  rlossctl eval net.onnx --data val.txt --root VOC2012 --state val.state
  torchrun --nproc-per-node 4 -m rlossctl eval net.onnx --data val.txt --root VOC2012
\b
  # on machines that share nothing but a folder: parts, in any order, then their sum (docs/parts.md)
  rlossctl eval net.onnx --data val.txt --root VOC2012 --part 1/3 --parts counts
  rlossctl eval --merge counts --json result.json
\b
  # a model from elsewhere, fed with red, green, blue in 0..1
  rlossctl eval other.onnx --data val.txt --root CamVid --mean 0,0,0 --scale 0.00392157 --rgb
\b
  # torchvision's preparation, the second of several outputs
  rlossctl eval other.onnx --data val.txt --root CamVid --rgb --output 1 \\
      --mean 103.53,116.28,123.675 --std 57.375,57.12,58.395
\b
JSON keys for one model: the means (miou, mdice, pixel_accuracy, mean_accuracy, ...), classes (name, iou,
accuracy, pixels, dice, precision), images, backend, preprocess, protocol, rule, confusion, metric,
warnings (kind, found), skipped (image, why), stopped (the error that ended the pass early, or null), and with
the option --metric caffe also caffe. For several models: models (name -> the same keys) and differences.
Shares are 0 to 1, or null if undefined. docs/evaluation.md defines every score.
"""


@groups.command("eval", epilog=EPILOG)
@click.argument("models", nargs=-1, metavar="MODEL...")
@groups.option_group(
    "Data",
    click.option("--data", metavar="LIST", help="Lines of `image label`, or bare VOC ids."),
    click.option("--root", metavar="DIR", help="Folder of the list's names, instead of root_folder."),
    click.option(
        "--label-dir", metavar="NAME", help="Label folder for bare VOC ids, below the root.  [default: found]"
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images."),
    click.option(
        "--ignore",
        type=click.IntRange(0, 255),
        default=255,
        show_default=True,
        help="Label of pixels that do not count.",
    ),
    options.classes(),
    click.option(
        "--upright/--no-upright",
        default=None,
        help="Turn photos as their EXIF orientation says: for labels that were drawn on upright photos.  "
        "[default: as the data layer says]",
    ),
)
@groups.option_group(
    "Model",
    options.placeholders,
    options.dialect,
    options.allow_missing,
    options.python_layers,
    click.option("--names", metavar="A,B,...", help="Names for the models.  [default: their files' names]"),
)
@prediction.reading_options
@prediction.input_options
@prediction.protocol_options
@prediction.rule_options
@groups.option_group(
    "Scores",
    click.option(
        "--metric",
        type=click.Choice(["standard", "caffe"]),
        default="standard",
        show_default=True,
        help="caffe adds SegAccuracy's three numbers (an empty class counts as 1).",
    ),
    click.option(
        "--classes-of-interest",
        "interest",
        type=prediction.ClassIds(),
        help="Ids of the classes that the means cover, such as 1-20.  [default: all]",
    ),
    click.option(
        "--boundary",
        "band",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="RATIO",
        help="Also boundary IoU, with a band of this share of the diagonal (usually 0.02).",
    ),
)
@groups.option_group(
    "Running",
    options.device,
    options.decoding,
    click.option(
        "--skip-broken",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Leave out up to N photos and labels that cannot be read or differ in size, and list them.",
    ),
    click.option("--state", metavar="FILE", help="Continue from this file if it exists, and update it."),
)
@parts.options
@parts.merge_option("Join the parts in this folder; needs no MODEL.")
@groups.option_group(
    "Output",
    click.option("--report", metavar="DIR", help="Write index.html, pictures and palette PNGs."),
    click.option(
        "--pictures",
        type=click.IntRange(min=0),
        default=12,
        show_default=True,
        help="Number of images in the report: half are the worst, half the best.",
    ),
    options.palette("Colours of the report's pictures", "the model's own, else voc"),
    click.option(
        "--opacity",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Opacity of the colours over the report's photos.",
    ),
    click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON (- for stdout)."),
    click.option("--csv", "csv_file", metavar="FILE", help="Write every score as CSV (- for stdout)."),
    click.option(
        "--markdown",
        "markdown_file",
        metavar="FILE",
        help="Write tables for a paper in Markdown (- for stdout).",
    ),
)
@options.unread_paths(replaced={"data": "source", "root": "root_folder"}, always=["/name"])
def command(
    models: tuple[str, ...],
    data: str | None,
    root: str | None,
    label_dir: str | None,
    limit: int | None,
    placeholders: Mapping[str, object],
    dialect: str,
    allow_missing: bool,
    reading: Reading,
    ignore: int,
    interest: tuple[int, ...] | None,
    band: float | None,
    workers: int,
    decoders: Decoders,
    classes: str | None,
    names: str | None,
    metric: str,
    skip_broken: int,
    report: str | None,
    pictures: int,
    palette: Palette | None,
    opacity: float,
    json_file: str | None,
    csv_file: str | None,
    markdown_file: str | None,
    merge: str | None,
    division: parts.Division,
    **others: Any,
) -> None:
    """Score models on labelled images: IoU, Dice, precision and accuracy per class, and their means.

    MODEL is an ONNX file (run by ONNX Runtime), a prototxt followed by its weights, or a checkpoint of a
    known program (.pth, .ckpt; run by PyTorch). Several weights after one prototxt are several models. Images
    are padded with the mean and scored at their own size; one confusion matrix counts the whole list. The
    runtime in use and the preprocessing are printed.
    """
    from rlossctl.data.sets.names import class_names
    from rlossctl.evaluation import job, write_report
    from rlossctl.evaluation.list_pass import EvalOptions
    from rlossctl.evaluation.predicting.outputs import Look
    from rlossctl.evaluation.reporting.provenance import provenance
    from rlossctl.evaluation.running.decoders import Decoding
    from rlossctl.evaluation.running.named import pair_models
    from rlossctl.evaluation.running.open_model import ImageList
    from rlossctl.evaluation.scoring.counting import Counting
    from rlossctl.net.origin import NetOrigin

    _check_outputs(report, json_file, csv_file, markdown_file)
    say = functools.partial(click.echo, err="-" in (json_file, csv_file, markdown_file))
    called = None if names is None else [name for name in names.split(",") if name]
    origin = functools.partial(
        NetOrigin, placeholders=placeholders, dialect=dialect, allow_missing=allow_missing
    )
    paired = [
        dataclasses.replace(model, reading=reading, importer=prediction.import_checkpoint)
        for model in pair_models(models, called, origin)
    ]
    work = job.Job(
        paired,
        ImageList(data, root, label_dir, limit),
        counting=Counting(ignore, interest, band),
        options=EvalOptions(
            class_names(classes),
            pictures if report else 0,
            Decoding(workers, decoders),
            skip_broken=skip_broken,
        ),
        rescue=functools.partial(_rescue, metric, json_file),
        metric=metric,
        **others,
    )
    written = {"--json": json_file, "--csv": csv_file, "--markdown": markdown_file, "--report": report}
    outcome = _outcome(work, division, merge, written, say)
    if outcome is None or not outcome.first:
        return
    _write(outcome, json_file, csv_file, markdown_file)
    if report:
        title = f"{', '.join(outcome.evaluations)} on {Path(outcome.list_name).name}"
        look = Look(palette or outcome.palette, opacity)
        known = provenance(outcome.list_name, outcome.fingerprints)
        say(f"report   {write_report(report, outcome.evaluations, title, look, known)}")


def _outcome(
    work: Job,
    division: parts.Division,
    merge: str | None,
    written: Mapping[str, str | None],
    say: Callable[[str], None],
) -> Outcome | None:
    """The outcome of the whole list; None after a part of it."""
    from rlossctl.evaluation import in_parts, job
    from rlossctl.evaluation.parts.jobs import InParts

    if merge is not None:
        division.refuse_with_merge()
        if written["--report"] and not work.models:
            raise UsageError(
                "a report shows predictions, which need the model",
                found="--merge DIR --report DIR without MODEL",
                expected="the command that made the parts, with --merge in place of --part and --parts",
                advice="name the model, the list and the options again, or leave out --report",
            )
        if not work.models:
            parts.refuse_unread(["--json", "--csv", "--markdown", "--skip-broken"])
        found = InParts(merge, "eval")
        again = work if work.models else None
        return in_parts.merge(found, again, work.options.skip_broken, say)
    if not work.models:
        raise click.UsageError("Missing argument 'MODEL...'.", click.get_current_context())
    if division.part is not None:
        division.refuse_outputs({**written, "--state": work.state})
        in_parts.make(work, InParts(division.place, "eval", division.command), division.part, say)
        return None
    if division.pool is not None:
        division.refuse_state(work.state)
        with division.folder() as place:
            found = InParts(place, "eval", division.command)
            in_parts.make_all(work, found, division.pool_for(work.device), say)
            again = work if written["--report"] else None
            return in_parts.merge(found, again, work.options.skip_broken, say)
    return job.run(work, say)


def _check_outputs(report: str | None, *files: str | None) -> None:
    """Fails before the models run, not afterwards."""
    from rlossctl.files import check_writable, make_folder

    if report:
        make_folder(report)
    for file in files:
        if file and file != "-":
            check_writable(file)


def _rescue(metric: str, json_file: str | None, evaluations: dict[str, Evaluation]) -> None:
    """Writes the counts up to an error; `stopped` in the JSON says that the list is not complete."""
    from rlossctl.evaluation.scoring import results

    if json_file and next(reversed(evaluations.values())).images:
        options.write_json(json_file, results.all_to_json(evaluations, {}, metric))


def _write(outcome: Outcome, json_file: str | None, csv_file: str | None, markdown_file: str | None) -> None:
    from rlossctl.evaluation.scoring import results

    evaluations, differences = outcome.evaluations, outcome.differences
    if json_file:
        options.write_json(json_file, results.all_to_json(evaluations, differences, outcome.metric))
    if csv_file:
        options.write_text(csv_file, results.to_csv(outcome.evaluations))
    if markdown_file:
        options.write_text(markdown_file, results.to_markdown(outcome.evaluations, outcome.differences))
