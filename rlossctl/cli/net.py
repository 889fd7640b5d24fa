"""`rlossctl net`: the networks that come with rlossctl."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups

EPILOG = """\b
Examples:
  # all networks: parameters, multiply-adds, classes, image, initial weights
  rlossctl net --list
\b
  # the texts and placeholders of one network; one text
  rlossctl net deeplabv3plus_resnet101
  rlossctl net deeplabv3plus_resnet101/test
\b
  # its prototxts as files, for editing
  rlossctl net deeplabv3plus_resnet101 -o mine
"""


@groups.command("net", epilog=EPILOG)
@click.argument("name", required=False)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the network's prototxts, or only the named one, to this folder.",
)
@click.option("--list", "listed", is_flag=True, help="Show all networks.")
def command(name: str | None, out: Path | None, listed: bool) -> None:
    """Show a network that comes with rlossctl, or write out its prototxts.

    Every command that takes a prototxt also takes the name of such a net: deeplabv3plus_resnet101/test. A
    file with that name takes precedence.
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
