"""The command line: one file per subcommand, loaded on demand.

A command parses its arguments and calls one function elsewhere in the package. A RlossError becomes one
paragraph on stderr and an exit code: 1 failure, 2 usage, 3 verification mismatch.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import NoReturn

import click

import rlossctl
from rlossctl.cli import escaped, groups
from rlossctl.errors import RlossError, RlossWarning

# name -> the help line shown by `rlossctl --help`, so that listing commands imports none of them
COMMANDS = {
    "bench": "Measure the bilateral filter and the DenseCRF loss on this machine.",
    "convert": "Convert nets and weights: caffemodel, HDF5, safetensors, PyTorch checkpoints, ONNX.",
    "data": "Prepare and check data: layouts, weak labels, statistics.",
    "demo": "Train, convert and evaluate on a generated data set.",
    "diff": "Compare two nets, solvers or weights files of any format.",
    "doctor": "Check the installation: packages, devices, sessions, and what is missing.",
    "eval": "Evaluate models: IoU, Dice and accuracy per class, and their means.",
    "fetch": "Fetch data sets and weights, check them, and lay them out.",
    "inspect": "Show a net, a solver, or weights of any format; draw a net.",
    "net": "Show the networks that come with rlossctl, or write out their prototxts.",
    "predict": "Predict the classes of photos: label images, overlays, probabilities.",
    "run": "Run a pycaffe script (`import caffe`), without Caffe.",
    "runs": "Compare training runs: best scores, settings that differ, curves.",
    "test": "Run batches of a test net, as `caffe test` does.",
    "train": "Train a net as Caffe's solver does.",
    "verify": "Compare two models blob by blob.",
    "visualize": "Show a regularized loss: its gradient as pictures, DenseCRFLoss's modes as numbers.",
}


EXAMPLES = """\b
Examples:
  rlossctl demo
  rlossctl inspect train.prototxt --set NUM_LABELS=21
  rlossctl net --list
  rlossctl train --prototxt solver.prototxt --out runs/a
  rlossctl convert test.prototxt train_iter_9000.caffemodel -o model.onnx \\
      --set NUM_LABELS=21 --set EXP=voc
  rlossctl eval model.onnx --data val.txt --root VOC2012
  rlossctl predict model.onnx photos --out predictions
"""


class LazyGroup(groups.Group):
    """A group whose commands live in modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"rlossctl.cli.{name}").command
        return found

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EOFError as error:  # click would take it for Ctrl-D in the terminal
            raise escaped.explained(error) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"max_content_width": 100},
    epilog=EXAMPLES,
)
@click.version_option(rlossctl.__version__, prog_name="rlossctl")
def cli() -> None:
    """Train, convert and evaluate Caffe's segmentation nets, with regularized losses."""


def main() -> None:
    """Entry point of the `rlossctl` script."""
    warnings.formatwarning = _warning_line
    try:
        cli.main(prog_name="rlossctl", standalone_mode=False)
        sys.stdout.flush()  # so that a full disk is reported here, not while Python exits
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        _fail(groups.explained(error))
    except click.ClickException as error:
        _fail(RlossError(error.format_message()))
    except RlossError as error:
        _fail(error)
    except BrokenPipeError:  # the reader of the pipe has stopped reading
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        _fail(escaped.explained(error))


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Shows our own warnings as a sentence, and those of other packages with their type."""
    text = f"{message}" if issubclass(category, RlossWarning) else f"{category.__name__}: {message}"
    return f"warning: {text}\n"


def _fail(error: RlossError) -> NoReturn:
    # A name may contain bytes that are not text, and a stream may be unable to write some characters.
    text = f"error: {error}".encode(errors="backslashreplace").decode()
    click.echo(text, err=True)
    try:
        sys.stdout.flush()
    except OSError:  # discard its buffer, so that Python does not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(error.exit_code)
