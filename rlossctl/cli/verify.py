"""`rlossctl verify`: two models on the same images, blob by blob."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rlossctl.cli import groups, options


@groups.command("verify")
@click.argument("reference", metavar="A")
@click.argument("candidate", metavar="B")
@options.placeholders
@options.dialect
@options.allow_missing
@click.option("--images", metavar="LIST", help="Compare on these photos as well as on random images.")
@click.option("--root", metavar="DIR", default="", help="Folder of the names in the list.")
@click.option(
    "--runtime",
    type=click.Choice(["own", "opencv"]),
    default="own",
    show_default=True,
    help="What runs B: PyTorch or ONNX Runtime (own), or OpenCV's Caffe importer (prototxt,caffemodel only).",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-4,
    show_default=True,
    help="Largest difference allowed, as a share of the blob's largest magnitude.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write every comparison as JSON.")
@options.unread_paths(always=["source", "root_folder", "/name"])
def command(
    reference: str,
    candidate: str,
    placeholders: Mapping[str, object],
    dialect: str,
    allow_missing: bool,
    images: str | None,
    root: str,
    runtime: str,
    tolerance: float,
    report: Path | None,
) -> None:
    """Compare models A and B on the same images, blob by blob, for every blob name that both have.

    A model is `NET.prototxt,WEIGHTS` (one argument with a comma), an .onnx file, or weights that contain
    their net (.safetensors or .pt from `rlossctl convert`). Exit status 3 if a blob differs: the first such
    blob is named with its layer and with both values at the largest difference.

    \b
    Examples:
      rlossctl verify test.prototxt,w.caffemodel model.onnx --set NUM_LABELS=21 --set EXP=voc
      rlossctl verify fp32.onnx fp16.onnx --tolerance 0.01 --images val.txt --root VOC2012
      rlossctl verify net.prototxt,w.caffemodel net.prototxt,w.caffemodel --runtime opencv
    """
    from rlossctl.converters.two_models import compare_models, named_files
    from rlossctl.net.origin import NetOrigin

    def origin(named: str) -> NetOrigin:
        return NetOrigin(*named_files(named), placeholders, dialect, allow_missing)

    compared = compare_models(
        origin(reference), origin(candidate), images=images, root=root, runtime=runtime, tolerance=tolerance
    )
    for line in compared.lines():
        click.echo(line)
    if report:
        options.write_json(report, compared.as_dict())
    compared.check()
