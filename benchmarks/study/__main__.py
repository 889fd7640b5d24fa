"""A study of regularized losses on real photos.

    \b
    python benchmarks/study run --data voc --root VOC2012 --backbone efficientnet-lite0.pth --out runs/study
    python benchmarks/study table --out runs/study
    python benchmarks/study page --out runs/study
    python benchmarks/study pictures runs/study/voc-clicks-val-400+600x0.5 study.jpg

All rows share net (DeepLab v3+ on EfficientNet-Lite0, all of it, with frozen normalisations), data, updates,
rates and seeds. Phase 1 learns with the cross-entropy alone and serves all rows with the same labels; phase 2
goes on from its weights with the row's losses, whose weights are measured (`pull` of loss_schedule). Each
phase is a run folder of `rlossctl train`; what is finished is not done again, what was killed goes on.
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import click
import page
from labels import KINDS, OWN
from recipe import DATA, Recipe
from rows import ROWS
from table import table

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, RESULTS = DOCS / "study.md", DOCS / "study"


@click.group(help=__doc__)
def main() -> None:
    """One command per job."""


@main.command("rows")
def show_rows() -> None:
    """List the rows."""
    for row in ROWS.values():
        print(f"{row.name:<18}{row.title}{'  (all seeds)' if row.main else ''}")


def recipe_options(command: click.Command) -> click.Command:
    """One option for each field of Recipe."""
    for field in reversed(fields(Recipe)):
        value = getattr(Recipe(), field.name)
        command = click.option(f"--{field.name}", type=type(value), default=value, show_default=True)(command)
    return command


@main.command("run")
@click.option("--data", type=click.Choice(list(DATA)), default="voc", show_default=True)
@click.option(
    "--root", type=click.Path(exists=True, path_type=Path), required=True, help="The data set's folder."
)
@click.option(
    "--backbone", type=click.Path(exists=True, path_type=Path), required=True, help="ImageNet weights."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/study"), show_default=True)
@click.option("--labels", type=click.Choice([*KINDS, OWN]), default="strokes100", show_default=True)
@click.option(
    "--split",
    type=click.Choice(["val", "tune"]),
    default="val",
    show_default=True,
    help="tune: train on four fifths of the training list and score on the rest.",
)
@click.option("--rows", default=",".join(ROWS), help="Names, divided by commas.  [default: all]")
@click.option(
    "--seeds", default="0,1,2", show_default=True, help="Of the main rows; the others have 0 alone."
)
@click.option("--pull", "pulls", type=(str, float), multiple=True, help="LOSS SHARE: in place of 0.3.")
@recipe_options
def run_rows(
    data: str, root: Path, backbone: Path, out: Path, labels: str, split: str, rows: str, seeds: str,
    pulls: tuple[tuple[str, float], ...], **recipe: float,
) -> None:  # fmt: skip
    """Train and score rows."""
    from run import Study, run

    study = Study(
        out.absolute(), DATA[data], root.absolute(), labels, split, backbone.absolute(), Recipe(**recipe)
    )
    for name in rows.split(","):
        row = ROWS[name]
        for seed in map(int, seeds.split(",")):
            if seed and not row.main:
                continue
            found = run(study, row, seed, dict(pulls))
            print(f"{row.title}, seed {seed}: mIoU {100 * float(str(found['miou'])):.2f}", flush=True)


@main.command("table")
@click.option(
    "--out", type=click.Path(exists=True, path_type=Path), default=Path("runs/study"), show_default=True
)
def show_table(out: Path) -> None:
    """Print the table of each data set, labels and split."""
    for folder in sorted(path for path in out.iterdir() if (path / "recipe.json").exists()):
        print(f"### {folder.name}: {(folder / 'recipe.json').read_text()}\n\n{table(folder)}")


@main.command("page")
@click.option(
    "--out", type=click.Path(exists=True, path_type=Path), help="Runs whose results are kept first."
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the page is not current.")
def write_page(out: Path | None, check: bool) -> None:
    """Write docs/study.md's tables from the results in docs/study."""
    if out is not None and not check:
        print(f"{page.collect(out, RESULTS)} results kept in {RESULTS}")
    known = PAGE.read_text()
    text = page.with_tables(known, RESULTS)
    if check:
        sys.exit(text != known)
    PAGE.write_text(text)


@main.command("pictures")
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--rows", default="pce,densecrf,full", show_default=True, help="Folders, divided by commas.")
@click.option("--seed", default=0, show_default=True)
@click.option("--photos", default=5, show_default=True)
def show_pictures(folder: Path, picture: Path, rows: str, seed: int, photos: int) -> None:
    """Draw what the nets of rows see in photos of FOLDER's scored list."""
    from pictures import pictures
    from PIL import Image

    Image.fromarray(pictures(folder, rows.split(","), seed, photos)).save(picture)


@main.command("rules")
@click.argument("models", nargs=-1, required=True)
@click.option("--data", "listed", required=True, help="A list of photos and labels.")
@click.option("--root", type=click.Path(exists=True), required=True, help="Folder of the list's names.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A placeholder of a prototxt.")
@click.option("--limit", type=int, help="Only the first photos.")
def show_rules(
    models: tuple[str, ...], listed: str, root: str, settings: tuple[str, ...], limit: int | None
) -> None:
    """Prediction rules and the dense CRF on MODELS, beside rankseg where it is installed."""
    from rules import rules_table

    from rlossctl.cli.prediction import import_checkpoint
    from rlossctl.evaluation.running.named import pair_models
    from rlossctl.evaluation.running.open_model import ImageList
    from rlossctl.net.origin import NetOrigin

    origin = partial(NetOrigin, placeholders=dict(setting.split("=", 1) for setting in settings))
    for named in pair_models(models, origin=origin):
        model = replace(named, importer=import_checkpoint)
        print(f"### {named.name}\n\n{rules_table(model, ImageList(listed, root, limit=limit))}\n", flush=True)


if __name__ == "__main__":
    main()
