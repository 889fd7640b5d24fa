"""`rlossctl run`: parses its arguments and calls rlossctl.pycaffe."""

from __future__ import annotations

import click

from rlossctl.cli import groups


@groups.command("run")
@click.option("--module", "-m", is_flag=True, help="SCRIPT is a module's name, as with python -m.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(script: str, arguments: tuple[str, ...], module: bool) -> None:
    """Run a SCRIPT that says `import caffe`, without Caffe, with its ARGUMENTS.

    The script's process gets a module called caffe with pycaffe's nets, solvers, NetSpec, io and caffe_pb2;
    nothing is installed under this name. Python layers that its nets name are run, as Caffe runs them: the
    script and its nets are programs, so read them first. If the script fails with an error that old scripts
    meet today, a paragraph behind its traceback says what to change.

    \b
    Examples:
      rlossctl run classify.py photo.jpg
      rlossctl run solve.py
      rlossctl run -m unittest test_net
    """
    from rlossctl.pycaffe.running import run_script

    run_script(script, arguments, module=module)


command.ignore_unknown_options = True
command.allow_interspersed_args = False  # what follows the script is the script's
