"""Option types that several commands share."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from rlossctl.files import atomic_write
from rlossctl.trust import python_layers_allowed


def parse_placeholders(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Turns repeated NAME=VALUE arguments into a dict."""
    placeholders = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE", context, parameter)
        placeholders[name] = content
    return placeholders


def placeholders(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--set NAME=VALUE`."""
    return click.option(
        "--set",
        "placeholders",
        multiple=True,
        metavar="NAME=VALUE",
        callback=parse_placeholders,
        help="Value of the placeholder ${NAME} of a prototxt; others come from the environment, or have a "
        "default. Repeatable.",
    )(command)


def unread_paths(
    *, replaced: Mapping[str, str] | None = None, always: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Lets placeholders of --set stay unset in strings that the command does not read.

    Args:
        replaced: argument -> the string fields that are not read if it is given.
        always: string fields that are never read.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> Any:
            from rlossctl.prototxt.unset import Placeholders

            fields = {*always}
            for argument, field in (replaced or {}).items():
                fields.update(field.split() if values[argument] else ())
            values["placeholders"] = Placeholders(values["placeholders"], fields)
            return command(*args, **values)

        return wrapped

    return decorate


def classes(
    words: str = "Class names", default: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--classes`: the classes of a known data set, or from a file."""
    from rlossctl.data.sets.registry import data_sets

    return click.option(
        "--classes",
        metavar="NAMES",
        default=default,
        show_default=default is not None,
        help=f"{words}: {', '.join(data_sets())}, or a file with one per line.",
    )


def palette(words: str, default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--palette`: a known palette, or one from a file; the command gets a Palette or None."""

    def find(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        from rlossctl.data.sets.palettes import find_palette

        return find_palette(value)

    return click.option(
        "--palette",
        metavar="NAME",
        callback=find,
        help=f"{words}: the name of a data set (voc, cityscapes, ...), or a file (lines `R G B name`, a CVAT "
        f"label map, JSON, a palette PNG).  [default: {default}]",
    )


class Numbers(click.ParamType):
    """Numbers separated by commas, one for each name in `names`."""

    def __init__(self, names: str, kind: type[int] | type[float]) -> None:
        self.name = names
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | float, ...]:
        """The tuple of numbers."""
        numbers: tuple[int | float, ...]
        try:
            numbers = tuple(self._kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != len(self.name.split(",")):
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return numbers


def image_shape(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--image-shape`."""
    return click.option(
        "--image-shape",
        type=Numbers("C,H,W", int),
        help="Size of the images, for a net that would otherwise read its data to learn it.",
    )(command)


def device(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--device`."""
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")(
        command
    )


def decoding(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--workers` and `--decoders`."""
    command = click.option(
        "--decoders",
        type=click.Choice(["threads", "processes"]),
        default="threads",
        show_default=True,
        help="How to decode images: threads avoid copies, processes avoid Python's lock.",
    )(command)
    return click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        help="Threads or processes that decode images ahead of the model.",
    )(command)


def dialect(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--dialect`."""
    return click.option(
        "--dialect",
        type=click.Choice(["auto", "bvlc", "rloss", "segnet", "enet", "fcn"]),
        default="auto",
        show_default=True,
        help="Caffe fork that the net is written for; auto: from layer types that only one fork has; fcn: "
        "the branch of FCN and HED, whose Crop follows coordinates.",
    )(command)


def allow_missing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--allow-missing`."""
    return click.option(
        "--allow-missing",
        is_flag=True,
        help="Accept weights that lack layers of the net; these layers keep the values of their fillers.",
    )(command)


def python_layers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--allow-python-layers`, which applies to the whole command."""

    def allow(context: click.Context, parameter: click.Parameter, given: bool) -> None:
        if given:
            context.with_resource(python_layers_allowed())

    return click.option(
        "--allow-python-layers",
        is_flag=True,
        expose_value=False,
        callback=allow,
        help="Run the modules named by Python layers. They are programs: read them first.",
    )(command)


def write_json(path: str | Path, content: object) -> None:
    """Writes JSON to a file, or to standard output for `-`."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, completely or not at all; `-` is standard output."""
    if str(path) == "-":
        sys.stdout.write(text)
        return
    with atomic_write(path) as file:
        file.write(text.encode())
