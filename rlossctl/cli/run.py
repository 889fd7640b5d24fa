"""`rlossctl run`: parses its arguments and calls rlossctl.pycaffe."""

from __future__ import annotations

import click

from rlossctl.cli import groups


@groups.command("run")
@click.option("--module", "-m", is_flag=True, help="SCRIPT is a module's name, as with python -m.")
@click.option("--python2", is_flag=True, help="The script and its modules are Python 2.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(script: str, arguments: tuple[str, ...], module: bool, python2: bool) -> None:
    """Run a SCRIPT that says `import caffe`, without Caffe, with its ARGUMENTS.

    The script's process gets a module called caffe with pycaffe's nets, solvers, NetSpec, io and caffe_pb2;
    nothing is installed under this name. Python layers that its nets name are run, as Caffe runs them: the
    script and its nets are programs, so read them first. A script in Python 2 is read as such, and so are the
    modules beside it; --python2 says so of files that could be Python 3. If the script fails with an error
    that old scripts meet today, a paragraph behind its traceback says what to change.

    \b
    Examples:
      rlossctl run classify.py photo.jpg
      rlossctl run solve.py
      rlossctl run -m unittest test_net
    """
    from rlossctl.pycaffe.running import run_script

    run_script(script, arguments, module=module, python2=python2)


command.ignore_unknown_options = True
command.allow_interspersed_args = False  # what follows the script is the script's
