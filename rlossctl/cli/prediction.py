"""Options that say how a model predicts, for `eval` and every other command that runs a model on photos."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import click

from rlossctl.cli import groups
from rlossctl.cli.options import Numbers
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from rlossctl.evaluation.predicting.protocol import Crf, Protocol
    from rlossctl.evaluation.predicting.rules import Rule
    from rlossctl.evaluation.running.named import Imported, Reading
    from rlossctl.evaluation.running.open_model import PreprocessOverrides
    from rlossctl.net.origin import DataOverrides, NetOrigin

Command = Callable[..., Any]
Name = Literal["whole", "tiles", "caffe"]
Activation = Literal["auto", "softmax", "sigmoid", "none"]
RuleName = Literal["argmax", "threshold", "rankdice", "rankiou"]
Unassigned = Literal["max_score", "void"]


class Scales(click.ParamType):
    """Factors separated by commas."""

    name = "S,S,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """The tuple of factors."""
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers separated by commas", param, ctx)


class ClassIds(click.ParamType):
    """Ids and ranges of ids separated by commas, such as 1-20 or 0,3,7-9."""

    name = "IDS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The ids in order, each once."""
        ids: set[int] = set()
        for part in value.split(","):
            first, _, last = part.partition("-")
            last = last or first
            if not (first.isdigit() and last.isdigit() and int(first) <= int(last) <= 255):
                self.fail(f"{value!r} is not a list of ids in 0..255, such as 1-20 or 0,3,7-9", param, ctx)
            ids.update(range(int(first), int(last) + 1))
        return tuple(sorted(ids))


class Bytes(click.ParamType):
    """A number of bytes, or of kilobytes, megabytes or gigabytes."""

    name = "SIZE"
    _units: ClassVar = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)B?", value.upper())
        if not found or not float(found[1]):
            self.fail(f"{value!r} is not a size such as 2G or 500M", param, ctx)
        return round(float(found[1]) * self._units[found[2]])


class Multiple(click.ParamType):
    """N, or N,REST for sides of N k + REST."""

    name = "N[,REST]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """(stride, offset)."""
        stride, _, rest = value.partition(",")
        if not (stride.isdecimal() and int(stride) >= 1 and (rest or "0").isdecimal()):
            self.fail(f"{value!r} is not a number such as 32, or two such as 8,1 (8 k + 1)", param, ctx)
        return int(stride), int(rest or "0")


_INPUT = groups.option_group(
    "Preprocessing, if it differs from the model's",
    click.option("--mean", type=Numbers("B,G,R", float), help="Mean to subtract (0 to 255), blue first."),
    click.option("--scale", type=float, help="Factor after the mean is subtracted."),
    click.option("--std", type=Numbers("B,G,R", float), help="Deviations to divide by after that."),
    click.option("--rgb", is_flag=True, help="Feed red, green, blue instead of Caffe's blue, green, red."),
    click.option("--crop", type=Numbers("H,W", int), help="Size to which images are padded."),
    click.option(
        "--multiple", type=Multiple(), help="Pad sides to a multiple of N, or to the next N k + REST."
    ),
)
_READING = groups.option_group(
    "Model",
    click.option(
        "--output",
        metavar="NAME",
        help="The output with the scores or classes, by name or number (from 0); a prototxt's blob.",
    ),
    click.option(
        "--num-classes",
        type=click.IntRange(1, 255),
        metavar="N",
        help="Number of classes, for a model that gives class ids and does not say how many.",
    ),
)
_PROTOCOL = (
    groups.option_group(
        "How a photo is presented to the model",
        click.option(
            "--protocol",
            "name",
            type=click.Choice(["whole", "tiles", "caffe"]),
            default="whole",
            show_default=True,
            help="Whole images at their own size; overlapping tiles; Caffe's crop of image and label.",
        ),
        click.option("--tile", type=Numbers("H,W", int), help="Tile size.  [default: the model's crop]"),
        click.option(
            "--overlap",
            type=click.FloatRange(0, 1, max_open=True),
            default=1 / 3,
            help="Share of a tile that its neighbour also covers.  [default: 1/3]",
        ),
        click.option("--scales", type=Scales(), help="Average over the photo resized by these factors."),
        click.option("--flip", is_flag=True, help="Average with the mirrored photo."),
        click.option(
            "--resize",
            type=Numbers("H,W", int),
            help="Resize photos to this size first; predictions come back at the photos' own.",
        ),
        click.option(
            "--memory",
            type=Bytes(),
            help="Memory for the model's work, such as 2G: larger photos run in tiles.  "
            "[default: what there is]",
        ),
        click.option(
            "--batch",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Number of equal-sized images or tiles in a batch.",
        ),
    ),
    groups.option_group(
        "From scores to probabilities",
        click.option(
            "--activation",
            type=click.Choice(["auto", "softmax", "sigmoid", "none"]),
            default="auto",
            show_default=True,
            help="auto: none if the model says that it returns probabilities, else softmax.",
        ),
        click.option("--temperature", type=float, default=1.0, show_default=True, help="Divides the scores."),
        click.option("--crf", is_flag=True, help="Refine the probabilities with a dense CRF."),
        click.option(
            "--crf-pos", type=Numbers("W,XY", float), help="The CRF's position potential.  [default: 3,3]"
        ),
        click.option(
            "--crf-bi", type=Numbers("W,XY,RGB", float), help="The CRF's colour potential.  [default: 4,83,5]"
        ),
        click.option(
            "--crf-iterations", type=click.IntRange(min=0), help="The CRF's iterations.  [default: 10]"
        ),
    ),
)
_RULE = groups.option_group(
    "From probabilities to classes",
    click.option(
        "--rule",
        "name",
        type=click.Choice(["argmax", "threshold", "rankdice", "rankiou"]),
        default="argmax",
        show_default=True,
        help="rankdice, rankiou: the mask with the best expected Dice or IoU.",
    ),
    click.option("--masks", is_flag=True, help="Masks that may overlap, instead of one class per pixel."),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Probability from which the rule threshold takes a class.",
    ),
    click.option(
        "--solver",
        type=click.Choice(["moment2", "exact", "trna", "ba", "rma"]),
        default="moment2",
        show_default=True,
        help="How the rank rules compute expectations.",
    ),
    click.option(
        "--prune",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Rank rules leave out classes whose probability never exceeds this.",
    ),
    click.option(
        "--smooth", type=float, default=0.0, show_default=True, help="Smoothing of Dice or IoU (rank rules)."
    ),
    click.option(
        "--unassigned",
        type=click.Choice(["max_score", "void"]),
        default="max_score",
        show_default=True,
        help="Pixels outside all masks get the class that gains most, or none (counted as wrong).",
    ),
    click.option("--drop-ignored", is_flag=True, help="Rank rules look only at pixels with a true label."),
)


def input_options(command: Command) -> Command:
    """Adds what replaces the model's preprocessing; the command gets `overrides`, a PreprocessOverrides."""
    return groups.gathered("overrides", _overrides, _INPUT)(command)


def reading_options(command: Command) -> Command:
    """Adds what the user says about the model's answer; the command gets `reading`, a Reading."""
    return groups.gathered("reading", _reading, _READING)(command)


def protocol_options(command: Command) -> Command:
    """Adds the options of a protocol; the command gets `protocol`, a Protocol."""
    return groups.gathered("protocol", _protocol, *_PROTOCOL)(command)


def rule_options(command: Command) -> Command:
    """Adds the options of a prediction rule; the command gets `rule`, a Rule."""
    return groups.gathered("rule", _rule, _RULE)(command)


def _overrides(
    mean: tuple[float, float, float] | None,
    scale: float | None,
    std: tuple[float, float, float] | None,
    rgb: bool,
    crop: tuple[int, int] | None,
    multiple: tuple[int, int] | None,
) -> PreprocessOverrides:
    from rlossctl.evaluation.running.open_model import PreprocessOverrides

    return PreprocessOverrides(mean, scale, rgb, crop, std, multiple)


def _reading(output: str | None, num_classes: int | None) -> Reading:
    from rlossctl.evaluation.running.named import Reading

    return Reading(output, num_classes)


def import_checkpoint(origin: NetOrigin, data: DataOverrides) -> Imported:
    """Opens another program's checkpoint, alone or with a prototxt."""
    from rlossctl.converters.nets.checkpoints import open_checkpoint

    return open_checkpoint(origin, data)


def _protocol(
    name: Name,
    tile: tuple[int, int] | None,
    overlap: float,
    scales: tuple[float, ...] | None,
    flip: bool,
    resize: tuple[int, int] | None,
    memory: int | None,
    batch: int,
    activation: Activation,
    temperature: float,
    crf: bool,
    crf_pos: tuple[float, float] | None,
    crf_bi: tuple[float, float, float] | None,
    crf_iterations: int | None,
) -> Protocol:
    from rlossctl.evaluation.predicting.protocol import Protocol

    return Protocol(
        name=name,
        tile=tile,
        overlap=overlap,
        scales=scales or (1.0,),
        flip=flip,
        batch=batch,
        resize=resize,
        memory=memory,
        activation=activation,
        temperature=temperature,
        crf=_crf(crf, crf_pos, crf_bi, crf_iterations),
    )


def _crf(
    wanted: bool,
    position: tuple[float, float] | None,
    colour: tuple[float, float, float] | None,
    iterations: int | None,
) -> Crf | None:
    from rlossctl.evaluation.predicting.protocol import Crf

    changes: dict[str, Any] = {}
    if position is not None:
        changes.update(zip(("pos_w", "pos_xy_std"), position, strict=True))
    if colour is not None:
        changes.update(zip(("bi_w", "bi_xy_std", "bi_rgb_std"), colour, strict=True))
    if iterations is not None:
        changes["iterations"] = iterations
    if changes and not wanted:
        raise UsageError("CRF parameters without --crf", found=changes, advice="add --crf")
    return Crf(**changes) if wanted else None


def _rule(
    name: RuleName,
    masks: bool,
    threshold: float,
    solver: str,
    prune: float,
    smooth: float,
    unassigned: Unassigned,
    drop_ignored: bool,
) -> Rule:
    from rlossctl.evaluation.predicting.rules import Rule

    return Rule(
        name=name,
        output="masks" if masks else "labels",
        threshold=threshold,
        solver=solver,
        prune=prune,
        smooth=smooth,
        unassigned=unassigned,
        drop_ignored=drop_ignored,
    )
