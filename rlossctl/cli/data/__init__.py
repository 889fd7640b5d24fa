"""`rlossctl data`: one file per subcommand; each parses its arguments and calls rlossctl.data."""

from __future__ import annotations

from rlossctl.cli import groups
from rlossctl.cli.data.clicks import clicks
from rlossctl.cli.data.labels import labels
from rlossctl.cli.data.prepare import prepare
from rlossctl.cli.data.preview import preview
from rlossctl.cli.data.scribble import scribble
from rlossctl.cli.data.scribbles import scribbles
from rlossctl.cli.data.stats import stats
from rlossctl.cli.data.verify import verify


@groups.group("data")
def command() -> None:
    """Prepare, look at and check data: layouts, weak labels, statistics."""


for subcommand in (clicks, labels, prepare, preview, scribble, scribbles, stats, verify):
    command.add_command(subcommand)
