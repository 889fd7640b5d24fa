"""`rlossctl visualize`: parses its arguments and calls rlossctl.visualize."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from rlossctl.cli import groups, options
from rlossctl.words import counted

if TYPE_CHECKING:
    import numpy as np

    from rlossctl.visualize.terms import Term

EPILOG = """\b
Examples:
  # probabilities from numpy.save(..., softmax scores [classes, height, width])
  rlossctl visualize densecrf photo.jpg probabilities.npy --out gradient --classes voc
\b
  # a label or scribble image as soft scores
  rlossctl visualize densecrf photo.jpg scribble.png --out gradient --sigma-xy 50
\b
  # a model: an ONNX file, or a prototxt with its weights
  rlossctl visualize densecrf photo.jpg camvid.onnx --out gradient --mode symmetric
"""
MODES_EPILOG = """\b
Examples:
  rlossctl visualize modes photo1.jpg photo2.jpg --sigma-xy 100 --sigma-rgb 15 --crop 321
  rlossctl visualize modes train.txt --root CamVid --limit 20 --sigma-xy 50
"""


def _sigmas(command: Callable[..., Any]) -> Callable[..., Any]:
    positive = click.FloatRange(0, min_open=True)
    command = click.option(
        "--sigma-rgb", type=positive, default=15.0, show_default=True, help="In grey levels of 0..255."
    )(command)
    return click.option("--sigma-xy", type=positive, default=100.0, show_default=True, help="In pixels.")(
        command
    )


_soften = click.option(
    "--soften",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of a labelled pixel's probability to spread over all classes.",
)


LOSS_EPILOG = """\b
Examples:
  # the probabilities that `rlossctl predict --write npz` wrote
  rlossctl visualize loss photo.jpg photo.npz --out gradient \\
      --loss 'type: "PottsLoss" bottom: "image" bottom: "prob" potts_loss_param { image_std: 15 }'
\b
  # several layers, for example a regularizer behind a Power layer that scales the image, from a file
  rlossctl visualize loss photo.jpg camvid.onnx --loss regularizer.prototxt --label scribble.png -o gradient
"""


def _scores(command: Callable[..., Any]) -> Callable[..., Any]:
    """The photo and where its probabilities come from."""
    command = groups.option_group(
        "Scores",
        _soften,
        click.option(
            "--mean", type=options.Numbers("B,G,R", float), help="Instead of the model's, 0 to 255."
        ),
        options.classes(),
        options.placeholders,
        options.dialect,
        options.allow_missing,
    )(command)
    for name, required in (("weights", False), ("scores", True), ("image", True)):
        command = click.argument(name, required=required)(command)
    return command


_output = groups.option_group(
    "Device and output",
    options.device,
    click.option("--out", "-o", required=True, metavar="DIR", help="Folder for the PNGs."),
)


@groups.group("visualize")
def command() -> None:
    """Show a regularized loss: its gradient as pictures, DenseCRFLoss's modes as numbers."""


@command.command("densecrf", epilog=EPILOG)
@_scores
@groups.option_group(
    "Loss",
    _sigmas,
    click.option(
        "--scale-factor",
        type=click.FloatRange(0, min_open=True),
        default=1.0,
        show_default=True,
        help="Resize image and scores for the loss, and sigma-xy with them.",
    ),
    click.option(
        "--mode",
        type=click.Choice(["lattice", "symmetric", "exact"]),
        default="lattice",
        show_default=True,
        help="The original's filter, its symmetric mean, or the Gaussian sum (slow).",
    ),
    click.option("--weight", type=float, default=1.0, show_default=True, help="Loss weight."),
)
@_output
@options.unread_paths(always=["source", "root_folder", "/name"])
def densecrf(
    sigma_xy: float, sigma_rgb: float, scale_factor: float, mode: str, weight: float, **shared: Any
) -> None:
    """Draw the gradient of the DenseCRF loss for one IMAGE: a PNG per class and a montage.

    SCORES are class probabilities: an .npy or .npz file, a label PNG, an ONNX model, or a prototxt with its
    WEIGHTS. The loss, its mode and the kernel that computed it are printed.
    """
    from rlossctl.losses import DenseCRFLoss
    from rlossctl.visualize import DenseCRFTerm

    loss = DenseCRFLoss(weight, sigma_rgb, sigma_xy, scale_factor, mode)
    _draw(lambda photo: DenseCRFTerm(loss), **shared)


@command.command("loss", epilog=LOSS_EPILOG)
@_scores
@groups.option_group(
    "Loss",
    click.option(
        "--loss",
        "text",
        required=True,
        metavar="TEXT|FILE",
        help="The layer's fields, or a prototxt file of layers, over the blobs image, prob, label and mask.",
    ),
    click.option("--label", metavar="PNG", help="Label image of the blob label."),
)
@_output
@options.unread_paths(always=["source", "root_folder", "/name"])
def loss(text: str, label: str | None, **shared: Any) -> None:
    """Draw the gradient of any loss over probabilities for one IMAGE: a PNG per class and a montage.

    SCORES are class probabilities: an .npy or .npz file, a label PNG, an ONNX model, or a prototxt with its
    WEIGHTS. image is the photo as the model sees it, in grey levels; prob its probabilities; mask is 1.
    """
    from rlossctl.visualize import read_term
    from rlossctl.visualize.scores import label_of

    _draw(lambda photo: read_term(text, None if label is None else label_of(label, photo)), **shared)


def _draw(
    term_of: Callable[[np.ndarray], Term],
    *,
    image: str,
    scores: str,
    weights: str | None,
    placeholders: Mapping[str, object],
    dialect: str,
    allow_missing: bool,
    out: str,
    classes: str | None,
    device: str,
    **settings: Any,
) -> None:
    """Draws what `term_of` makes for the photo; `settings` are those of `open_scores`."""
    from pathlib import Path

    from rlossctl.data.sets.names import class_names
    from rlossctl.evaluation.running.torch_runner import pick_device
    from rlossctl.net.origin import NetOrigin
    from rlossctl.visualize import measure_gradient, open_scores, write_pictures

    place = pick_device(device)
    names = class_names(classes)
    origin = NetOrigin(scores, weights, placeholders, dialect, allow_missing)
    scored = open_scores(image, origin, device=device, classes=names, **settings)
    height, width = scored.photo.shape[:2]
    click.echo(f"image    {image}, {width}x{height}\nscores   {scored.origin}\ncolours  {scored.seen}")
    for note in scored.notes:
        click.echo(f"note     {note.removeprefix('note: ')}")
    result = measure_gradient(scored, term_of(scored.photo), str(place))
    click.echo(f"loss     {result.loss:.6g}; {result.setting}\nfilter   {result.kernel}")
    written = write_pictures(out, Path(image).name, scored, result)
    click.echo(f"written  {written[0]} and {counted(len(written) - 1, 'PNG')}, one per class")


@command.command("modes", epilog=MODES_EPILOG)
@click.argument("images", nargs=-1, required=True)
@click.option("--root", default="", metavar="DIR", help="Folder of the names in a list.")
@_sigmas
@click.option(
    "--crop",
    type=click.IntRange(min=1),
    metavar="SIDE",
    help="Measure only the centre, as in training.",
)
@_soften
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Only the first N images.",
)
def modes(
    images: tuple[str, ...],
    root: str,
    sigma_xy: float,
    sigma_rgb: float,
    crop: int | None,
    soften: float,
    limit: int,
) -> None:
    """Compare the modes of the loss on IMAGES, to find the factor that converts a weight between modes.

    IMAGES are photos, or lists of `image label` lines. Labels are used as scores; for photos without labels
    all pixels count alike. exact compares every pixel with every other, which takes seconds per image.

    \b
    factor     loss(lattice) / loss(exact), which converts a weight
    residual   the remaining difference between the two gradients after that factor
    asymmetry  how far the lattice's gradient is from the derivative of its loss
    """
    from rlossctl.bilateral import backend
    from rlossctl.visualize import format_rows, measure_modes
    from rlossctl.visualize.modes import find_samples

    chosen = backend("cpu")
    click.echo(f"sigma_xy {sigma_xy:g}, sigma_rgb {sigma_rgb:g}; {chosen.name}: {chosen.reason}")
    samples = find_samples(images, root)[:limit]
    click.echo(format_rows(list(measure_modes(samples, sigma_xy, sigma_rgb, crop, soften))))
