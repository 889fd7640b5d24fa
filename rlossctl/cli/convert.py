"""`rlossctl convert`: a net and its weights in another format."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import options


@click.command("convert")
@click.argument("net", type=click.Path(path_type=Path))
@click.argument("weights", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; its suffix is the format: .onnx, .safetensors, .caffemodel, .pt or .prototxt.",
)
@options.placeholders
@options.dialect
@options.python_layers
@click.option("--output", "outputs", multiple=True, metavar="BLOB", help="Blob that an ONNX model returns.")
@click.option(
    "--classes", metavar="NAMES", help="Class names for ONNX: voc, camvid, or a file with one per line."
)
@click.option(
    "--fold-bn", metavar="LIST", help="Fold the statistics of these images into SegNet's BN layers."
)
@click.option("--root", metavar="DIR", help="Folder of the names in --fold-bn's list.")
@options.image_shape
@click.option("--report", type=click.Path(path_type=Path), help="Write the comparison as JSON.")
def command(
    net: Path,
    weights: Path | None,
    out: Path,
    settings: dict[str, str],
    dialect: str,
    outputs: tuple[str, ...],
    classes: str | None,
    fold_bn: str | None,
    root: str | None,
    image_shape: tuple[int, int, int] | None,
    report: Path | None,
) -> None:
    """Write NET.prototxt with WEIGHTS in the format that the suffix of --out names.

    Everything written is compared with what was read, before the file gets its name: ONNX against PyTorch on
    random images of several sizes, the other formats bit for bit. A mismatch exits with status 3.

    NET alone, a prototxt of any age (V0, V1; net or solver) or a caffemodel, is upgraded to today's form.

    \b
    Examples:
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.onnx --set NUM_LABELS=21
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.safetensors
      rlossctl convert segnet_train.prototxt w.caffemodel --fold-bn train.txt -o folded.caffemodel
      rlossctl convert old_net.prototxt -o new_net.prototxt
      rlossctl convert v1.caffemodel -o v2.caffemodel
    """
    import rlossctl
    from rlossctl.data.palette import class_names

    verification = rlossctl.convert(
        net,
        weights,
        out,
        placeholders=settings,
        outputs=outputs,
        classes=class_names(classes),
        dialect=dialect,
        fold_bn=fold_bn,
        root=root,
        image_shape=image_shape,
    )
    for line in verification.lines():
        click.echo(line)
    if report:
        options.write_json(report, verification.as_dict())
