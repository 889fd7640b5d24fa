"""`rlossctl convert`: a net and its weights in another format."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import options, streams
from rlossctl.weights import kinds


@click.command("convert")
@click.argument("net", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("weights", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write, - for standard output; its suffix is the format: .onnx, .safetensors, .caffemodel, "
    ".caffemodel.h5, .pt or .prototxt.",
)
@click.option(
    "--from",
    "source_format",
    type=click.Choice((kinds.PROTOTXT, *kinds.WEIGHTS)),
    help="Format of the weights.",
)
@click.option("--to", "target_format", type=click.Choice(kinds.WRITTEN), help="Format to write.")
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
@click.option("--root", metavar="DIR", help="Folder of the names in the lists.")
@click.option("--fold", is_flag=True, help="ONNX: fold BatchNorm, Scale, Bias and BN into convolutions.")
@click.option(
    "--head",
    type=click.Choice(["scores", "softmax", "argmax"]),
    help="ONNX: what the model returns.  [default: scores; argmax with --with-preprocessing]",
)
@click.option("--upsample", is_flag=True, help="ONNX: bring the scores to the input's size (Caffe's Interp).")
@click.option(
    "--with-preprocessing",
    "preprocessing",
    is_flag=True,
    help="ONNX: take photos (uint8 RGB [N,H,W,3], any size), answer at their size.",
)
@click.option("--mean", type=options.Numbers("B,G,R", float), help="ONNX: in place of the data layer's mean.")
@click.option("--scale", type=float, help="ONNX: in place of the data layer's scale (after the mean).")
@click.option("--rgb", is_flag=True, help="ONNX: the net takes red, green, blue in place of Caffe's order.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="ONNX: of weights and arithmetic; what it costs in mIoU is printed.",
)
@click.option("--calibrate", metavar="LIST", help="ONNX: images whose value ranges int8 is made for.")
@click.option(
    "--int8-ranges",
    type=click.Choice(["minmax", "percentile", "entropy"]),
    default="minmax",
    show_default=True,
    help="ONNX: how int8 takes ranges from these images' values.",
)
@click.option(
    "--int8-activations",
    type=click.Choice(["uint8", "int8"]),
    default="uint8",
    show_default=True,
    help="ONNX: what int8 makes of blobs' values: uint8 is faster; int8 is exact on x86 without VNNI, too.",
)
@click.option(
    "--int8-keep",
    multiple=True,
    metavar="LAYER",
    help="ONNX: layer that int8 leaves in float32; a pattern (conv1_*) means all that fit. Repeatable.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="ONNX: compare every blob with the net's before the file gets its name.",
)
@click.option("--verify-images", metavar="LIST", help="ONNX: compare on these photos, too.")
@options.image_shape
@click.option("--report", type=click.Path(path_type=Path), help="Write the comparison as JSON.")
def command(
    net: Path,
    weights: Path | None,
    out: Path,
    source_format: str | None,
    target_format: str | None,
    settings: dict[str, str],
    dialect: str,
    outputs: tuple[str, ...],
    classes: str | None,
    fold_bn: str | None,
    root: str | None,
    fold: bool,
    head: str | None,
    upsample: bool,
    preprocessing: bool,
    mean: tuple[float, float, float] | None,
    scale: float | None,
    rgb: bool,
    precision: str,
    calibrate: str | None,
    int8_ranges: str,
    int8_activations: str,
    int8_keep: tuple[str, ...],
    verify: bool,
    verify_images: str | None,
    image_shape: tuple[int, int, int] | None,
    report: Path | None,
) -> None:
    """Write NET.prototxt with WEIGHTS in the format that the suffix of --out names.

    Everything written is compared with what was read, before the file gets its name: ONNX against PyTorch,
    every blob in order, on random images of several sizes (and on photos: --verify-images); the other formats
    bit for bit. A mismatch exits with status 3 and names the first layer that is wrong.

    One file alone: a prototxt of any age (V0, V1; net or solver) is upgraded to today's form; a caffemodel
    too, or it is copied byte for byte; weights become another weights file, and back again; a PyTorch
    checkpoint of a known program becomes the weights of its net, which rlossctl net --list shows.
    docs/formats.md has the table.

    \b
    Examples:
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.onnx --set NUM_LABELS=21
      rlossctl convert test.prototxt w.caffemodel -o labels.onnx --with-preprocessing --fold --classes voc
      rlossctl convert test.prototxt w.caffemodel -o int8.onnx --precision int8 --calibrate val.txt --root VOC
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.safetensors
      rlossctl convert model.safetensors -o model.caffemodel
      rlossctl convert checkpoint.pth.tar -o deeplabv3plus.caffemodel
      rlossctl convert segnet_train.prototxt w.caffemodel --fold-bn train.txt -o folded.caffemodel
      rlossctl convert old_net.prototxt -o new_net.prototxt
      cat v1.caffemodel | rlossctl convert - -o - --to safetensors > v1.safetensors
    """
    import rlossctl
    from rlossctl.converters.onnx.options import OnnxOptions
    from rlossctl.data.palette import class_names

    onnx_options = OnnxOptions(
        fold=fold,
        head=head,
        upsample=upsample,
        preprocessing=preprocessing,
        mean=mean,
        scale=scale,
        rgb=rgb,
        precision=precision,
        calibrate=calibrate,
        ranges=int8_ranges,
        activations=int8_activations,
        keep=int8_keep,
        verify=verify,
        verify_images=verify_images,
        root=root or "",
    )

    streams.refuse_twice(net, weights)
    with streams.read(net) as net, streams.read(weights) as weights, streams.written(out) as target:
        verification = rlossctl.convert(
            net,
            weights,
            target,
            placeholders=settings,
            outputs=outputs,
            classes=class_names(classes),
            dialect=dialect,
            fold_bn=fold_bn,
            root=root,
            image_shape=image_shape,
            source_format=source_format,
            target_format=target_format,
            onnx_options=onnx_options,
        )
    first, *lines = verification.lines()
    for line in ("wrote standard output" if streams.is_dash(out) else first, *lines):
        click.echo(line, err=streams.is_dash(out))
    if report:
        options.write_json(report, verification.as_dict())
