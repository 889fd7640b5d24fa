"""`rlossctl fetch`: data sets and weights from where they are published."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rlossctl.cli import groups

EPILOG = """\b
Examples:
  # what there is; everything about two of them
  rlossctl fetch --list
  rlossctl fetch --list voc2012 vgg16_20M
\b
  # VOC 2012 with the masks and scribbles of the experiments, laid out in data/VOC2012
  rlossctl fetch voc
  rlossctl fetch voc2012 sbd scribbles --to data
\b
  # files that lie in a folder or on a server of yours come first
  rlossctl fetch camvid resnet-101 --mirror /nfs/datasets --mirror https://files.example.org/data
\b
A download that broke off goes on where it stopped. Every address is asked by https; https_proxy and
no_proxy count. A file whose checksum is not published is fetched, its SHA-256 is printed, and it is used when
you confirm that: compare it with a colleague's, or put it into a --sums file. On huggingface.co the token in
HF_TOKEN is used; a mirror may be https://NAME:PASSWORD@HOST/... Neither is printed.
"""


@groups.command("fetch", epilog=EPILOG)
@click.argument("names", nargs=-1)
@click.option(
    "--to",
    "--out",
    "-o",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    default="data",
    show_default=True,
    metavar="DIR",
    help="Folder to work in: DIR/downloads gets the files, DIR/VOC2012 and others the data sets.",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="DIR|URL",
    help="Look here first for the files, by their names; may be repeated.",
)
@click.option(
    "--sums", metavar="FILE", help="Checksums as sha256sum writes them; they come before the known ones."
)
@click.option("--accept", is_flag=True, help="Use files whose checksum is not known without asking.")
@click.option("--no-prepare", is_flag=True, help="Only fetch and check; do not lay out.")
@click.option("--list", "listed", is_flag=True, help="Show all items, or everything about those named.")
@click.option("--dry-run", is_flag=True, help="Show what would be asked, in which order.")
def command(
    names: tuple[str, ...],
    out: Path,
    mirrors: tuple[str, ...],
    sums: str | None,
    accept: bool,
    no_prepare: bool,
    listed: bool,
    dry_run: bool,
) -> None:
    """Fetch data sets and weights, check them, and lay them out as `data prepare` does.

    NAMES are items or data sets; --list shows them.
    """
    from rlossctl.fetching import checking, getting, items, placing, transfer

    if listed:
        lines = (
            [line for item in items.chosen(names) for line in items.details(item)] if names else items.table()
        )
        click.echo("\n".join(lines))
        return
    if not names:
        raise click.UsageError("Give the NAMES of items or data sets, or --list.")
    wanted = items.chosen(names)
    request = getting.Request(
        out,
        mirrors,
        checking.read_sums(sums) if sums else {},
        (lambda _: True) if accept else _asked,
        click.echo,
    )
    getting.check_mirrors(request)
    if dry_run:
        for item in wanted:
            click.echo(f"{item.download.item}: {item.download.file}")
            for address in request.addresses(item.download):
                click.echo(f"  would ask {transfer.shown(address)}")
        return
    getting.fetch_all(wanted, request)
    if not no_prepare:
        placing.place_all(wanted, request)


def _asked(name: str) -> bool:
    """Asks at a terminal; elsewhere the answer is no."""
    return _at_terminal() and click.confirm(f"  Nobody vouches for {name}. Use it?", default=False)


def _at_terminal() -> bool:
    return sys.stdin.isatty()
