"""`rlossctl convert`: a net and its weights in another format."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import options


@click.command("convert")
@click.argument("net", type=click.Path(path_type=Path))
@click.argument("weights", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; its suffix is the format: .onnx, .safetensors, .caffemodel or .pt.",
)
@options.placeholders
@click.option("--output", "outputs", multiple=True, metavar="BLOB", help="Blob that an ONNX model returns.")
@click.option(
    "--classes", metavar="NAMES", help="Class names for ONNX: voc, camvid, or a file with one per line."
)
@click.option("--report", type=click.Path(path_type=Path), help="Write the comparison as JSON.")
def command(
    net: Path,
    weights: Path,
    out: Path,
    settings: dict[str, str],
    outputs: tuple[str, ...],
    classes: str | None,
    report: Path | None,
) -> None:
    """Write NET.prototxt with WEIGHTS in the format that the suffix of --out names.

    Everything written is compared with what was read, before the file gets its name: ONNX against PyTorch on
    random images of several sizes, the other formats bit for bit. A mismatch exits with status 3.

    \b
    Examples:
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.onnx --set NUM_LABELS=21
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.safetensors
    """
    import rlossctl
    from rlossctl.data.palette import class_names

    verification = rlossctl.convert(
        net, weights, out, placeholders=settings, outputs=outputs, classes=class_names(classes)
    )
    for line in verification.lines():
        click.echo(line)
    if report:
        options.write_json(report, verification.as_dict())
