"""`rlossctl doctor`: prints what rlossctl.doctor finds."""

from __future__ import annotations

import sys

import click

from rlossctl.cli import groups, options


@groups.command("doctor")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write everything as JSON instead of the table (- for stdout).",
)
def command(json_file: str | None) -> None:
    """Check what rlossctl needs on this machine, and say what is missing and how to get it.

    It imports the packages, computes something on each device and with the filter, and opens an ONNX Runtime
    session on every provider. Exit status 0 if everything essential works, else 1; optional packages and a
    GPU may be missing.

    \b
    Examples:
      rlossctl doctor
      rlossctl doctor --json -
    """
    from rlossctl.doctor import examine, format_checks, healthy, to_json

    checks = examine()
    if json_file:
        options.write_json(json_file, to_json(checks))
    else:
        click.echo(format_checks(checks))
    sys.exit(0 if healthy(checks) else 1)
