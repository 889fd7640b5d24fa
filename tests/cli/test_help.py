"""The command line's face: help texts, and what listing them costs."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from rlossctl.cli import COMMANDS, cli


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand that exists, as words."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
        else:
            found.append((name,))
    return found


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], *([name, "--help"] for name in sorted(COMMANDS))]
)
def test_help_loads_no_torch(arguments, tmp_path):
    code = (
        "import json, sys\nfrom rlossctl.cli import main\nsys.argv = ['rlossctl', *json.loads(sys.argv[1])]\n"
        "main()\nprint('torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        cwd=tmp_path,  # python -c looks there first: not at a checkout
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == ["False", "False"], "neither torch nor numpy"
    assert done.stdout.startswith(("Usage: ", "rlossctl, version"))


def test_the_group_lists_every_command():
    text = CliRunner().invoke(cli, ["--help"], prog_name="rlossctl").output
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "Example" in text


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(words):
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="rlossctl")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.split("\n")]
    assert any(line.startswith("Example") for line in lines)
    assert any(line.startswith(f"rlossctl {' '.join(words)}") for line in lines)
    assert result.output.startswith(f"Usage: rlossctl {' '.join(words)} ")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_and_command_is_described(words):
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command.help
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_the_name_that_it_is_listed_under(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name


def test_unknown_commands_and_options_are_usage_errors():
    for arguments in (["tain"], ["inspect", "--frobnicate", "x"], ["inspect"], ["convert", "a", "b"]):
        assert CliRunner().invoke(cli, arguments).exit_code == 2, arguments
