"""`rlossctl eval`: parses, opens model and list, and hands over to rlossctl.evaluation."""

from __future__ import annotations

import functools

import click

from rlossctl.cli import options

EPILOG = """\b
Examples:
  # what `rlossctl convert` wrote: the file itself knows how images are prepared
  rlossctl eval net.onnx --data val.txt --root VOC2012 --classes voc --json result.json --report out
\b
  # an original test prototxt: list and root come from its data layer
  rlossctl eval test.prototxt train_iter_9000.caffemodel --set DATA_ROOT=VOC2012 \\
      --set EXP=pascal_scribble --set TEST_SET=val --set NET_ID=deeplab_largeFOV --set NUM_LABELS=21
\b
  # a model from elsewhere, fed with red, green, blue in 0..1
  rlossctl eval other.onnx --data val.txt --root CamVid --mean 0,0,0 --scale 0.00392157 --rgb
\b
JSON keys: miou, pixel_accuracy, mean_accuracy, classes (name, iou, accuracy, pixels), images, seconds,
backend, preprocess, metric, and caffe with --metric caffe. Shares are 0 to 1, null where undefined.
"""


@click.command("eval", epilog=EPILOG)
@click.argument("model")
@click.argument("weights", required=False)
@click.option("--data", metavar="LIST", help="Lines of `image label`, or bare VOC ids.")
@click.option("--root", metavar="DIR", help="Folder of the list's names, in place of root_folder.")
@click.option("--label-dir", metavar="NAME", help="Labels of bare VOC ids, below the root.  [default: found]")
@options.placeholders
@click.option(
    "--metric",
    type=click.Choice(["standard", "caffe"]),
    default="standard",
    show_default=True,
    help="caffe adds SegAccuracy's three numbers (empty class counts 1).",
)
@click.option("--mean", type=options.Numbers("B,G,R", float), help="In place of the model's mean (0 to 255).")
@click.option("--scale", type=float, help="In place of the model's scale (after the mean).")
@click.option("--rgb", is_flag=True, help="Feed red, green, blue in place of Caffe's blue, green, red.")
@click.option(
    "--crop", type=options.Numbers("H,W", int), help="Pad images to this size in place of the model's."
)
@click.option(
    "--ignore",
    type=click.IntRange(0, 255),
    default=255,
    show_default=True,
    help="Label of pixels that do not count.",
)
@click.option("--classes", metavar="FILE|voc|camvid", help="Class names, one per line.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N images.")
@options.device
@options.dialect
@click.option("--report", metavar="DIR", help="Write index.html, pictures and palette PNGs.")
@click.option(
    "--pictures", type=click.IntRange(min=0), default=12, show_default=True, help="Images in the report."
)
@click.option("--json", "json_file", metavar="FILE", help="Write the results as JSON (- for stdout).")
def command(
    model: str,
    weights: str | None,
    data: str | None,
    root: str | None,
    label_dir: str | None,
    settings: dict[str, str],
    metric: str,
    mean: tuple[float, float, float] | None,
    scale: float | None,
    rgb: bool,
    crop: tuple[int, int] | None,
    ignore: int,
    classes: str | None,
    limit: int | None,
    device: str,
    dialect: str,
    report: str | None,
    pictures: int,
    json_file: str | None,
) -> None:
    """Score a model on labelled images: per-class IoU, mIoU and accuracies.

    MODEL is an ONNX file (run by ONNX Runtime) or a prototxt with its WEIGHTS (run by PyTorch). Images are
    padded with the mean and scored at their own size; one confusion matrix counts the whole list. What
    really runs the model and how images are prepared is printed.
    """
    from rlossctl.data.palette import class_names
    from rlossctl.evaluation import evaluate, opening, table, write_report

    say = functools.partial(click.echo, err=json_file == "-")
    opened = opening.open_model(model, weights, device, settings, data, root, dialect)
    samples = opening.open_list(opened.source, opened.root, label_dir)[:limit]
    preprocess = opening.override_preprocess(
        getattr(opened.runner, "preprocess", None), mean, scale, rgb, crop
    )
    say(table.format_header(opened, preprocess, len(samples)))
    result = evaluate(
        opened.runner,
        samples,
        preprocess=preprocess,
        class_names=class_names(classes),
        ignore=ignore,
        source=opened.source,
        pictures=pictures if report else 0,
    )
    say(f"\n{table.format_table(result, metric)}\n\n{table.format_speed(result)}")
    if json_file:
        options.write_json(json_file, result.to_json(metric))
    if report:
        page = write_report(report, {opened.name: result}, title=f"{opened.name} on {opened.source}")
        say(f"report   {page}")
