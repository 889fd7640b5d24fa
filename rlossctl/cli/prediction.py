"""Options that say how a model predicts: for `eval` and every other command that runs one on photos."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rlossctl.cli.options import Numbers
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from rlossctl.evaluation.predicting.protocol import Protocol
    from rlossctl.evaluation.predicting.rules import Rule

Command = Callable[..., Any]


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
            self.fail(f"{value!r} are no numbers separated by commas", param, ctx)


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
                self.fail(f"{value!r} are no ids from 0 to 255, such as 1-20 or 0,3,7-9", param, ctx)
            ids.update(range(int(first), int(last) + 1))
        return tuple(sorted(ids))


_INPUT = (
    click.option("--mean", type=Numbers("B,G,R", float), help="In place of the model's mean (0 to 255)."),
    click.option("--scale", type=float, help="In place of the model's scale (after the mean)."),
    click.option("--rgb", is_flag=True, help="Feed red, green, blue in place of Caffe's blue, green, red."),
    click.option("--crop", type=Numbers("H,W", int), help="Pad images to this size in place of the model's."),
)
_PROTOCOL = (
    click.option(
        "--protocol",
        "name",
        type=click.Choice(["whole", "tiles", "caffe"]),
        default="whole",
        show_default=True,
        help="Whole images at their own size; overlapping tiles; Caffe's crop of image and label.",
    ),
    click.option("--tile", type=Numbers("H,W", int), help="Size of the tiles.  [default: the model's crop]"),
    click.option(
        "--overlap",
        type=click.FloatRange(0, 1, max_open=True),
        default=1 / 3,
        help="Share of a tile that its neighbour covers, too.  [default: 1/3]",
    ),
    click.option("--scales", type=Scales(), help="Average over the photo resized by these factors."),
    click.option("--flip", is_flag=True, help="Average with the mirrored photo."),
    click.option("--crf", is_flag=True, help="Refine the probabilities with a dense CRF."),
    click.option("--crf-pos", type=Numbers("W,XY", float), help="Its position potential.  [default: 3,3]"),
    click.option(
        "--crf-bi", type=Numbers("W,XY,RGB", float), help="Its colour potential.  [default: 4,83,5]"
    ),
    click.option("--crf-iterations", type=click.IntRange(min=0), help="Its iterations.  [default: 10]"),
    click.option(
        "--activation",
        type=click.Choice(["auto", "softmax", "sigmoid", "none"]),
        default="auto",
        show_default=True,
        help="From scores to probabilities; auto: none where the model says it gives them, else softmax.",
    ),
    click.option("--temperature", type=float, default=1.0, show_default=True, help="Divides the scores."),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Images or tiles of one size that go through the model at once.",
    ),
)
_RULE = (
    click.option(
        "--rule",
        "name",
        type=click.Choice(["argmax", "threshold", "rankdice", "rankiou"]),
        default="argmax",
        show_default=True,
        help="From probabilities to classes; rank...: the mask of best expected Dice or IoU.",
    ),
    click.option("--masks", is_flag=True, help="Masks that may overlap, in place of one class per pixel."),
    click.option(
        "--threshold",
        type=click.FloatRange(0, 1),
        default=0.5,
        show_default=True,
        help="Of the rule threshold.",
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
        help="Rank rules leave out classes that are nowhere more probable.",
    ),
    click.option("--smooth", type=float, default=0.0, show_default=True, help="Smoothing of Dice or IoU."),
    click.option(
        "--unassigned",
        type=click.Choice(["max_score", "void"]),
        default="max_score",
        show_default=True,
        help="Pixels in no mask: the class that gains most, or none (wrong).",
    ),
    click.option(
        "--drop-ignored", is_flag=True, help="Rank rules look at pixels that the truth labels only."
    ),
)


def input_options(command: Command) -> Command:
    """Adds what replaces the model's preprocessing: mean, scale, rgb, crop."""
    for option in reversed(_INPUT):
        command = option(command)
    return command


def protocol_options(command: Command) -> Command:
    """Adds the options of a protocol; the command gets `protocol`, a Protocol."""
    return _gathered(command, "protocol", _PROTOCOL, _protocol)


def rule_options(command: Command) -> Command:
    """Adds the options of a prediction rule; the command gets `rule`, a Rule."""
    return _gathered(command, "rule", _RULE, _rule)


def _gathered(
    command: Command, name: str, added: tuple[Callable[[Command], Command], ...], build: Command
) -> Command:
    """The command with options whose values `build` makes one argument of, called `name`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **values: Any) -> Any:
        mine = {key: values.pop(f"{name}_{key}") for key in keys}
        return command(*args, **{name: build(**mine)}, **values)

    keys = []
    for option in reversed(added):
        wrapped = option(wrapped)
        parameter = wrapped.__click_params__[-1]
        keys.append(parameter.name)
        parameter.name = f"{name}_{parameter.name}"
    return wrapped


def _protocol(
    crf: bool,
    crf_pos: tuple[float, float] | None,
    crf_bi: tuple[float, float, float] | None,
    crf_iterations: int | None,
    scales: tuple[float, ...] | None,
    **values: Any,
) -> Protocol:
    from rlossctl.evaluation.predicting.protocol import Crf, Protocol

    changes: dict[str, Any] = {}
    if crf_pos is not None:
        changes.update(zip(("pos_w", "pos_xy_std"), crf_pos, strict=True))
    if crf_bi is not None:
        changes.update(zip(("bi_w", "bi_xy_std", "bi_rgb_std"), crf_bi, strict=True))
    if crf_iterations is not None:
        changes["iterations"] = crf_iterations
    if changes and not crf:
        raise UsageError("parameters of a CRF without --crf", found=changes, advice="add --crf")
    return Protocol(scales=scales or (1.0,), crf=Crf(**changes) if crf else None, **values)


def _rule(masks: bool, **values: Any) -> Rule:
    from rlossctl.evaluation.predicting.rules import Rule

    return Rule(output="masks" if masks else "labels", **values)
