"""`rlossctl net`: the networks that come with rlossctl."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups

EPILOG = """\b
Examples:
  # all of them: parameters, multiply-adds, classes, image, what their training can start from
  rlossctl net --list
\b
  # the texts and placeholders of one of them; one text
  rlossctl net deeplabv3plus_resnet101
  rlossctl net deeplabv3plus_resnet101/test
\b
  # its prototxts as files, to be changed
  rlossctl net deeplabv3plus_resnet101 -o mine
"""


@groups.command("net", epilog=EPILOG)
@click.argument("name", required=False)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the network's prototxts, or the one that is named, to this folder.",
)
@click.option("--list", "listed", is_flag=True, help="Show all networks.")
def command(name: str | None, out: Path | None, listed: bool) -> None:
    """Show a network that comes with rlossctl, or write its prototxts out.

    Every command takes the name of such a net where it takes a prototxt: deeplabv3plus_resnet101/test. A file
    of that name counts first.
    """
    from rlossctl import configs
    from rlossctl.inspection import networks

    if listed == (name is not None):
        raise click.UsageError("Give the NAME of a network, or --list.")
    if name is None:
        lines = networks.listing()
    elif out is not None:
        lines = [f"written: {path}" for path in configs.write(name, out)]
    else:
        lines = networks.description(name)
    click.echo("\n".join(lines))
