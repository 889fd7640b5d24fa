"""`rlossctl convert`: a net and its weights in another format."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlossctl.cli import groups, options, streams
from rlossctl.weights import kinds

if TYPE_CHECKING:
    from rlossctl.converters.onnx.attach import Head
    from rlossctl.converters.onnx.options import Activations, OnnxOptions, Precision, Ranges


_ONNX = (
    groups.option_group(
        "ONNX: what the model takes and returns",
        click.option(
            "--with-preprocessing",
            "preprocessing",
            is_flag=True,
            help="Take photos (uint8 RGB [N,H,W,3]) of any size, and return results of the same size.",
        ),
        click.option(
            "--mean",
            type=options.Numbers("B,G,R", float),
            help="Mean to subtract, instead of the data layer's.",
        ),
        click.option("--scale", type=float, help="Factor after that, instead of the data layer's scale."),
        click.option("--rgb", is_flag=True, help="The net takes red, green, blue instead of Caffe's order."),
        click.option("--input", "start", metavar="BLOB", help="Cut the net: take this blob, not the image."),
        click.option(
            "--head",
            type=click.Choice(["scores", "softmax", "argmax"]),
            help="What the model returns.  [default: scores; argmax with --with-preprocessing]",
        ),
        click.option(
            "--upsample", is_flag=True, help="Resize the scores to the input's size (Caffe's Interp)."
        ),
        click.option(
            "--fold",
            is_flag=True,
            help="Fold BatchNorm, Scale, Bias and BN into the convolutions.",
        ),
    ),
    groups.option_group(
        "ONNX: precision",
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "int8"]),
            default="fp32",
            show_default=True,
            help="Precision of weights and arithmetic; its cost in mIoU is printed.",
        ),
        click.option("--calibrate", metavar="LIST", help="Images that set the value ranges of int8."),
        click.option(
            "--int8-ranges",
            "ranges",
            type=click.Choice(["minmax", "percentile", "entropy"]),
            default="minmax",
            show_default=True,
            help="How int8 derives the ranges from these images.",
        ),
        click.option(
            "--int8-activations",
            "activations",
            type=click.Choice(["uint8", "int8", "uint16"]),
            default="uint8",
            show_default=True,
            help="Type of the blobs' values: uint8 is fastest; int8 is exact on x86 without VNNI as well; "
            "uint16 keeps the mIoU of nets that 8 bits spoil, in files as small, but computes in float32.",
        ),
        click.option(
            "--int8-keep",
            "keep",
            multiple=True,
            metavar="LAYER",
            help="Layer to keep in float32, or a pattern such as conv1_*. Repeatable.",
        ),
        click.option(
            "--int8-auto",
            "auto",
            type=click.FloatRange(min=0),
            metavar="DROP",
            help="Keep as many layers in float32 as it takes to lose at most DROP points of mIoU (without "
            "labels: to change the label of at most DROP percent of the pixels).",
        ),
    ),
    groups.option_group(
        "ONNX: verification",
        click.option(
            "--verify/--no-verify",
            default=True,
            show_default=True,
            help="Compare every blob with the net's before the file gets its name.",
        ),
        click.option(
            "--tolerance",
            type=click.FloatRange(min=0, max=1),
            help="Largest difference from the net, as a share of the blob's magnitude.  [default: 0.0001]",
        ),
        click.option("--verify-images", metavar="LIST", help="Compare on these photos as well."),
        click.option(
            "--card",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            help="Also write a new folder to publish: the model, safetensors, a README with the mIoU on the "
            "--verify-images, preprocessing. Nothing is uploaded.",
        ),
    ),
)


def _onnx_options(
    start: str | None,
    fold: bool,
    head: Head | None,
    upsample: bool,
    preprocessing: bool,
    mean: tuple[float, float, float] | None,
    scale: float | None,
    rgb: bool,
    precision: Precision,
    calibrate: str | None,
    ranges: Ranges,
    activations: Activations,
    keep: tuple[str, ...],
    auto: float | None,
    verify: bool,
    tolerance: float | None,
    verify_images: str | None,
    card: Path | None,
) -> OnnxOptions:
    from rlossctl.converters.onnx.options import OnnxOptions

    return OnnxOptions(
        start=start,
        fold=fold,
        head=head,
        upsample=upsample,
        preprocessing=preprocessing,
        mean=mean,
        scale=scale,
        rgb=rgb,
        precision=precision,
        calibrate=calibrate,
        ranges=ranges,
        activations=activations,
        keep=keep,
        auto=auto,
        verify=verify,
        tolerance=tolerance,
        verify_images=verify_images,
        card=card,
    )


@groups.command("convert")
@click.argument("net", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("weights", required=False, type=click.Path(path_type=Path, allow_dash=True))
@groups.option_group(
    "Files",
    click.option(
        "-o",
        "--out",
        required=True,
        type=click.Path(path_type=Path, allow_dash=True),
        help="File to write, - for standard output; its suffix is the format: .onnx, .safetensors, "
        ".caffemodel, .caffemodel.h5, .pt or .prototxt. A folder for a program's configuration.",
    ),
    click.option(
        "--from",
        "source_format",
        type=click.Choice((kinds.PROTOTXT, *kinds.WEIGHTS)),
        help="Format of the weights.",
    ),
    click.option("--to", "target_format", type=click.Choice(kinds.WRITTEN), help="Format to write."),
    click.option("--report", type=click.Path(path_type=Path), help="Write the comparison as JSON."),
)
@groups.option_group(
    "Net",
    options.placeholders,
    options.dialect,
    options.allow_missing,
    options.python_layers,
    options.image_shape,
    click.option("--output", "outputs", multiple=True, metavar="BLOB", help="Blob that ONNX returns."),
    options.classes("Class names for ONNX"),
)
@groups.option_group(
    "Photos",
    click.option(
        "--fold-bn", metavar="LIST", help="Fold the statistics of these images into SegNet's BN layers."
    ),
    click.option("--root", metavar="DIR", help="Folder of the names in every LIST."),
)
@groups.gathered("onnx_options", _onnx_options, *_ONNX)
@options.unread_paths(always=["source", "root_folder", "/name"])
def command(
    net: Path,
    weights: Path | None,
    out: Path,
    source_format: str | None,
    target_format: str | None,
    placeholders: Mapping[str, object],
    dialect: str,
    allow_missing: bool,
    outputs: tuple[str, ...],
    classes: str | None,
    fold_bn: str | None,
    root: str | None,
    image_shape: tuple[int, int, int] | None,
    report: Path | None,
    onnx_options: OnnxOptions,
) -> None:
    """Write NET.prototxt with WEIGHTS in the format that the suffix of --out names.

    The result is compared with the input before the file gets its name: ONNX against PyTorch, blob by blob,
    on random images of several sizes (and on photos: --verify-images); the other formats bit for bit. A
    mismatch exits with status 3 and names the first layer that is wrong.

    With one file only: an old prototxt (V0 or V1, net or solver) is upgraded to today's form; a caffemodel is
    upgraded, too, or copied byte for byte; a weights file is converted to another weights format, and back;
    a PyTorch checkpoint of a known program becomes the weights of its net (rlossctl net --list).
    docs/formats.md has the table.

    The configuration of another training program becomes a solver and nets in the folder --out: config.json
    of pytorch-segmentation, experiment.yaml of DDD, the Gated CRF program's arguments in quotes. What has no
    counterpart is listed.

    \b
    Examples:
      rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.onnx \\
          --set NUM_LABELS=21 --set EXP=voc
      rlossctl convert net.prototxt w.caffemodel -o labels.onnx --with-preprocessing --fold --classes voc
      rlossctl convert net.prototxt w.caffemodel -o int8.onnx --precision int8 \\
          --calibrate val.txt --root VOC2012
      rlossctl convert net.prototxt w.caffemodel -o model.safetensors
      rlossctl convert model.safetensors -o model.caffemodel
      rlossctl convert checkpoint.pth.tar -o deeplabv3plus.caffemodel
      rlossctl convert segnet_train.prototxt w.caffemodel --fold-bn train.txt -o folded.caffemodel
      rlossctl convert old_net.prototxt -o new_net.prototxt
      rlossctl convert config.json -o mine
      rlossctl convert "train.py --dataset voc --loss_gatedcrf_sts true ..." -o mine
      cat v1.caffemodel | rlossctl convert - -o - --to safetensors > v1.safetensors
    """
    import rlossctl
    from rlossctl.data.sets.names import class_names

    streams.refuse_twice(net, weights)
    with streams.read(net) as net_file, streams.read(weights) as weights_file, streams.written(out) as target:
        assert net_file is not None
        verification = rlossctl.convert(
            net_file,
            weights_file,
            target,
            placeholders=placeholders,
            outputs=outputs,
            classes=class_names(classes),
            dialect=dialect,
            allow_missing=allow_missing,
            fold_bn=fold_bn,
            root=root,
            image_shape=image_shape,
            source_format=source_format,
            target_format=target_format,
            onnx_options=dataclasses.replace(onnx_options, root=root or ""),
        )
    first, *lines = verification.lines()
    for line in ("wrote standard output" if streams.is_dash(out) else first, *lines):
        click.echo(line, err=streams.is_dash(out))
    if report:
        options.write_json(report, verification.as_dict())
