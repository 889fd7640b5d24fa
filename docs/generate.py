"""Writes layers.md, cli.md, formats.md, networks.md and datasets.md from the registries of layers and data
sets, the commands, the converters and the definitions of the networks; api.md from the docstrings; and in
pycaffe.md the table of errors.

`python docs/generate.py` writes those that are not current; with --check it writes nothing, names them and
exits with status 1 if there are any.
"""

from __future__ import annotations

import argparse
import inspect
import re
import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner

from rlossctl import converters
from rlossctl.cli import COMMANDS, cli
from rlossctl.converters import importers
from rlossctl.converters.formats.transfer import TRANSFERS
from rlossctl.data.sets.registry import DataSet, data_sets
from rlossctl.inspection import networks
from rlossctl.net import registry
from rlossctl.pycaffe.advice import KNOWN
from rlossctl.weights import kinds

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
MADE_BY = "<!-- Written by docs/generate.py: do not change it here. -->"
WIDTH = 100

LAYERS_HEAD = """# Layers

Every layer type that rlossctl builds. A net with other types is refused with one error that names them all.

- From: the Caffe that defines the type (BVLC's, the rloss / DeepLab fork, or another fork named there);
  `rlossctl` marks our own.
- Backward: whether a gradient passes through. BatchNorm's own statistics, metrics, and layers that return
  indices or flags have none, as in Caffe.
- ONNX: `yes` if the layer is exported. Layers that read data, labels or sizes, remember the last pass, or
  return nothing are left out. So are layers that draw at random or run the user's code (every Python layer
  except SpatialDropout).
- Recorded: the number of cases in `tests/golden/` that the original program computed and that are reproduced
  within 1e-5 (values, input and parameter gradients; DenseCRF within 1e-4, DenseCRFLoss as `tests/losses`
  states).
- Other tests: files under `tests/` that check the type against a formula, against a rule in Caffe's source,
  or for what it must refuse.
"""
DEPARTURES_HEAD = """## Not reproduced

Defects of the originals that nobody can want, and what rlossctl does instead.
"""
CLI_HEAD = """# Command line

What `rlossctl COMMAND --help` prints. Exit status: 0 done, 1 failure, 2 wrong arguments, 3 the written model
does not compute what the original computes, 130 interrupted, 143 terminated.

Where a command takes a prototxt, it also takes the name of a net or solver that comes with rlossctl, such as
`demo/train` ([networks.md](networks.md)); a file of that name comes first. A placeholder `${NAME}` of a
prototxt gets its value from `--set NAME=VALUE`, else from the environment, else from its default, which
`${NAME:-default}` gives. An empty value is a value.
"""

NETWORKS_HEAD = """# Networks

What `rlossctl net --list` prints: the networks that come with rlossctl. Every command takes one of their nets
or solvers by name where it takes a prototxt (`--prototxt deeplabv3plus_resnet101/solver`), and `rlossctl net
NAME -o DIR` writes a network's prototxts out for editing. [configs/README.md](../configs/README.md) explains
their placeholders, [import.md](import.md) how another program's checkpoint becomes their weights.
"""
DATA_SETS_HEAD = """# Data sets

What `rlossctl data prepare NAME` lays out ([data.md](data.md)). `--classes NAME` and `--palette NAME` of
other commands take the same names.

- Classes: how many a net has to score.
- Ids: what becomes of the ids in the published label files. Pixels that do not count are written as 255.
- Lists: what is written, with the published number of photos; `prepare` warns if it finds another number. A
  list is left out if the sources lack its labels.
- Items: what `rlossctl fetch` gets, in brackets what only its own name gets. *By hand* below: the page of the
  terms gives it to those with an account.
"""
FORMATS_HEAD = """# Formats

`rlossctl convert [NET] WEIGHTS -o OUT` chooses formats by suffix; `--from` and `--to` override the suffix. A
file without a known suffix is recognised by its content. `-` is standard input or output. `convert` reads
back what it wrote and compares it before the file gets its name.
"""
FORMATS_TAIL = """
- *upgrade*: the current form of an old net (V0, V1). A net already in that form is copied byte for byte.
- *net inside*: a file written from a net and weights carries the net's prototxt. A checkpoint of another
  program implies one that comes with rlossctl: [import.md](import.md).
- Safetensors and PyTorch files made from a caffemodel keep everything in it besides the values. Converted
  back, the caffemodel has the same bytes, however old it is (legacy shapes, doubles, gradients, unknown
  fields). If the tensors were changed, it has their new values.
- Tensors are called `<layer>/<index>`, gradients `<layer>/<index>.diff`, and layers that share a name
  `<layer>#2/...`. The metadata of safetensors files (in a checkpoint, its keys) are `prototxt`, `shared` (a
  blob -> the blob whose values it has), `source` (the origin, see below), `caffemodel`
  (a caffemodel without its values) and `untrained` (layers that had no weights, see --allow-missing).
- Every file says what it was made from: names and SHA-256 of its sources, rlossctl's version, the dialect.
  `rlossctl inspect FILE` shows it. It is the entry `source` in safetensors and checkpoints and in the
  metadata of ONNX files, an attribute `source` in HDF5, and a comment in the first line of a prototxt. Caffe
  and PyTorch read these files as before. A caffemodel has no place for it, and stays what Caffe would write,
  byte for byte; whatever is made from it has its hash.
"""
NEED = "with NET"

# Recorded cases that are arrays alone, without a prototxt.
ARRAYS = {
    "DenseCRF": "densecrf/dense_crf_*.npz",
    "DenseCRFLoss": "densecrf/crf_*.npz",
    "DenseImageData": "dense/*.npz",
}


def layers_page() -> str:
    """The table of registered layers."""
    recorded = recorded_cases()
    head = ("Type", "From", "Forward", "Backward", "ONNX", "Recorded", "Other tests", "What it computes")
    rows = [head, tuple("---" for _ in head)]
    for kind in registry.kinds().values():
        rows.append(
            (
                kind.type,
                kind.source,
                "yes",
                "yes" if kind.differentiable else "-",
                "yes" if kind.exported else "-",
                str(recorded[kind.type]) if recorded[kind.type] else "-",
                ", ".join(other_tests(kind.type)) or "-",
                first_sentence(kind.cls),
            )
        )
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    departures = [
        f"- **{kind.type}**: {text}" for kind in registry.kinds().values() if (text := departure(kind.cls))
    ]
    return f"{MADE_BY}\n{LAYERS_HEAD}\n{table}\n\n{DEPARTURES_HEAD}\n" + "\n".join(departures) + "\n"


def recorded_cases() -> Counter[str]:
    """How many recorded cases hold each type."""
    counts: Counter[str] = Counter()
    for file in (TESTS / "golden" / "layers").glob("*.npz"):
        counts.update(set(re.findall(r'\btype: "([A-Z]\w+)"', str(np.load(file)["prototxt"]))))
    for name, pattern in ARRAYS.items():
        counts[name] += len(list((TESTS / "golden").glob(pattern)))
    return counts


def other_tests(name: str) -> list[str]:
    """Test files other than the recordings' replay that build such a layer (a room: its conftest does)."""
    use = re.compile(rf'(type: |layer\()"{name}"')
    files = [file for room in ("layers", "losses", "data") for file in (TESTS / room).glob("*.py")]
    users = [
        file.parent if file.stem == "conftest" else file
        for file in sorted(files)
        if file.stem != "test_golden" and use.search(file.read_text(encoding="utf-8"))
    ]
    return [f"`{path.relative_to(TESTS).as_posix()}`" for path in dict.fromkeys(users)]


def first_sentence(cls: type) -> str:
    """The docstring's first sentence, without the source file that it names in parentheses."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    match = re.search(r"(?<!e\.g)\.(?= [A-Z(-]|$)", text)
    return re.sub(r" \([^()]*\.[ch]pp[^()]*\)", "", text[: match.start()] if match else text)


def departure(cls: type) -> str:
    """What a layer's docstring says behind "Not reproduced:", its last sentences; "" if there is nothing."""
    return " ".join((inspect.getdoc(cls) or "").split()).partition("Not reproduced: ")[2]


def cli_page() -> str:
    """Every command's own help."""
    parts = [MADE_BY, CLI_HEAD]
    for words in ((), *command_names()):
        result = CliRunner().invoke(
            cli, [*words, "--help"], prog_name="rlossctl", terminal_width=WIDTH, catch_exceptions=False
        )
        parts.append(f"## {' '.join(('rlossctl', *words))}\n\n```text\n{result.output.rstrip()}\n```\n")
    return "\n".join(parts)


def command_names() -> Iterator[tuple[str, ...]]:
    """Commands and subcommands, as words."""
    for name in sorted(COMMANDS):
        yield (name,)
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in sorted(command.commands))


def formats_page() -> str:
    """What converts to what, and what is lost, from the tables by which the converters go."""
    head = ("from \\ to", *kinds.WRITTEN)
    rows = [head, tuple("---" for _ in head)]
    rows.append(("a net (prototxt)", "upgrade", *[NEED.replace("NET", "weights")] * (len(kinds.WRITTEN) - 1)))
    rows.append(("a net and weights", "-", *["yes"] * len(converters.WRITERS)))
    for start in kinds.WEIGHTS:
        rows.append((start, *(cell(start, end) for end in kinds.WRITTEN)))
    rows.append(("another program's checkpoint", *["yes"] * len(kinds.WRITTEN)))
    suffixes = [
        f"- {kind}: {', '.join(f'`{end}`' for end in kinds.SUFFIXES[kind])}" for kind in kinds.WRITTEN
    ]
    lost = [f"- a net and weights to {end}: {text}" for end, text in converters.LOST.items()]
    lost += [f"- {start} to {end}: {way.lost}" for (start, end), way in TRANSFERS.items() if way.lost]
    programs = [f"- `{program.name}`: {program.title}" for program in importers.PROGRAMS]
    parts = (
        FORMATS_HEAD,
        "\n".join(suffixes) + "\n",
        "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n" + FORMATS_TAIL,
        "What the new file does not keep (a conversion that is not listed keeps everything):\n",
        "\n".join(lost) + "\n",
        "Programs whose checkpoints are recognised:\n",
        "\n".join(programs) + "\n",
    )
    return f"{MADE_BY}\n" + "\n".join(parts)


def cell(start: str, end: str) -> str:
    """How weights of one format become a file of another."""
    if start == kinds.CAFFEMODEL and end in (kinds.CAFFEMODEL, kinds.PROTOTXT):
        return "upgrade"
    if (start, end) in TRANSFERS:
        return "yes"
    if (start, end) == (kinds.CAFFEMODEL_H5, kinds.PROTOTXT):
        return "-"
    inside = start in (kinds.SAFETENSORS, kinds.CHECKPOINT)
    return "net inside, or NET" if inside and end == kinds.ONNX else "net inside" if inside else NEED


def networks_page() -> str:
    """The table of `rlossctl net --list`."""
    columns = ("---", "---:", "---:", "---:", "---", "---")
    lines = [networks.HEAD, columns, *((f"`{name}`", *cells) for name, *cells in networks.rows())]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{MADE_BY}\n{NETWORKS_HEAD}\n{table}\n\n{networks.NOTE[0].upper()}{networks.NOTE[1:]}.\n"


def pycaffe_page() -> str:
    """The page by hand, with the table of errors that `rlossctl run` knows between its marks."""
    text = (HERE / "pycaffe.md").read_text(encoding="utf-8")
    rows = [(known.name, f"`{known.example}`", f"{known.message}: {known.advice}") for known in KNOWN]
    table = ["| error | what Python says | what `rlossctl run` says |", "|---|---|---|"]
    table += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    before, _, rest = text.partition("<!-- errors -->\n")
    return "\n".join([f"{before}<!-- errors -->", *table, f"<!-- end{rest.partition('<!-- end')[2]}"])


def api_page() -> str:
    """The public names, from their docstrings."""
    return f"{MADE_BY}\n{runpy.run_path(str(HERE / 'api.py'))['page']()}"


def data_sets_page() -> str:
    """The table of data sets, and what is taken from where."""
    head = ("Name", "Data set", "Classes", "Ids", "Lists", "Items")
    rows = [head, ("---", "---", "---:", "---", "---", "---")]
    known = {name: entry for name, entry in data_sets().items() if entry.prepare is not None}
    for name, entry in known.items():
        lists = ", ".join(f"{one.rpartition('/')[2]} {count:,}" for one, count in entry.published.items())
        items = ", ".join(f"[{one.item}]" if one.extra else one.item for one in entry.downloads)
        rows.append((f"`{name}`", entry.title, str(len(entry.classes)), entry.ids, lists, items or "-"))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{MADE_BY}\n{DATA_SETS_HEAD}\n{table}\n\n{_sources(known)}"


def _sources(known: dict[str, DataSet]) -> str:
    """For each data set, what `prepare` is given, and the terms of its files."""
    lines = ["What is prepared from what:\n"]
    lines += [f"- `{name}`: {entry.help}" for name, entry in known.items()]
    lines += ["\nTerms of use, as far as a page states them:\n"]
    terms: dict[str, list[str]] = {}
    for entry in known.values():
        for one in entry.downloads:
            by_hand = "" if one.addresses else " (by hand)"
            terms.setdefault(one.terms, []).append(f"{one.item}{by_hand}")
    lines += [f"- {', '.join(items)}: <{page}>" for page, items in terms.items() if page]
    return "\n".join(lines) + "\n"


PAGES = {
    "layers.md": layers_page,
    "cli.md": cli_page,
    "formats.md": formats_page,
    "networks.md": networks_page,
    "pycaffe.md": pycaffe_page,
    "datasets.md": data_sets_page,
    "api.md": api_page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        path, text = HERE / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{'not current' if check else 'written'}: docs/{name}")
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
