"""Options and output that several data commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from rlossctl.cli import options
from rlossctl.words import counted

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

root: Decorator = click.option(
    "--root", default="", metavar="DIR", help="Folder of the names in a list.  [default: taken as written]"
)
label_dir: Decorator = click.option(
    "--label-dir", metavar="NAME", help="Label folder for bare VOC ids, below the root.  [default: found]"
)
width: Decorator = click.option(
    "--width", type=click.IntRange(1, 99), default=3, show_default=True, help="Stroke width in pixels."
)
list_file: Decorator = click.option(
    "--list", "list_file", metavar="FILE", help="Also write a list of `image label` lines."
)
out: Decorator = click.option(
    "--out", "-o", required=True, type=click.Path(file_okay=False), metavar="DIR", help="Folder to write to."
)
classes: Decorator = options.classes("Class names in the order of their ids")
ignore: Decorator = click.option(
    "--ignore",
    type=click.IntRange(0, 255),
    default=255,
    show_default=True,
    help="Label of pixels that do not count.",
)
json_file: Decorator = click.option(
    "--json", "json_file", metavar="FILE", help="Write everything as JSON (- for stdout)."
)
strict: Decorator = click.option("--strict", is_flag=True, help="Treat points outside the photo as an error.")


def write_list(path: str | None, listed: tuple[list[str], str] | None) -> None:
    """Writes the lines of `label_list` if a list was requested, and says which root it needs."""
    from rlossctl.data.lists import write_lines

    if path is not None and listed is not None:
        lines, folder = listed
        write_lines(path, lines)
        click.echo(f'list {path}, for root_folder: "{folder}"')


def say_imported(summary: Any, out: str) -> None:
    """Prints what `write_annotations` did."""
    click.echo(
        f"{counted(len(summary.labels), 'label')} in {out}, {counted(summary.strokes, 'stroke')}, "
        f"{summary.coverage:.2%} of the pixels labelled"
    )
    if summary.empty:
        click.echo(f"{summary.empty} of them without a stroke")
    if summary.without_photo:
        click.echo(f"{counted(summary.without_photo, 'annotated image')} without a photo: left out")
    if summary.outside:
        points = counted(len(summary.outside), "point")
        click.echo(f"{points} outside the photo: {_first(summary.outside)}")


def _first(items: Sequence[str], count: int = 3) -> str:
    return "; ".join(items[:count]) + (" ..." if len(items) > count else "")
